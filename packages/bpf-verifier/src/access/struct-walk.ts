/**
 * From a structure and an offset to the member there, and whether one structure begins with another. Pure functions over BTF.
 * Linux: btf_struct_walk(), btf_struct_ids_match().
 */
import { EACCES, EINVAL } from "@alien-ts/abi";
import type { Btf, BtfMember, BtfType } from "@alien-ts/btf";
import { assert } from "../assert.ts";
import type { VerifierLog } from "../log.ts";
import { FLAG } from "../state/register.ts";
import { Reject, reject } from "../verdict.ts";

/** What a walk ends at; `flags` are those of the pointer that a load gives. */
export type Step =
  | { readonly kind: "scalar" }
  /** A pointer to something that is not a structure. */
  | { readonly kind: "other pointer" }
  | {
      readonly kind: "pointer";
      readonly id: number;
      readonly flags: number;
      /** The member, and the structure that has it. */
      readonly field: string;
    }
  | { readonly kind: "struct"; readonly id: number };

interface Walk {
  readonly btf: Btf;
  readonly size: number;
  flags: number;
}

const SCALAR: Step = { kind: "scalar" };
const OTHER: Step = { kind: "other pointer" };
const POINTER_BYTES = 8;
const TAGS: Record<string, number> = { user: FLAG.USER, percpu: FLAG.PERCPU, rcu: FLAG.RCU };

const isComposite = (type: BtfType | undefined): type is BtfType & { readonly kind: "struct" | "union" } =>
  type?.kind === "struct" || type?.kind === "union";

const nameOf = ({ name }: BtfType): string => (name === "" ? "(anon)" : name);

/** The member that `size` bytes at `off` are, through structures. */
export function walkStruct(btf: Btf, id: number, off: number, size: number): Step | Reject {
  const walk: Walk = { btf, size, flags: 0 };
  let at: { id: number; off: number } = { id, off };
  for (let depth = 0; depth < 64; depth++) {
    const step = walkOnce(walk, at.id, at.off);
    if (step instanceof Reject || step.kind !== "struct") return step;
    at = { id: step.id, off: 0 };
  }
  return reject(EINVAL, "");
}

/** One structure: ends at the first member that is a structure and begins at `off`. */
function walkOnce(walk: Walk, from: number, offset: number): Step | Reject {
  const { btf, size } = walk;
  let id = btf.resolve(from);
  let off = offset;
  for (let depth = 0; depth < 64; depth++) {
    const type = btf.type(id);
    if (!isComposite(type)) return reject(EINVAL, `Type '${type?.name ?? ""}' is not a struct`);
    // Which of several views is the right one, nobody knows.
    if (type.kind === "union" && type.members.length !== 1) walk.flags |= FLAG.UNTRUSTED;
    if (off + size > type.size) {
      const inside = flexibleArray(btf, type, off);
      if (inside === undefined)
        return reject(EACCES, `access beyond struct ${nameOf(type)} at off ${off} size ${size}`);
      if ("kind" in inside) return inside;
      ({ id, off } = inside);
      continue;
    }
    const found = memberAt(walk, type, off);
    if (found === undefined)
      return reject(EINVAL, `struct ${nameOf(type)} doesn't have field at offset ${off}`);
    if (found instanceof Reject || "kind" in found) return found;
    ({ id, off } = found);
  }
  return reject(EINVAL, "");
}

interface Inside {
  readonly id: number;
  readonly off: number;
}

/** Beyond the end: only where the last member is an array without size. */
function flexibleArray(
  btf: Btf,
  type: BtfType & { readonly members: readonly BtfMember[] },
  off: number,
): Step | Inside | undefined {
  const last = type.members.at(-1);
  const array = last === undefined ? undefined : btf.type(btf.resolve(last.type));
  if (last === undefined || array?.kind !== "array" || array.count !== 0) return undefined;
  const start = last.bitOffset >> 3;
  if (off < start) return undefined;
  const id = btf.resolve(array.element);
  const element = btf.type(id);
  if (element?.kind === "int") return SCALAR;
  if (!isComposite(element) || element.size === 0) return undefined;
  return { id, off: (off - start) % element.size };
}

