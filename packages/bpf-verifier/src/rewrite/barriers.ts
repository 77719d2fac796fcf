/**
 * What Linux puts into programs of loaders that must not use mispredicted paths: barriers, masks of what is added to pointers, bounds
 * of the index of a tail call. Linux: convert_ctx_accesses(), do_misc_fixups(). Interface: `withBarriers`.
 *
 * None of it changes what a program computes.
 */
import { CALL, CLASS, NOSPEC, asm } from "@alien-ts/bpf-isa";
import type { Insn } from "@alien-ts/bpf-isa";
import type { InsnNotes } from "../analysis.ts";
import { HELPER } from "../call/callback-kinds.ts";
import type { Mask } from "../speculation/masks.ts";
import type { Draft } from "./draft.ts";

/** Linux: BPF_REG_AX, which programs cannot name. */
const SPARE = 11;
const TAIL_CALL_INDEX = 3;
const MODE_MEM = 0x60;
const CALL_OPCODE = 0x85;
const BARRIER: Insn = { opcode: NOSPEC, dst: 0, src: 0, off: 0, imm: 0 };

/** @param noteAt what was learnt of the instruction at an index of the draft. */
export function withBarriers(draft: Draft, noteAt: (index: number) => InsnNotes): void {
  draft.replace((insn, index) => {
    const { hasBarrierAfter, mask, ...notes } = noteAt(index);
    // Of several that stand for one, the first.
    const hasBarrierBefore = notes.hasBarrierBefore && draft.origin[index - 1] !== draft.origin[index];
    const body = masked(insn, mask) ?? bounded(insn, noteAt(index)) ?? [insn];
    const isAfter = hasBarrierAfter && isStore(insn);
    if (!hasBarrierBefore && !isAfter && body.length === 1) return undefined;
    return [...(hasBarrierBefore ? [BARRIER] : []), ...body, ...(isAfter ? [BARRIER] : [])];
  });
}

const isStore = ({ opcode }: Insn): boolean =>
  ((opcode & 7) === CLASS.ST || (opcode & 7) === CLASS.STX) && (opcode & 0xe0) === MODE_MEM;

const ADD = 0x0f;
const SUBTRACT = 0x1f;

/** The number is 0 where it is not between 0 and the limit; a negative one is turned, and what it is added to subtracts. */
function masked(insn: Insn, mask: Mask | undefined): readonly Insn[] | undefined {
  const { opcode, dst, src } = insn;
  if (mask === undefined || mask === "none" || (opcode !== ADD && opcode !== SUBTRACT)) return undefined;
  const { limit, isNegative, isConstant, isSourceMasked } = mask;
  const number = isSourceMasked ? src : dst;
  const turn = isNegative && !isConstant ? [asm.aluImm("mul", number, -1)] : [];
  const window = isConstant
    ? []
    : [
        asm.aluReg("sub", SPARE, number),
        asm.aluReg("or", SPARE, number),
        { ...asm.aluImm("add", SPARE, 0), opcode: 0x87 },
        asm.aluImm("arsh", SPARE, 63),
        asm.aluReg("and", SPARE, number),
      ];
  const operation = isNegative ? opcode ^ ADD ^ SUBTRACT : opcode;
  return [
    ...turn,
    asm.aluImm("mov", SPARE, limit | 0, 32),
    ...window,
    ...(isSourceMasked ? [] : [asm.movReg(dst, src)]),
    { ...insn, opcode: operation, src: SPARE },
    ...(isSourceMasked ? turn : []),
  ];
}

/** A tail call to behind the end of its map leads nowhere, and its index is cut to what the map could hold. */
function bounded(insn: Insn, { map, isIndexMasked }: InsnNotes): readonly Insn[] | undefined {
  const isTailCall = insn.opcode === CALL_OPCODE && insn.src === CALL.HELPER && insn.imm === HELPER.tail_call;
  if (!isTailCall || !isIndexMasked || map === undefined || map === null) return undefined;
  let size = 1;
  while (size < map.maxEntries) size *= 2;
  return [
    asm.jumpImm("jge", TAIL_CALL_INDEX, map.maxEntries, 2),
    asm.aluImm("and", TAIL_CALL_INDEX, size - 1, 32),
    insn,
  ];
}
