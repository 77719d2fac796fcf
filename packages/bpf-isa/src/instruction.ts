/**
 * One instruction slot (`struct bpf_insn`) and its eight bytes, little endian (RFC 9669 section 3).
 *
 * A program is an array of slots, so that an index is what jump offsets and Linux's messages count. A wide load is two
 * slots: the second has opcode 0 and carries the high word of the constant in `imm`. Decoding never judges: any eight
 * bytes are a slot, and `identify` (opcodes.ts) says whether it is an instruction.
 */
import { INSN_BYTES } from "./constants.ts";

export interface Insn {
  /** 0–255 */
  readonly opcode: number;
  /** 0–15; only 0–10 are registers. */
  readonly dst: number;
  /** 0–15; a register, or a pseudo source of a call or wide load. */
  readonly src: number;
  /** Signed 16 bits. */
  readonly off: number;
  /** Signed 32 bits. */
  readonly imm: number;
}

/** The slots in `bytes`, whose length is a multiple of 8. */
export function decode(bytes: Uint8Array): Insn[] {
  if (bytes.length % INSN_BYTES !== 0) {
    throw new RangeError(`program of ${bytes.length} bytes is not a multiple of ${INSN_BYTES}`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const insns: Insn[] = [];
  for (let at = 0; at < bytes.length; at += INSN_BYTES) insns.push(decodeSlot(view, at));
  return insns;
}

function decodeSlot(view: DataView, at: number): Insn {
  const registers = view.getUint8(at + 1);
  return {
    opcode: view.getUint8(at),
    dst: registers & 15,
    src: registers >> 4,
    off: view.getInt16(at + 2, true),
    imm: view.getInt32(at + 4, true),
  };
}

/** The bytes of a program; `decode(encode(x))` equals `x`. */
export function encode(insns: readonly Insn[]): Uint8Array {
  const bytes = new Uint8Array(insns.length * INSN_BYTES);
  const view = new DataView(bytes.buffer);
  insns.forEach((insn, index) => {
    const at = index * INSN_BYTES;
    view.setUint8(at, insn.opcode);
    view.setUint8(at + 1, (insn.dst & 15) | (insn.src << 4));
    view.setInt16(at + 2, insn.off, true);
    view.setInt32(at + 4, insn.imm, true);
  });
  return bytes;
}

/** The 64-bit constant of the wide load whose slots are `first` and `second`. */
export function wideConstant(first: Insn, second: Insn): bigint {
  return (BigInt(second.imm >>> 0) << 32n) | BigInt(first.imm >>> 0);
}
