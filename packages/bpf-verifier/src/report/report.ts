/**
 * A refusal explained: `verifyWithReport(env)` gives the verdict, and for a refused program the rule, the place in the source, the
 * registers, how they came to be what they are, and what to do. The findings are those of the log, as data.
 *
 * A refused program is verified once more with its path recorded; accepted ones cost nothing.
 */
import { CLASS, REG, disassemble } from "@alien-ts/bpf-isa";
import type { Insn } from "@alien-ts/bpf-isa";
import type { ProgramEnv } from "../env.ts";
import { instructionNames } from "../names.ts";
import { registerText } from "../print.ts";
import { effectOf } from "../prune/live.ts";
import { lineOf } from "../source.ts";
import type { SourceSpan } from "../source.ts";
import type { Verdict } from "../verdict.ts";
import { verifyProgram } from "../verify-program.ts";
import { ruleOf } from "./rules.ts";
import { Trail } from "./trail.ts";
import type { Step } from "./trail.ts";

/** One instruction of the path, and what it has to do with the refusal. */
export interface Link {
  readonly insn: number;
  readonly instruction: string;
  readonly source: SourceSpan | undefined;
  /** "r2 = scalar(…)", "r2 is compared; goes on at 12". */
  readonly effect: string;
}

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
  const lines = message.split("\n").filter((line) => line !== "");
  const rule = ruleOf(lines.at(-1) ?? "");
  const last = insn === undefined ? undefined : trail.steps.at(-1);
  const wanted = last === undefined ? 0 : registersOf(env, message, last);
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
      chain: last === undefined ? [] : chainOf(env, trail.steps, wanted),
      advice: rule.advice,
    },
  };
}

const textOf = (env: ProgramEnv, at: number): string => {
  const insn = env.insns[at];
  if (insn === undefined) return "";
  return disassemble(insn, env.insns[at + 1], { ...instructionNames(env), withOpcode: false });
};

/** Those that the message names; where it names none, those that the instruction reads. */
function registersOf(env: ProgramEnv, message: string, { insn }: Step): number {
  let wanted = 0;
  for (const [, number] of message.matchAll(/\bR(\d+)\b/g)) wanted |= 1 << Number(number);
  return wanted === 0 ? effectOf(env, env.insns[insn]!).uses & ~(1 << REG.R10) : wanted;
}

function statesOf({ registers, frame }: Step, wanted: number): Report["registers"] {
  return registers.flatMap((register, number) => {
    if ((wanted & (1 << number)) === 0) return [];
    const state =
      register.kind === "?" ? "nothing: never written on this path" : registerText(register, frame);
    return [{ name: `r${number}`, state }];
  });
}

const MOST_LINKS = 6;

/** Back along the path: what wrote or compared the registers that matter, and then what these came from. */
function chainOf(env: ProgramEnv, steps: readonly Step[], first: number): Link[] {
  const links: Link[] = [];
  const seen = new Set<number>();
  let wanted = first & ~(1 << REG.R10);
  let slots: readonly number[] = [];
  let { depth } = steps.at(-1)!;
  for (let i = steps.length - 2; i >= 0 && links.length < MOST_LINKS; i--) {
    const step = steps[i]!;
    if (step.depth > depth) continue;
    // Into the caller: what was passed is still wanted there.
    depth = step.depth;
    const insn = env.insns[step.insn]!;
    const { uses, defines } = effectOf(env, insn);
    const isStore = storedSlot(insn) !== undefined && slots.includes(storedSlot(insn)!);
    const isBranch = isComparison(insn) && (uses & wanted) !== 0;
    if ((defines & wanted) === 0 && !isStore && !isBranch) continue;
    const after = steps.slice(i + 1).find((later) => later.depth <= depth);
    const effect = isBranch ? comparedText(uses & wanted, after) : writtenText(defines & wanted, after);
    if (!seen.has(step.insn) && effect !== "") {
      seen.add(step.insn);
      links.unshift({
        insn: step.insn,
        instruction: textOf(env, step.insn),
        source: lineOf(env, step.insn),
        effect,
      });
    }
    if (isBranch) continue;
    if (isStore) slots = slots.filter((slot) => slot !== storedSlot(insn));
    wanted &= ~defines;
    wanted |= sourcesOf(insn, uses);
    if (isStackLoad(insn)) slots = [...slots, insn.off];
    if (wanted === 0 && slots.length === 0) break;
  }
  return links;
}

/** Where the value of what was written comes from; a load tells nothing of its address, a call nothing of its arguments. */
function sourcesOf(insn: Insn, uses: number): number {
  const kind = insn.opcode & 7;
  const isAlu = kind === CLASS.ALU || kind === CLASS.ALU64;
  const isStore = kind === CLASS.STX;
  return (isAlu ? uses : isStore ? 1 << insn.src : 0) & ~(1 << REG.R10);
}

const isStackLoad = ({ opcode, src }: Insn): boolean => (opcode & 7) === CLASS.LDX && src === REG.R10;

function storedSlot({ opcode, dst, off }: Insn): number | undefined {
  const kind = opcode & 7;
  return (kind === CLASS.ST || kind === CLASS.STX) && dst === REG.R10 ? off : undefined;
}

function isComparison({ opcode }: Insn): boolean {
  const kind = opcode & 7;
  const operation = opcode & 0xf0;
  return (
    (kind === CLASS.JMP || kind === CLASS.JMP32) &&
    operation !== 0 &&
    operation < 0xe0 &&
    !isCallOrExit(opcode)
  );
}

const isCallOrExit = (opcode: number): boolean => (opcode & 0xf0) === 0x80 || (opcode & 0xf0) === 0x90;

function comparedText(registers: number, after: Step | undefined): string {
  if (after === undefined) return "";
  const names = numbersOf(registers).map((number) => `r${number} = ${stateOf(after, number)}`);
  return `then goes on at ${after.insn}: ${names.join(", ")}`;
}

function writtenText(registers: number, after: Step | undefined): string {
  if (after === undefined) return "";
  if (registers === 0) return "stores it";
  return numbersOf(registers)
    .map((number) => `r${number} = ${stateOf(after, number)}`)
    .join(", ");
}

const numbersOf = (registers: number): number[] =>
  Array.from({ length: 11 }, (_, i) => i).filter((number) => (registers & (1 << number)) !== 0);

function stateOf({ registers, frame }: Step, number: number): string {
  const register = registers[number]!;
  return register.kind === "?" ? "nothing" : registerText(register, frame);
}
