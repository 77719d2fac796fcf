/**
 * The host call of riscv64 kernel text: the instruction that asks for the TypeScript body of a kernel function.
 *
 * It uses the opcode `custom-0`, which the ISA leaves to implementations (RISC-V Unprivileged ISA, table "RISC-V base opcode
 * map"), with a 20-bit index in bits 31..12 as in a U-type instruction and zero in the rd field. The assembler, the decoder
 * and the probe library share this page, so that the format is written once.
 */

const CUSTOM_0 = 0x0b;

/** Host call indices are below this. */
export const HOST_CALL_INDICES = 1 << 20;

export const encodeHostCall = (index: number): number => ((index << 12) | CUSTOM_0) >>> 0;

/** The index in `word`, or -1 if it is not a host call. */
export const hostCallIndex = (word: number): number => ((word & 0xfff) === CUSTOM_0 ? word >>> 12 : -1);
