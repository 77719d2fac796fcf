/**
 * `verify(env)`: may this program run? A pure function: program in, verdict, log and rewritten program out.
 *
 * The pipeline is Linux's bpf_check(): sizes → functions → jumps → wide loads → reachability → instructions → call depth.
 * Messages and errnos are those of Linux 6.18.
 *
 * Differs from Linux: values in registers and on the stack are not tracked yet, so that an accepted program is well formed but
 * may still access what it must not. Until they are, accepted programs run in the checked interpreter.
 */
import { E2BIG } from "@alien-ts/abi";
import { MAX_INSNS, MAX_INSNS_UNPRIVILEGED, disassemble } from "@alien-ts/bpf-isa";
import type { DisassembleOptions } from "@alien-ts/bpf-isa";
import { WIDE_LOAD, checkReachable, checkSubprograms, findSubprograms } from "./cfg.ts";
import { checkCallDepth } from "./check/call.ts";
import { checkInstruction } from "./check/instruction.ts";
import type { VerifierEnv } from "./env.ts";
import { LOG } from "./log.ts";
import { resolveWideLoads } from "./resolve.ts";
import { Verification } from "./state.ts";
import type { Check, Verdict } from "./verdict.ts";

export function verify(env: VerifierEnv): Verdict {
  const count = env.insns.length;
  if (count === 0 || count > (env.isCapable ? MAX_INSNS : MAX_INSNS_UNPRIVILEGED)) {
    return { ok: false, log: "", errno: E2BIG, processed: 0 };
  }
  const verification = new Verification(env);
  const refusal = run(verification);
  const { log, processed, insns, usedMapFds } = verification;
  if (refusal !== undefined && refusal.message !== "") log.line(refusal.message);
  if (refusal === undefined && !log.isVerbose) log.reset();
  logStatistics(verification);
  if (refusal !== undefined) return { ok: false, log: log.toString(), errno: refusal.errno, processed };
  return { ok: true, log: log.toString(), insns, usedMapFds, processed };
}

function run(verification: Verification): Check {
  return (
    findSubprograms(verification) ??
    checkSubprograms(verification) ??
    resolveWideLoads(verification) ??
    checkReachable(verification) ??
    checkInstructions(verification) ??
    checkCallDepth(verification)
  );
}

/** Every instruction in order, each printed before it is checked, as do_check() does along its first path. */
function checkInstructions(verification: Verification): Check {
  const { insns, log, env } = verification;
  const names: DisassembleOptions = {
    withOpcode: true,
    helperName: (id) => env.helper(id)?.name,
    kfuncName: (btfId, moduleOffset) => env.kfunc?.(btfId, moduleOffset),
  };
  if (log.isEnabled) log.line("0: R1=ctx() R10=fp0");
  for (let index = 0; index < insns.length; index++) {
    const insn = insns[index]!;
    verification.processed += 1;
    if (log.isEnabled) log.line(`${index}: ${disassemble(insn, insns[index + 1], names)}`);
    const refusal = checkInstruction(verification, insn);
    if (refusal !== undefined) return refusal;
    if (insn.opcode === WIDE_LOAD) index += 1;
  }
  return undefined;
}

/** Linux: print_verification_stats() */
function logStatistics({ log, processed }: Verification): void {
  if ((log.level & ~LOG.FIXED) === 0) return;
  log.line(
    `processed ${processed} insns (limit ${MAX_INSNS}) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0`,
  );
}