interface Member {
  readonly name: string;
  readonly id: number;
  readonly start: number;
  readonly bytes: number;
  /** End of the whole member, which may be an array of such. */
  readonly end: number;
}

function memberAt(
  walk: Walk,
  type: BtfType & { readonly members: readonly BtfMember[] },
  off: number,
): Step | Inside | Reject | undefined {
  const { btf, size } = walk;
  for (const member of type.members) {
    const start = member.bitOffset >> 3;
    if (off + size <= start) return undefined;
    if (member.bitSize !== 0) {
      const end = Math.ceil((member.bitOffset + member.bitSize) / 8);
      if (off <= start && end <= off + size) return SCALAR;
      continue;
    }
    if (off < start) return undefined;
    const bytes = btf.sizeOf(member.type);
    assert(bytes !== undefined, `member ${member.name} has a size`);
    const end = start + bytes;
    if (off >= end) continue;
    const id = btf.resolve(member.type);
    const place = element(btf, { name: member.name, id, start, bytes, end }, off);
    return inMember(walk, nameOf(type), place, off);
  }
  return undefined;
}

/** The element of an array, of however many dimensions, that `off` lies in. */
function element(btf: Btf, member: Member, off: number): Member {
  let { id } = member;
  for (let type = btf.type(id); type?.kind === "array"; type = btf.type(id)) id = btf.resolve(type.element);
  const bytes = btf.sizeOf(id) ?? 1;
  const index = Math.floor((off - member.start) / bytes);
  return { ...member, id, bytes, start: member.start + index * bytes };
}

function inMember(walk: Walk, owner: string, member: Member, off: number): Step | Inside | Reject {
  const { btf, size } = walk;
  const { id, start, name, bytes, end } = member;
  const type = btf.type(id);
  if (isComposite(type)) return off === start ? { kind: "struct", id } : { id, off: off - start };
  if (type?.kind === "ptr") {
    if (bytes !== size || off !== start || size !== POINTER_BYTES) {
      return reject(
        EACCES,
        `cannot access ptr member ${name} with moff ${start} in struct ${owner} with off ${off} size ${size}`,
      );
    }
    const tag = btf.type(type.type);
    const target = btf.resolve(type.type);
    if (!isComposite(btf.type(target))) return OTHER;
    const tagged = tag?.kind === "type_tag" ? (TAGS[tag.name] ?? 0) : 0;
    return { kind: "pointer", id: target, flags: walk.flags | tagged, field: name };
  }
  if (off + size > end && (walk.flags & FLAG.UNTRUSTED) === 0) {
    return reject(
      EACCES,
      `access beyond the end of member ${name} (mend:${end}) in struct ${owner} with off ${off} size ${size}`,
    );
  }
  return SCALAR;
}

/** A type of a BTF. */
export interface TypeOf {
  readonly btf: Btf | undefined;
  readonly id: number;
}

/**
 * Whether `given` at `off` is `wanted`, or begins with it where `isStrict` is not asked.
 * @param log is told where the search ends, but not that nothing was found.
 */
export function structsMatch(
  given: TypeOf,
  off: number,
  wanted: TypeOf,
  isStrict: boolean,
  log?: VerifierLog,
): boolean {
  const { btf } = given;
  if (btf === undefined) return false;
  const isSame = (id: number): boolean => btf === wanted.btf && id === btf.resolve(wanted.id);
  if (off === 0 && isSame(btf.resolve(given.id))) return true;
  if (isStrict) return false;
  const walk: Walk = { btf, size: 1, flags: 0 };
  let { id } = given;
  let at = off;
  for (let depth = 0; depth < 64; depth++) {
    const step = walkOnce(walk, id, at);
    if (step instanceof Reject && log?.isNeeded === true) log.line(step.message);
    if (step instanceof Reject || step.kind !== "struct") return false;
    if (isSame(step.id)) return true;
    id = step.id;
    at = 0;
  }
  return false;
}
