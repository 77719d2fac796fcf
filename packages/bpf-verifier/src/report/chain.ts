/**
 * How a refusal came about: back along the path, what wrote or compared the registers that matter, what these came from, where a
 * pointer among them ended, and where something was taken that is still held.
 */
import { CLASS, REG, disassemble } from "@alien-ts/bpf-isa";
import type { Insn } from "@alien-ts/bpf-isa";
import type { ProgramEnv } from "../env.ts";
import { instructionNames } from "../names.ts";
import { registerText } from "../print.ts";
import { effectOf } from "../prune/live.ts";
import { lineOf } from "../source.ts";
import type { SourceSpan } from "../source.ts";
import type { Step } from "./trail.ts";

/** One instruction of the path, and what it has to do with the refusal. */
export interface Link {
  readonly insn: number;
  readonly instruction: string;
  readonly source: SourceSpan | undefined;
  /** "r2 = scalar(…)", "r2 is compared; goes on at 12". */
  readonly effect: string;
}

export const textOf = (env: ProgramEnv, at: number): string => {
  const insn = env.insns[at];
  if (insn === undefined) return "";
  return disassemble(insn, env.insns[at + 1], { ...instructionNames(env), withOpcode: false });
};

const linkAt = (env: ProgramEnv, insn: number, effect: string): Link => ({
  insn,
  instruction: textOf(env, insn),
  source: lineOf(env, insn),
  effect,
});

/** What is still held, by the refusal's words: where it was taken, and by which branches the path came from there to its end. */
export function heldSince(env: ProgramEnv, steps: readonly Step[], message: string): Link[] {
  const acquired = /alloc_insn=(\d+)/.exec(message)?.[1];
  const lock = /inside (bpf_\w+)-ed region/.exec(message)?.[1];
  const taker = lock ?? (message.includes("while holding a lock") ? "bpf_spin_lock" : undefined);
  if (acquired === undefined && taker === undefined) return [];
  const at = steps.findLastIndex(
    ({ insn }, i) =>
      i < steps.length - 1 &&
      (acquired === undefined ? textOf(env, insn).startsWith(`call ${taker}#`) : insn === Number(acquired)),
  );
  if (at < 0) return [];
  const what = acquired === undefined ? "the section begins" : "what is returned here must be given back";
  const links = [linkAt(env, steps[at]!.insn, what)];
  for (let i = at + 1; i < steps.length - 1 && links.length < MOST_LINKS; i++) {
    const { insn } = steps[i]!;
    if (isComparison(env.insns[insn]!)) links.push(linkAt(env, insn, `goes on at ${steps[i + 1]!.insn}`));
  }
  return links;
}

/** Of a pointer that is used after its end. */
export const ENDED = "what it points to is gone behind this";

const MOST_LINKS = 6;

/** Back along the path: what wrote or compared the registers that matter, and then what these came from. */
export function chainOf(env: ProgramEnv, steps: readonly Step[], first: number): Link[] {
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
    const after = steps.slice(i + 1).find((later) => later.depth <= depth);
    const ended = endedAt(step, after, wanted & ~defines);
    if ((defines & wanted) === 0 && !isStore && !isBranch && ended === 0) continue;
    const effect =
      ended !== 0
        ? endedText(step, ended)
        : isBranch
          ? comparedText(uses & wanted, after)
          : writtenText(defines & wanted, after);
    if (!seen.has(step.insn) && effect !== "") {
      seen.add(step.insn);
      links.unshift(linkAt(env, step.insn, effect));
    }
    if (isBranch || ended !== 0) continue;
    if (isStore) slots = slots.filter((slot) => slot !== storedSlot(insn));
    wanted &= ~defines;
    wanted |= sourcesOf(insn, uses);
    if (isStackLoad(insn)) slots = [...slots, insn.off];
    if (wanted === 0 && slots.length === 0) break;
  }
  return links;
}

/** Pointers that are none behind the instruction, though it did not write them. */
function endedAt(before: Step, after: Step | undefined, registers: number): number {
  if (after === undefined || after.depth !== before.depth) return 0;
  return numbersOf(registers)
    .filter((number) => before.registers[number]!.isPointer && !after.registers[number]!.isPointer)
    .reduce((all, number) => all | (1 << number), 0);
}

const endedText = (before: Step, registers: number): string =>
  `${numbersOf(registers)
    .map((number) => `r${number} was ${stateOf(before, number)}`)
    .join(", ")}; ${ENDED}`;

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
