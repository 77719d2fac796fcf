/**
 * A refusal explained: `verifyWithReport(env)` gives the verdict, and for a refused program the rule, the place in the source, the
 * registers, how they came to be what they are, and what to do. The findings are those of the log, as data.
 *
 * A refused program is verified once more with its path recorded; accepted ones cost nothing.
 */
import { CALL, REG } from "@alien-ts/bpf-isa";
import type { Insn } from "@alien-ts/bpf-isa";
import type { ProgramEnv } from "../env.ts";
import { registerText } from "../print.ts";
import { effectOf } from "../prune/live.ts";
import { lineOf } from "../source.ts";
import type { SourceSpan } from "../source.ts";
import type { Verdict } from "../verdict.ts";
import { verifyProgram } from "../verify-program.ts";
import { ENDED, chainOf, heldSince, textOf } from "./chain.ts";
import type { Link } from "./chain.ts";
import { ENDED_POINTER, ruleOf } from "./rules.ts";
import { Trail } from "./trail.ts";
import type { Step } from "./trail.ts";

export interface Report {
  /** Short name of the rule that was broken. */
  readonly rule: string;
  readonly statement: string;
  /** Linux's words. */
  readonly message: string;
  /** "EACCES" */
  readonly errno: string;
  /** Where; undefined where it is about the whole program. */
  readonly insn: number | undefined;
  readonly instruction: string | undefined;
  readonly source: SourceSpan | undefined;
  /** What was known before the instruction of the registers that matter. */
  readonly registers: readonly { readonly name: string; readonly state: string }[];
  /** From the first cause to the last. */
  readonly chain: readonly Link[];
  readonly advice: string;
}

export interface Explained {
  readonly verdict: Verdict;
  /** Of a refused program. */
  readonly report: Report | undefined;
}

export function verifyWithReport(env: ProgramEnv): Explained {
  const verdict = verifyProgram(env);
  if (verdict.ok) return { verdict, report: undefined };
  const trail = new Trail();
  verifyProgram({ ...env, log: { level: 0 }, observer: trail });
  const { message = "", insn } = verdict.refusal ?? {};
  const lines = message.split("\n").filter((line) => line !== "" && !/^(cur|old) state:/.test(line));
  const last = insn === undefined ? undefined : trail.steps.at(-1);
  const wanted = last === undefined ? 0 : registersOf(env, lines, last);
  const causes = last === undefined ? [] : chainOf(env, trail.steps, wanted);
  const held = last === undefined ? [] : heldSince(env, trail.steps, message);
  const chain = held.length > 0 ? held : causes;
  const rule = causes.some(({ effect }) => effect.endsWith(ENDED))
    ? ENDED_POINTER
    : ruleOf(lines, insn !== undefined && env.insns[insn]?.opcode === CALL_OPCODE);
  return {
    verdict,
    report: {
      rule: rule.id,
      statement: rule.statement,
      message,
      errno: verdict.errno.name,
      insn,
      instruction: insn === undefined ? undefined : textOf(env, insn),
      source: insn === undefined ? undefined : lineOf(env, insn),
      registers: last === undefined ? [] : statesOf(last, wanted),
      chain,
      advice: rule.advice,
    },
  };
}

/**
 * Those that the message names outside of states, and the sizes that go with them; where it names none, those that the instruction
 * reads.
 */
function registersOf(env: ProgramEnv, lines: readonly string[], { insn, registers }: Step): number {
  let wanted = 0;
  for (const [, number] of lines.join("\n").matchAll(/\bR(\d+)\b/g)) wanted |= 1 << Number(number);
  const at = env.insns[insn]!;
  if (wanted !== 0) return wanted | sizesOf(env, at, wanted);
  const held = registers.reduce((all, { kind }, i) => (kind === "?" ? all : all | (1 << i)), 0);
  return effectOf(env, at).uses & held & ~(1 << REG.R10);
}

/** Of pointers that a helper is given with a size in the next register: that register. */
function sizesOf({ helper }: ProgramEnv, { opcode, src, imm }: Insn, pointers: number): number {
  const args = opcode === CALL_OPCODE && src === CALL.HELPER ? helper(imm)?.args : undefined;
  let sizes = 0;
  for (const [i, { role }] of (args ?? []).entries())
    if (role === "size" && (pointers & (1 << i)) !== 0) sizes |= 1 << (i + 1);
  return sizes;
}

const CALL_OPCODE = 0x85;

function statesOf({ registers, frame }: Step, wanted: number): Report["registers"] {
  return registers.flatMap((register, number) => {
    if ((wanted & (1 << number)) === 0) return [];
    const state =
      register.kind === "?" ? "nothing: never written on this path" : registerText(register, frame);
    return [{ name: `r${number}`, state }];
  });
}
