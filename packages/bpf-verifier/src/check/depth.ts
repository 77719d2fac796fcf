/**
 * The stack of chains of calls, which is known when every path was walked: at most 8 frames and 512 bytes, where functions have
 * no stacks of their own. Linux: check_max_stack_depth().
 */
import { E2BIG, EACCES, EINVAL } from "@alien-ts/abi";
import { CALL, FRAME_BYTES, MAX_FRAMES, PSEUDO } from "@alien-ts/bpf-isa";
import type { Analysis } from "../analysis.ts";
import { HELPER } from "../call/callback-kinds.ts";
import { calledKfunc } from "../call/kfunc/facts.ts";
import { isLocalCall, subprogramAt } from "../cfg.ts";
import { Reject, reject } from "../verdict.ts";
import type { Check } from "../verdict.ts";

/** A function that uses as much gets a stack of its own. */
const PRIVATE_BYTES = 64;
/** Frames below one that tail calls may use as much. */
const TAIL_CALL_BYTES = 256;
const WITH_PRIVATE_STACKS: readonly number[] = [2, 5, 7, 17];
const TRACING = 26;
const ITERATOR = 28;

export function checkDepth(analysis: Analysis): Check {
  const walk = new DepthWalk(analysis);
  for (let root = analysis.subprograms.length - 1; root >= 0; root--) {
    const isRoot = root === 0 || root === analysis.exceptionCallback || analysis.laterCallbacks.has(root);
    if (!isRoot) continue;
    const bad = walk.from(root);
    if (bad !== undefined) return bad;
  }
  return undefined;
}

/** Linux: bpf_enable_priv_stack() */
function usesPrivateStacks({ env }: Analysis): boolean {
  if (env.hasPrivateStacks !== true) return false;
  const { type, attachType } = env.programType;
  if (
    env.insns.some(
      ({ opcode, src, imm }) => opcode === 0x85 && src === CALL.HELPER && imm === HELPER.tail_call,
    )
  )
    return false;
  return WITH_PRIVATE_STACKS.includes(type) || (type === TRACING && attachType !== ITERATOR);
}

class DepthWalk {
  readonly #analysis: Analysis;
  readonly #sizes: readonly number[];
  /** Functions that share the stack, and those that have their own. */
  readonly #shared = new Set<number>();
  readonly #private = new Set<number>();
  /** Reached before with as much stack: nothing new comes of it. Without this, calls that fan out take forever. */
  readonly #most = new Map<string, number>();
  #mayHavePrivate = false;
  /** What is walked runs when the program throws, and has called a function that tail calls. */
  #isThrownTo = false;
  #hasTailCall = false;

  constructor(analysis: Analysis) {
    this.#analysis = analysis;
    this.#sizes = analysis.stackDepth.map((depth) => Math.ceil(depth / 16) * 16);
  }

  from(root: number): Check {
    this.#mayHavePrivate = root === 0 && usesPrivateStacks(this.#analysis);
    if (!this.#mayHavePrivate) this.#shared.add(root);
    this.#isThrownTo = root !== 0 && root === this.#analysis.exceptionCallback;
    this.#hasTailCall = false;
    return this.#visit(root, 0, 0, false);
  }

  #visit(number: number, frame: number, below: number, isCallback: boolean): Check {
    const analysis = this.#analysis;
    const size = this.#sizes[number]!;
    if (number !== 0 && below >= TAIL_CALL_BYTES && this.#tailCalls(number)) {
      return reject(
        EACCES,
        `tail_calls are not allowed when call stack of previous frames is ${below} bytes. Too large`,
      );
    }
    if (this.#mayHavePrivate && !this.#shared.has(number) && size >= PRIVATE_BYTES) this.#private.add(number);
    const total = below + (this.#private.has(number) ? 0 : size);
    if (total > FRAME_BYTES)
      return reject(EACCES, `combined stack size of ${frame + 1} calls is ${total}. Too large`);
    const calledBack = isCallback || this.#isThrownTo || analysis.callbacks.has(number);
    if (frame > 0 && this.#isThrownTo) this.#hasTailCall ||= this.#tailCalls(number);
    const key = `${number} ${frame} ${calledBack} ${this.#mayHavePrivate} ${this.#isThrownTo}`;
    if ((this.#most.get(key) ?? -1) >= total) return undefined;
    this.#most.set(key, total);
    return this.#visitCallees(number, frame, total, calledBack);
  }

  #visitCallees(number: number, frame: number, total: number, calledBack: boolean): Check {
    const { env, subprograms, laterCallbacks } = this.#analysis;
    const { start, end } = subprograms[number]!;
    for (let i = start; i < end; i++) {
      const insn = env.insns[i]!;
      if (calledBack && calledKfunc(env, insn) === "bpf_throw") {
        return reject(EINVAL, `bpf_throw kfunc (insn ${i}) cannot be called from callback subprog ${number}`);
      }
      const isNamed = insn.opcode === 0x18 && insn.src === PSEUDO.FUNC;
      if (!isNamed && !isLocalCall(insn)) continue;
      const callee = subprogramAt(subprograms, i + 1 + insn.imm);
      // What runs later has the stack for itself.
      const isThrownTo = callee === this.#analysis.exceptionCallback;
      if (isNamed && (isThrownTo || laterCallbacks.has(callee))) continue;
      if (isThrownTo) return new Reject(EINVAL, `insn ${i} cannot call exception cb directly`, false);
      if (!this.#mayHavePrivate) this.#shared.add(callee);
      if (frame + 1 >= MAX_FRAMES)
        return reject(E2BIG, `the call stack of ${frame + 1} frames is too deep !`);
      const bad = this.#visit(callee, frame + 1, total, calledBack);
      if (bad !== undefined) return bad;
    }
    if (frame > 0 && this.#hasTailCall) return reject(EINVAL, "cannot tail call within exception cb");
    return undefined;
  }

  #tailCalls(number: number): boolean {
    const { env, subprograms } = this.#analysis;
    const { start, end } = subprograms[number]!;
    return env.insns
      .slice(start, end)
      .some(({ opcode, src, imm }) => opcode === 0x85 && src === CALL.HELPER && imm === HELPER.tail_call);
  }
}
