/**
 * CO-RE: adapts instructions that were compiled against one kernel's types to the types of another.
 *
 *     const core = new CoreRelocator(objectBtf, parseBtf(vmlinux));
 *     const [load] = core.relocate(relocation, insn, next);
 *
 * The steps of one relocation, each in a file of its own: the access in the program's types (`access.ts`), the types of the target
 * that may be meant and the same access there (`match.ts`, `compatible.ts`), the value before and after (`value.ts`), the edit
 * (`patch.ts`). Something that the target has not makes the relocation's value 0 where the program asks whether it exists; else the
 * instruction is replaced by a call that the verifier refuses unless it is dead code.
 * Authority: libbpf `bpf_core_calc_relo_insn`, `bpf_core_apply_relo_insn`.
 */
import type { Insn } from "@alien-ts/bpf-isa";
import type { Btf } from "../btf.ts";
import { CoreError } from "./error.ts";
import type { CoreRelocation } from "../ext.ts";
import { CORE_RELO, CORE_RELO_NAMES, parseAccess } from "./access.ts";
import type { Access } from "./access.ts";
import { candidates, matchAccess, TargetNames } from "./match.ts";
import { patchInsn, poisoned } from "./patch.ts";
import type { Patched } from "./patch.ts";
import { MISSING, relocationValue } from "./value.ts";
import type { Value } from "./value.ts";

export class CoreRelocator {
  readonly #local: Btf;
  readonly #target: TargetNames;
  /** By local type: those of the target that matched so far, so that all relocations of a type mean the same one. */
  readonly #candidates = new Map<number, readonly number[]>();

  /**
   * @param local types of the object that has the relocations
   * @param target types of the kernel that is to run it
   */
  constructor(local: Btf, target: Btf) {
    this.#local = local;
    this.#target = new TargetNames(target);
  }

  /**
   * The slots that replace `first`, and `second` where `first` is a wide load.
   * @param second the slot after `first`
   */
  relocate(relocation: CoreRelocation, first: Insn, second: Insn | undefined): Patched | CoreError {
    const { typeId, access: text, kind } = relocation;
    const type = this.#local.type(typeId);
    if (type === undefined || CORE_RELO_NAMES[kind] === undefined)
      return new CoreError(`Invalid CO-RE relocation of kind ${kind}`, typeId);
    const local = parseAccess(this.#local, typeId, text, kind);
    if (local instanceof CoreError) return local;
    if (kind === CORE_RELO.TYPE_ID_LOCAL) {
      const own = { value: BigInt(typeId), isExact: false };
      return patchInsn(first, second, own, own);
    }
    if (type.name === "") return new CoreError(`relocation of an anonymous ${type.kind}`, typeId);
    const was = relocationValue(kind, local);
    if (was instanceof CoreError) return was;
    const now = this.#targetValue(kind, local);
    if (now instanceof CoreError) return now;
    return was === MISSING || now === MISSING ? poisoned(first) : patchInsn(first, second, was, now);
  }

  /** All types of the target that can be meant must give the same answer. */
  #targetValue(kind: number, local: Access): Value | typeof MISSING | CoreError {
    const ids = this.#candidates.get(local.root) ?? candidates(this.#local, local.root, this.#target);
    const found: { readonly id: number; readonly access: Access; readonly value: Value | typeof MISSING }[] =
      [];
    for (const id of ids) {
      const access = matchAccess(local, this.#target.btf, id, kind);
      if (access === undefined) continue;
      const value = relocationValue(kind, access);
      if (value instanceof CoreError) return value;
      const [first] = found;
      if (first !== undefined && !agree(first, { access, value }))
        return new CoreError(
          `relocation ${CORE_RELO_NAMES[kind]} of ${this.#local.type(local.root)!.name} is ambiguous: ` +
            `types ${first.id} and ${id} of the target differ`,
          local.root,
        );
      found.push({ id, access, value });
    }
    this.#candidates.set(local.root, found.length > 0 ? found.map(({ id }) => id) : ids);
    return found[0]?.value ?? relocationValue(kind, undefined);
  }
}

interface Answer {
  readonly access: Access;
  readonly value: Value | typeof MISSING;
}

function agree(a: Answer, b: Answer): boolean {
  if (a.access.bitOffset !== b.access.bitOffset) return false;
  if (a.value === MISSING || b.value === MISSING) return a.value === b.value;
  return a.value.value === b.value.value;
}
