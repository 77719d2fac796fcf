/**
 * Calls of kernel functions, on one screen: may it be called, are its arguments right, what does it change, what does it give.
 * Linux: check_kfunc_call().
 */
import { EACCES, EFAULT } from "@alien-ts/abi";
import { REG } from "@alien-ts/bpf-isa";
import type { Insn } from "@alien-ts/bpf-isa";
import type { Analysis } from "../../analysis.ts";
import { assert } from "../../assert.ts";
import { SCALAR_UNKNOWN, ScalarDraft } from "../../scalar/scalar.ts";
import { NOT_INIT, scalarRegister } from "../../state/register.ts";
import { reject } from "../../verdict.ts";
import type { Check } from "../../verdict.ts";
import { checkThrown } from "../../check/exit.ts";
import { checkLeaks } from "../../check/leaks.ts";
import { forgetPackets, releaseReference } from "../release.ts";
import { advance } from "../iterator.ts";
import { checkKfuncArguments } from "./arguments.ts";
import { runKfuncCallback } from "./callbacks.ts";
import { calledKfunc, findKfunc, has, newKfuncFacts } from "./facts.ts";
import type { Kfunc, KfuncFacts } from "./facts.ts";
import { giveAway } from "./graph.ts";
import { changeRegions } from "./regions.ts";
import { giveKfuncResult } from "./result.ts";

const INSERTS: readonly string[] = [
  "bpf_list_push_front_impl",
  "bpf_list_push_back_impl",
  "bpf_rbtree_add_impl",
];
const THROW = "bpf_throw";

/** The path goes on behind the call, unless that ends it by an exception. */
export function checkKfuncCall(analysis: Analysis, insn: Insn): Check {
  const after = analysis.index + 1;
  // Refused behind the walk, where it is still there: loaders leave calls of functions that the kernel lacks.
  if (insn.imm === 0) {
    analysis.touch(REG.R0);
    analysis.target = after;
    return undefined;
  }
  const { env } = analysis;
  const kfunc = findKfunc(env, insn);
  if (kfunc === undefined) {
    const name = calledKfunc(env, insn) ?? env.kfunc?.(insn.imm, insn.off) ?? "";
    return reject(EACCES, `calling kernel function ${name} is not allowed`);
  }
  const facts = newKfuncFacts();
  const bad =
    checkBefore(analysis, kfunc) ??
    checkKfuncArguments(analysis, kfunc, facts) ??
    runKfuncCallback(analysis, kfunc, facts) ??
    changeRegions(analysis, kfunc);
  if (bad !== undefined) return bad;
  release(analysis, kfunc, facts);
  if (kfunc.name === THROW) return checkThrown(analysis) ?? endByException(analysis, kfunc);
  const wrong = conclude(analysis, kfunc, facts);
  if (wrong === undefined) analysis.target = after;
  return wrong;
}

/** What does not depend on the arguments. */
function checkBefore(analysis: Analysis, kfunc: Kfunc): Check {
  const { name } = kfunc;
  if (name === "bpf_res_spin_lock" || name === "bpf_res_spin_lock_irqsave") {
    const full = pushFailedLock(analysis);
    if (full !== undefined) return full;
  } else if (name === "__bpf_trap")
    return reject(EFAULT, "unexpected __bpf_trap() due to uninitialized variable?");
  if (has(kfunc, "sleepable") && !analysis.state.isInSleepable)
    return reject(EACCES, `program must be sleepable to call sleepable kfunc ${name}`);
  return undefined;
}

const MAX_ERRNO = 4095;

/** The lock may not be had: a path on which r0 is an error. */
function pushFailedLock(analysis: Analysis): Check {
  const queued = analysis.state.copy();
  for (let i = 0; i <= 5; i++) queued.registers[i] = NOT_INIT;
  const draft = new ScalarDraft(SCALAR_UNKNOWN);
  draft.smin = BigInt(-MAX_ERRNO);
  draft.smax = -1n;
  draft.s32min = -MAX_ERRNO;
  draft.s32max = -1;
  queued.registers[REG.R0] = scalarRegister(draft.sync().freeze());
  return analysis.push(analysis.index + 1, queued);
}

function release(analysis: Analysis, { name }: Kfunc, facts: KfuncFacts): void {
  if (facts.releases !== 0) {
    const isHeld = releaseReference(analysis, analysis.register(facts.releases).refId);
    assert(isHeld, "what a register refers to is held as long as the register");
  }
  if (!INSERTS.includes(name)) return;
  const { refId } = analysis.register(REG.R2);
  giveAway(analysis, refId);
  return undefined;
}

function endByException(analysis: Analysis, { name }: Kfunc): Check {
  analysis.clearCallerSaved();
  return checkLeaks(analysis, name, true, true);
}

function conclude(analysis: Analysis, kfunc: Kfunc, facts: KfuncFacts): Check {
  analysis.clearCallerSaved();
  const bad = giveKfuncResult(analysis, kfunc, facts);
  if (bad !== undefined) return bad;
  if (kfunc.name === "bpf_xdp_pull_data") forgetPackets(analysis);
  return has(kfunc, "iter_next") ? advance(analysis, facts.iterator!) : undefined;
}
