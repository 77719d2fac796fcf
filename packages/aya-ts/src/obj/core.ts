/**
 * CO-RE: an object's code as it must be for one kernel. Specs are not changed; the result needs no relocation of this kind.
 *
 * Authority: aya-obj `btf/relocation.rs`, libbpf `bpf_object__relocate_core`.
 */
import type { Insn } from "@alien-ts/bpf-isa";
import { CoreError, CoreRelocator } from "@alien-ts/btf";
import type { Btf } from "@alien-ts/btf";
import { RelocationError } from "../errors.ts";
import { mapFunctions } from "./spec.ts";
import type { FunctionSpec, ObjectSpec } from "./spec.ts";

export const needsCore = (spec: ObjectSpec): boolean =>
  Array.from(spec.functions.values()).some(({ coreRelocations }) => coreRelocations.length > 0);

/** @param kernel the types of the kernel that is to run the object */
export function applyCore(spec: ObjectSpec, kernel: Btf): ObjectSpec {
  if (spec.btf === undefined || !needsCore(spec)) return spec;
  const relocator = new CoreRelocator(spec.btf, kernel);
  return mapFunctions(spec, (fn) => relocateFunction(fn, relocator));
}

function relocateFunction(fn: FunctionSpec, relocator: CoreRelocator): FunctionSpec {
  if (fn.coreRelocations.length === 0) return fn;
  const insns: Insn[] = [...fn.insns];
  for (const relocation of fn.coreRelocations) {
    const at = relocation.offset;
    const first = insns[at];
    const patched =
      first === undefined
        ? new CoreError(`no instruction ${at}`)
        : relocator.relocate(relocation, first, insns[at + 1]);
    if (patched instanceof CoreError)
      throw new RelocationError(`${fn.name}+${at}`, patched.message, { cause: patched });
    insns.splice(at, patched.length, ...patched);
  }
  return { ...fn, insns, coreRelocations: [] };
}
