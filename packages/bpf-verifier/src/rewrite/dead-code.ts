/**
 * Dead code goes. Linux: opt_hard_wire_dead_code_branches(), opt_remove_dead_code(), opt_remove_nops(); of programs without
 * CAP_BPF sanitize_dead_code(), which keeps their length.
 */
import { CLASS } from "@alien-ts/bpf-isa";
import type { Insn } from "@alien-ts/bpf-isa";
import type { Draft } from "./draft.ts";

const JA = 0x05;
const MAY_GOTO = 0xe5;

const jump = (off: number): Insn => ({ opcode: JA, dst: 0, src: 0, off, imm: 0 });

/** Jumps of which one way was never walked become plain jumps; what was never walked is removed, and jumps to what follows. */
export function removeDeadCode(draft: Draft, isSeen: (index: number) => boolean): void {
  draft.replace((insn, index) => {
    if (!isConditional(insn) || !isSeen(index)) return undefined;
    if (!isSeen(index + 1)) return [jump(insn.off)];
    return isSeen(index + 1 + insn.off) ? undefined : [jump(0)];
  });
  draft.replace((_, index) => (isSeen(index) ? undefined : []));
  const isRemoved = jumpsToNext(draft.insns);
  draft.replace((_, index) => (isRemoved[index] === 1 ? [] : undefined));
}

/** Every instruction that was never walked becomes a loop: should the verifier be wrong, the program stays there. */
export function trapDeadCode(draft: Draft, isSeen: (index: number) => boolean): void {
  draft.replace((_, index) => (isSeen(index) ? undefined : [jump(-1)]));
}

function isConditional({ opcode }: Insn): boolean {
  const kind = opcode & 7;
  const operation = opcode & 0xf0;
  if (kind === CLASS.JMP32) return operation !== 0x00;
  return kind === CLASS.JMP && operation !== 0x00 && operation !== 0x80 && operation !== 0x90;
}

const isSkippable = ({ opcode }: Insn): boolean => opcode === JA || opcode === MAY_GOTO;

/**
 * Jumps that lead to what follows them. Linux looks at each once, from the first, but again at the one before a may_goto that it
 * removed: so does this.
 */
function jumpsToNext(insns: readonly Insn[]): Uint8Array {
  const isRemoved = new Uint8Array(insns.length);
  /** Those before that are not removed, in order. */
  const kept: number[] = [];
  insns.forEach((insn, index) => {
    if (!isSkippable(insn) || insn.off !== 0) {
      kept.push(index);
      return;
    }
    isRemoved[index] = 1;
    for (let isMayGoto = insn.opcode === MAY_GOTO; isMayGoto && kept.length > 0;) {
      const before = kept.at(-1)!;
      const candidate = insns[before]!;
      const target = before + 1 + candidate.off;
      if (!isSkippable(candidate) || target <= before || target > index + 1) return;
      kept.pop();
      isRemoved[before] = 1;
      isMayGoto = candidate.opcode === MAY_GOTO;
    }
  });
  return isRemoved;
}
