/**
 * Loads through pointers to kernel structures: the member that is read gives the result. Linux: check_ptr_to_btf_access(),
 * btf_struct_walk(). A bad address is caught when the program runs, so every member may be read; nothing may be written.
 */
import { EACCES, EINVAL } from "@alien-ts/abi";
import { BTF_POINTER_SIZE } from "@alien-ts/btf";
import type { Btf, BtfMember } from "@alien-ts/btf";
import type { Analysis } from "../analysis.ts";
import { tnumText } from "../print.ts";
import { FLAG, UNKNOWN, pointer } from "../state/register.ts";
import type { Register } from "../state/register.ts";
import { Reject, reject } from "../verdict.ts";

export interface BtfAccess {
  readonly number: number;
  readonly off: number;
  readonly size: number;
  readonly isWrite: boolean;
}

/** What a load gives, or the refusal. */
export function accessBtf(analysis: Analysis, register: Register, access: BtfAccess): Register | Reject {
  const { number, off, size } = access;
  const { btf } = register;
  if (btf === undefined)
    return reject(EACCES, `R${number} invalid mem access '${analysis.describe(register)}'`);
  const name = btf.type(register.btfId)?.name ?? "";
  if (!analysis.env.mayLeakPointers)
    return reject(EACCES, `'struct ${name}' access is allowed only to CAP_PERFMON and CAP_SYS_ADMIN`);
  if (off < 0) return reject(EACCES, `R${number} is ptr_${name} invalid negative access: off=${off}`);
  const { scalar } = register;
  if (!scalar.isConst || scalar.tnum.value !== 0n) {
    return reject(
      EACCES,
      `R${number} is ptr_${name} invalid variable offset: off=${off}, var_off=${tnumText(scalar.tnum)}`,
    );
  }
  if (register.has(FLAG.USER))
    return reject(EACCES, `R${number} is ptr_${name} access user memory: off=${off}`);
  if (register.has(FLAG.PERCPU))
    return reject(EACCES, `R${number} is ptr_${name} access percpu memory: off=${off}`);
  if (access.isWrite) return reject(EACCES, "only read is supported");
  return walk(btf, register, register.btfId, off, size);
}

/** Goes down to the member at `off`. */
function walk(btf: Btf, register: Register, typeId: number, off: number, size: number): Register | Reject {
  let at = off;
  let id = btf.resolve(typeId);
  for (let depth = 0; depth < 32; depth++) {
    const type = btf.type(id);
    if (type?.kind !== "struct" && type?.kind !== "union")
      return reject(EINVAL, `Type '${type?.name ?? ""}' is not a struct`);
    if (at + size > type.size) {
      const flexible = flexibleArray(btf, type.members, type.size, at);
      if (flexible === undefined)
        return reject(EACCES, `access beyond struct ${type.name} at off ${at} size ${size}`);
      at = flexible.at;
      id = flexible.id;
      if (id === 0) return UNKNOWN;
      continue;
    }
    const next = memberAt(btf, type.members, at, size);
    if (next === undefined) {
      // Of a union any view will do; a hole in a structure is not readable.
      return type.kind === "union"
        ? UNKNOWN
        : reject(EACCES, `struct ${type.name} doesn't have field at offset ${at}`);
    }
    if (next instanceof Reject) return next;
    if (next.kind === "number") return UNKNOWN;
    if (next.kind === "pointer") return pointerTo(btf, register, next.target);
    at = next.at;
    id = next.id;
  }
  return UNKNOWN;
}

function flexibleArray(
  btf: Btf,
  members: readonly BtfMember[],
  size: number,
  at: number,
): { at: number; id: number } | undefined {
  const last = members.at(-1);
  if (last === undefined) return undefined;
  const array = btf.type(btf.resolve(last.type));
  if (array?.kind !== "array" || array.count !== 0 || at < last.bitOffset / 8 || at < size - 8)
    return undefined;
  const element = btf.resolve(array.element);
  const bytes = btf.sizeOf(element) ?? 1;
  const kind = btf.type(element)?.kind;
  const inside = (at - last.bitOffset / 8) % Math.max(bytes, 1);
  return kind === "struct" || kind === "union" ? { at: inside, id: element } : { at: inside, id: 0 };
}

type Step =
  | { readonly kind: "number" }
  | { readonly kind: "pointer"; readonly target: number }
  | { readonly kind: "struct"; readonly id: number; readonly at: number };

function memberAt(
  btf: Btf,
  members: readonly BtfMember[],
  at: number,
  size: number,
): Step | Reject | undefined {
  for (const member of members) {
    const from = Math.floor(member.bitOffset / 8);
    if (member.bitSize !== 0) {
      if (at * 8 <= member.bitOffset && member.bitOffset + member.bitSize <= (at + size) * 8)
        return { kind: "number" };
      continue;
    }
    let id = btf.resolve(member.type);
    const bytes = btf.sizeOf(id) ?? 0;
    if (at + size <= from) break;
    if (at >= from + bytes) continue;
    let type = btf.type(id);
    let inside = at - from;
    while (type?.kind === "array") {
      id = btf.resolve(type.element);
      type = btf.type(id);
      const element = btf.sizeOf(id) ?? 1;
      inside %= Math.max(element, 1);
    }
    if (type?.kind === "struct" || type?.kind === "union") return { kind: "struct", id, at: inside };
    if (inside + size > (btf.sizeOf(id) ?? 0)) return { kind: "number" };
    if (type?.kind !== "ptr") return { kind: "number" };
    if (inside !== 0 || size !== BTF_POINTER_SIZE) {
      return reject(
        EACCES,
        `cannot access ptr member ${member.name} with moff ${from} in struct with off ${at} size ${size}`,
      );
    }
    return { kind: "pointer", target: type.type };
  }
  return undefined;
}

function pointerTo(btf: Btf, from: Register, target: number): Register {
  const id = btf.resolve(target);
  const type = btf.type(id);
  if (type?.kind !== "struct") return UNKNOWN;
  const flags = from.has(FLAG.UNTRUSTED) ? FLAG.UNTRUSTED : 0;
  return pointer("ptr_", { btf, btfId: id, flags });
}
