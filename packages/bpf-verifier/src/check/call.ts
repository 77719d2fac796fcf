/** Calls of helpers, and the depth of calls between functions. Linux: check_helper_call(), check_max_stack_depth(). */
import { E2BIG, EACCES, EINVAL } from "@alien-ts/abi";
import { MAX_FRAMES, FRAME_BYTES } from "@alien-ts/bpf-isa";
import { isLocalCall, subprogramAt } from "../cfg.ts";
import { isGplCompatible } from "../env.ts";
import type { Verification } from "../state.ts";
import { reject } from "../verdict.ts";
import type { Check } from "../verdict.ts";
import { stackDepth } from "./stack.ts";

export function checkHelperCall({ env }: Verification, id: number): Check {
  const helper = env.helper(id);
  if (helper === undefined) return reject(EINVAL, `invalid func unknown#${id}`);
  if (!env.programType.allowsHelper(id)) {
    return reject(EINVAL, `program of this type cannot use helper ${helper.name}#${id}`);
  }
  if (helper.gplOnly && !isGplCompatible(env.license)) {
    return reject(EINVAL, "cannot call GPL-restricted function from non-GPL compatible program");
  }
  return undefined;
}

/**
 * No chain of calls has more than 8 frames or 512 bytes of stack, each frame rounded up to 16 bytes. Recursion is a chain
 * without end. Functions that a helper calls back are chains of their own.
 */
export function checkCallDepth(verification: Verification): Check {
  const { subprograms, insns } = verification;
  const callees = subprograms.map(({ start, end }) => {
    const found = new Set<number>();
    for (let index = start; index < end; index++) {
      const insn = insns[index]!;
      if (isLocalCall(insn)) found.add(subprogramAt(subprograms, index + 1 + insn.imm));
    }
    return [...found];
  });
  const sizes = subprograms.map((subprogram) => Math.ceil(stackDepth(insns, subprogram) / 16) * 16);
  for (let first = 0; first < subprograms.length; first++) {
    const refusal = checkChains(callees, sizes, first);
    if (refusal !== undefined) return refusal;
  }
  return undefined;
}

/** Bellman-Ford over at most 8 frames: the largest stack with which each function can be reached by n calls. */
function checkChains(
  callees: readonly (readonly number[])[],
  sizes: readonly number[],
  first: number,
): Check {
  let reached = new Map([[first, sizes[first]!]]);
  for (let frames = 1; reached.size > 0; frames++) {
    if (frames > MAX_FRAMES) return reject(E2BIG, `the call stack of ${frames} frames is too deep`);
    const next = new Map<number, number>();
    for (const [caller, bytes] of reached) {
      if (bytes > FRAME_BYTES) {
        return reject(EACCES, `combined stack size of ${frames} calls is ${bytes}. Too large`);
      }
      for (const callee of callees[caller]!) {
        next.set(callee, Math.max(next.get(callee) ?? 0, bytes + sizes[callee]!));
      }
    }
    reached = next;
  }
  return undefined;
}
