/** Pointers to kernel objects in map values. Linux: check_map_kptr_access(). */
import { EACCES, EINVAL } from "@alien-ts/abi";
import { MODE } from "@alien-ts/bpf-isa";
import type { Analysis } from "../analysis.ts";
import type { ValueField } from "../env.ts";
import { FLAG, pointer } from "../state/register.ts";
import type { Register } from "../state/register.ts";
import { reject } from "../verdict.ts";
import type { Check } from "../verdict.ts";
import type { MemoryAccess } from "./memory.ts";

export function accessKptr(analysis: Analysis, field: ValueField, access: MemoryAccess): Register | Check {
  const target = field.pointer;
  const { opcode } = analysis.insns[analysis.index]!;
  if (target === undefined || (opcode & 0xe0) !== MODE.MEM)
    return reject(EACCES, "kptr in map can only be accessed using BPF_MEM instruction mode");
  if (access.kind === "read") {
    const rcu = target.tag === "percpu" ? FLAG.PERCPU : 0;
    return pointer("ptr_", {
      flags: FLAG.MAYBE_NULL | FLAG.UNTRUSTED | rcu,
      btf: target.btf,
      btfId: target.type,
      id: analysis.newId(),
    });
  }
  if (target.tag !== "untrusted") return reject(EACCES, "store to referenced kptr disallowed");
  const { stored } = access;
  if (stored !== undefined && "constant" in stored) {
    return stored.constant === 0
      ? undefined
      : reject(EACCES, `BPF_ST imm must be 0 when storing to kptr at off=${field.offset}`);
  }
  if (stored === undefined) return undefined;
  const register = analysis.register(stored.number);
  if (register.isNull) return undefined;
  return checkStored(analysis, field, register, stored.number);
}

/** Linux: map_kptr_match_type() */
export function checkStored(
  analysis: Analysis,
  field: ValueField,
  register: Register,
  number: number,
): Check {
  const target = field.pointer!;
  const name = target.btf.type(target.type)?.name ?? "";
  const flags = target.tag === "untrusted" ? "untrusted_" : "";
  const bad = reject(
    EINVAL,
    `invalid kptr access, R${number} type=${analysis.describe(register)} expected=ptr_${name}` +
      (target.tag === "untrusted" ? ` or ${flags}ptr_${name}` : ""),
  );
  if (register.kind !== "ptr_" || (register.isMaybeNull && target.tag !== "untrusted")) return bad;
  if (register.off !== 0 && target.tag !== "untrusted") return bad;
  if (!register.scalar.isConst || register.scalar.tnum.value !== 0n) return bad;
  return register.btf?.type(register.btfId)?.name === name ? undefined : bad;
}
