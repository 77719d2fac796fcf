/**
 * `Draft`: a program that is being rewritten. Instructions are replaced by none, one or several, and jumps and calls go on to
 * lead where they led: to the first instruction of what stands for their target, or to what follows where nothing does.
 */
import { CALL, CLASS, PSEUDO } from "@alien-ts/bpf-isa";
import type { Insn } from "@alien-ts/bpf-isa";

const JA32 = 0x06;
const CALL_OPCODE = 0x85;
const WIDE_LOAD = 0x18;

export class Draft {
  insns: readonly Insn[];
  /** For each instruction, the index of the one in the program given that it stands for. */
  origin: readonly number[];

  constructor(insns: readonly Insn[]) {
    this.insns = insns;
    this.origin = insns.map((_, index) => index);
  }

  /** Replaces each instruction by what `by` gives; undefined leaves it. For a jump stands one alone, or itself among others. */
  replace(by: (insn: Insn, index: number) => readonly Insn[] | undefined): void {
    const before = this.insns;
    const parts = before.map((insn, index) => by(insn, index));
    if (parts.every((part) => part === undefined)) return;
    const starts = new Int32Array(parts.length + 1);
    for (let index = 0; index < parts.length; index++)
      starts[index + 1] = starts[index]! + (parts[index]?.length ?? 1);
    const insns: Insn[] = [];
    const origin: number[] = [];
    for (let index = 0; index < parts.length; index++) {
      const part = parts[index];
      if (part === undefined) insns.push(redirect(before[index]!, index, starts));
      else if (part.length === 1) insns.push(redirect(part[0]!, index, starts));
      else
        part.forEach((insn, at) =>
          insns.push(insn === before[index] ? redirect(insn, index, starts, at) : insn),
        );
      while (origin.length < insns.length) origin.push(this.origin[index]!);
    }
    this.insns = insns;
    this.origin = origin;
  }
}

/**
 * The instruction that stood at `index`, with its distance as it is when instructions start at `starts`, and it stands `at` behind. One
 * that leads to itself goes on to do so.
 */
function redirect(insn: Insn, index: number, starts: Int32Array, at = 0): Insn {
  const field = distanceField(insn);
  if (field === undefined || insn[field] === -1) return insn;
  const distance = starts[index + 1 + insn[field]]! - starts[index]! - at - 1;
  return distance === insn[field] ? insn : { ...insn, [field]: distance };
}

/** The field that holds how far an instruction leads. */
export function distanceField({ opcode, src }: Insn): "off" | "imm" | undefined {
  if (opcode === WIDE_LOAD) return src === PSEUDO.FUNC ? "imm" : undefined;
  if (opcode === CALL_OPCODE) return src === CALL.LOCAL ? "imm" : undefined;
  if (opcode === JA32) return "imm";
  const kind = opcode & 7;
  const operation = opcode & 0xf0;
  const isJump = (kind === CLASS.JMP || kind === CLASS.JMP32) && operation !== 0x80 && operation !== 0x90;
  return isJump ? "off" : undefined;
}
