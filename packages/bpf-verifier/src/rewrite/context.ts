/**
 * Accesses to the context become accesses to what lies in the kernel's memory, where that differs from the structure of the UAPI.
 * Linux: convert_ctx_accesses(). Interface: `convertContext`.
 *
 * A field's row says where it lies (`ContextRow.memory`). A load of a part of a field loads the whole field, shifts it and cuts it,
 * as Linux does for narrow loads.
 */
import { CLASS, SIZE, asm } from "@alien-ts/bpf-isa";
import type { Insn } from "@alien-ts/bpf-isa";
import type { ContextRow } from "../env.ts";
import type { Draft } from "./draft.ts";

const BYTES = [4, 2, 1, 8] as const;
const bytesOf = (opcode: number): 1 | 2 | 4 | 8 => BYTES[(opcode >> 3) & 3]!;
const SIZE_BITS = { 1: SIZE.B, 2: SIZE.H, 4: SIZE.W, 8: SIZE.DW } as const;

/** @param isContext whether the load or store at an index of the draft goes through the context. */
export function convertContext(
  draft: Draft,
  rows: readonly ContextRow[],
  isContext: (index: number) => boolean,
): void {
  if (rows.every(({ memory }) => memory === undefined)) return;
  draft.replace((insn, index) => (isContext(index) ? convert(insn, rows) : undefined));
}

function convert(insn: Insn, rows: readonly ContextRow[]): readonly Insn[] | undefined {
  const row = rows.find(({ from, to }) => insn.off >= from && insn.off < to);
  if (row?.memory === undefined) return undefined;
  const size = bytesOf(insn.opcode);
  const inField = (insn.off - row.from) % row.stride;
  const field = (insn.off - row.from - inField) / row.stride;
  const { offset, bytes } = row.memory;
  const off = offset + field * bytes;
  const whole: Insn = { ...insn, opcode: (insn.opcode & ~0x18) | SIZE_BITS[bytes], off };
  if ((insn.opcode & 7) !== CLASS.LDX || size >= row.stride) return [whole];
  return [whole, ...part(insn.dst, inField, size)];
}

/** Cuts `size` bytes at byte `at` out of a register. */
function part(register: number, at: number, size: number): Insn[] {
  const bits = 64 - 8 * size;
  const shift = at === 0 ? [] : [asm.aluImm("rsh", register, 8 * at)];
  return [...shift, asm.aluImm("lsh", register, bits), asm.aluImm("rsh", register, bits)];
}
