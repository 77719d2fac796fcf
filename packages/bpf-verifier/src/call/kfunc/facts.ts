/** A call of a kernel function: what is called, and what its arguments say together (struct bpf_kfunc_call_arg_meta). */
import type { Btf, BtfFuncProto } from "@alien-ts/btf";
import type { Insn } from "@alien-ts/bpf-isa";
import type { Analysis } from "../../analysis.ts";
import type { KfuncFlag, KfuncRules, MapInfo, ProgramEnv, ValueField } from "../../env.ts";
import type { DynptrKind } from "../../state/register.ts";
import type { Place } from "../stack-place.ts";

/** A kernel function by name, prototype and rules. */
export interface Kfunc {
  readonly name: string;
  readonly id: number;
  readonly btf: Btf;
  readonly prototype: BtfFuncProto;
  readonly rules: KfuncRules;
}

export interface KfuncFacts {
  refId: number;
  /** The register whose object is given back. */
  releases: number;
  subprogram: number;
  constant: bigint | undefined;
  /** Bytes behind a returned pointer to memory. */
  resultBytes: number;
  isResultReadOnly: boolean;
  map: MapInfo | undefined;
  mapUid: number;
  list: ValueField | undefined;
  tree: ValueField | undefined;
  /** The type of the program's object that was passed. */
  object: { readonly btf: Btf; readonly id: number } | undefined;
  isOwning: boolean;
  dynptr: { readonly id: number; readonly kind: DynptrKind; readonly refId: number } | undefined;
  iterator: Place | undefined;
  contextId: number;
}

export const newKfuncFacts = (): KfuncFacts => ({
  refId: 0,
  releases: 0,
  subprogram: -1,
  constant: undefined,
  resultBytes: 0,
  isResultReadOnly: false,
  map: undefined,
  mapUid: 0,
  list: undefined,
  tree: undefined,
  object: undefined,
  isOwning: false,
  dynptr: undefined,
  iterator: undefined,
  contextId: 0,
});

export const has = ({ rules }: Kfunc, flag: KfuncFlag): boolean => rules.flags.has(flag);
/** Giving something back asks for it whole. */
export const wantsTrusted = (kfunc: Kfunc): boolean => has(kfunc, "trusted_args") || has(kfunc, "release");

const KFUNC_CALL = 2;

/** The function that a call names, by name; undefined for other calls. Functions of modules are not known. */
export function calledKfunc(env: ProgramEnv, insn: Insn): string | undefined {
  if (insn.opcode !== 0x85 || insn.src !== KFUNC_CALL || insn.off !== 0 || insn.imm === 0) return undefined;
  return env.kfunc?.(insn.imm, 0);
}

/** Of the function with this id. */
export function functionPrototype(btf: Btf, id: number): BtfFuncProto | undefined {
  const func = btf.type(id);
  const prototype = func?.kind === "func" ? btf.type(func.type) : undefined;
  return prototype?.kind === "func_proto" ? prototype : undefined;
}

/** What is known of the function with this id; undefined where no program may call it. */
export function findKfunc(env: ProgramEnv, insn: Insn): Kfunc | undefined {
  const name = calledKfunc(env, insn);
  const btf = env.kernelBtf;
  const rules = name === undefined ? undefined : env.kfuncRules?.(name);
  if (name === undefined || btf === undefined || rules === undefined) return undefined;
  const prototype = functionPrototype(btf, insn.imm);
  if (prototype === undefined || !rules.allows(env.programType)) return undefined;
  return { name, id: insn.imm, btf, prototype, rules };
}

/** Functions that may be called while a spin lock is held. Linux: kfunc_spin_allowed() */
export const isAllowedUnderLock = (name: string): boolean =>
  /^bpf_(list|rbtree)_/.test(name) ||
  name.startsWith("bpf_iter_num_") ||
  name.startsWith("bpf_res_spin_") ||
  name === "bpf_refcount_acquire_impl";

/** In the comparison of a tree's nodes, which runs with the lock held. Linux: in_rbtree_lock_required_cb() */
export function isInLess({ state, insns, env }: Analysis): boolean {
  const { top } = state;
  const call = top.isCallback ? insns[top.callSite] : undefined;
  return call !== undefined && call.src === 2 && env.kfunc?.(call.imm, call.off) === "bpf_rbtree_add_impl";
}
