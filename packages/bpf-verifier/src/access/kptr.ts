/** Pointers to kernel objects and to the program's own ones in map values. Linux: check_map_kptr_access(), map_kptr_match_type(). */
import { EACCES } from "@alien-ts/abi";
import { MODE } from "@alien-ts/bpf-isa";
import type { Analysis } from "../analysis.ts";
import type { ValueField } from "../env.ts";
import { RCU_PROTECTED } from "../linux/trusted-fields.ts";
import { FLAG, kindName, pointer } from "../state/register.ts";
import type { Register } from "../state/register.ts";
import { objectFields } from "../value-fields.ts";
import { reject } from "../verdict.ts";
import type { Check } from "../verdict.ts";
import { isInRcu } from "./btf-pointer.ts";
import { checkContextPointer } from "./pointer-offset.ts";
import type { MemoryAccess } from "./memory.ts";
import { structsMatch } from "./struct-walk.ts";
import type { TypeOf } from "./struct-walk.ts";

/** What a field points to: the kernel's type of that name where it has one, else the program's own. */
export function kptrTarget(analysis: Analysis, field: ValueField): TypeOf {
  const { btf, type } = field.pointer!;
  const { kernelBtf } = analysis.env;
  const target = btf.type(btf.resolve(type));
  if (kernelBtf === undefined || btf === kernelBtf || target === undefined) return { btf, id: type };
  const kind = target.kind === "fwd" ? "struct" : target.kind;
  const id = kernelBtf.find(target.name, kind);
  return id === undefined ? { btf, id: type } : { btf: kernelBtf, id };
}

export function accessKptr(analysis: Analysis, field: ValueField, access: MemoryAccess): Register | Check {
  const { tag } = field.pointer!;
  const { opcode } = analysis.insns[analysis.index]!;
  if ((opcode & 0xe0) !== MODE.MEM)
    return reject(EACCES, "kptr in map can only be accessed using BPF_MEM instruction mode");
  if (tag === "user") {
    if (access.kind !== "read") return reject(EACCES, "store to uptr disallowed");
    const { btf, id } = kptrTarget(analysis, field);
    return pointer("mem", {
      flags: FLAG.MAYBE_NULL,
      memSize: btf?.sizeOf(id) ?? 0,
      id: analysis.newId(),
    });
  }
  if (access.kind === "read") {
    const { btf, id } = kptrTarget(analysis, field);
    return pointer("ptr_", {
      flags: loadedFlags(analysis, field),
      btf,
      btfId: id,
      id: analysis.newId(),
    });
  }
  if (tag !== "untrusted") return reject(EACCES, "store to referenced kptr disallowed");
  const { stored } = access;
  if (stored !== undefined && "constant" in stored) {
    return stored.constant === 0
      ? undefined
      : reject(EACCES, `BPF_ST imm must be 0 when storing to kptr at off=${field.offset}`);
  }
  if (stored === undefined || analysis.register(stored.number).isNull) return undefined;
  return checkStored(analysis, field, stored.number);
}

/** Linux: btf_ld_kptr_type() */
function loadedFlags(analysis: Analysis, field: ValueField): number {
  const { tag } = field.pointer!;
  const { btf, id } = kptrTarget(analysis, field);
  const isKernel = btf === analysis.env.kernelBtf;
  const name = btf?.type(btf.resolve(id))?.name ?? "";
  const isProtected =
    tag === "percpu" || (tag === "referenced" && (!isKernel || RCU_PROTECTED.includes(name)));
  if (!isProtected || !isInRcu(analysis)) return FLAG.MAYBE_NULL | FLAG.UNTRUSTED;
  const flags = FLAG.MAYBE_NULL | FLAG.RCU;
  if (tag === "percpu") return flags | FLAG.PERCPU;
  if (isKernel || btf === undefined) return flags;
  const isNode = objectFields(btf, id).some(({ kind }) => kind === "list_node" || kind === "rb_node");
  return flags | FLAG.ALLOC | (isNode ? FLAG.NON_OWN_REF : 0);
}

/** Whether the pointer in register `number` may be put into the field. */
export function checkStored(analysis: Analysis, field: ValueField, number: number): Check {
  const register = analysis.register(number);
  const { tag } = field.pointer!;
  const target = kptrTarget(analysis, field);
  const name = target.btf?.type(target.id)?.name ?? "";
  const isUnreferenced = tag === "untrusted";
  const refuse = (given: string): Check =>
    reject(
      EACCES,
      `invalid kptr access, R${number} type=${given} expected=ptr_${name}` +
        (isUnreferenced ? ` or untrusted_ptr_${name}` : ""),
    );
  const isKernel = register.btf === analysis.env.kernelBtf;
  const allowed = isKernel
    ? FLAG.MAYBE_NULL | FLAG.TRUSTED | FLAG.RCU | (isUnreferenced ? FLAG.UNTRUSTED : 0)
    : FLAG.MAYBE_NULL | FLAG.ALLOC | (tag === "percpu" ? FLAG.PERCPU : 0);
  if (register.kind !== "ptr_" || (register.flags & ~allowed) !== 0) return refuse(kindName(register));
  const moved = checkContextPointer(register, number, true);
  if (moved !== undefined) return moved;
  const given = { btf: register.btf, id: register.btfId };
  return structsMatch(given, register.off, target, !isUnreferenced, analysis.log)
    ? undefined
    : refuse(analysis.describe(register));
}
