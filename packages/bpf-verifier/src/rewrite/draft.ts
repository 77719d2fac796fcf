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

  /** Replaces each instruction by what `by` gives; undefined leaves it. Only what stands alone for a jump may be one. */
  replace(by: (insn: Insn, index: number) => readonly Insn[] | undefined): void {
    const parts = this.insns.map((insn, index) => by(insn, index) ?? [insn]);
    const starts = new Int32Array(parts.length + 1);
    parts.forEach((part, index) => {
      starts[index + 1] = starts[index]! + part.length;
    });
    const { origin } = this;
    this.insns = parts.flatMap((part, index) =>
      part.length === 1 ? [redirect(part[0]!, index, starts)] : part,
    );
    this.origin = parts.flatMap((part, index) => part.map(() => origin[index]!));
  }
}

/** The instruction that stood at `index`, with its distance as it is when instructions start at `starts`. */
function redirect(insn: Insn, index: number, starts: Int32Array): Insn {
  const field = distanceField(insn);
  if (field === undefined) return insn;
  const distance = starts[index + 1 + insn[field]]! - starts[index]! - 1;
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
