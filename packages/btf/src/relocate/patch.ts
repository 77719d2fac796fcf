/**
 * Edits an instruction for a relocation: the one place where CO-RE changes code.
 *
 * Authority: libbpf `bpf_core_patch_insn`.
 */
import { CLASS, SIZE, SOURCE } from "@alien-ts/bpf-isa";
import type { Insn } from "@alien-ts/bpf-isa";
import { CoreError } from "./error.ts";
import type { FieldAccess, Value } from "./value.ts";

/** A call of a helper that does not exist: harmless in dead code, and in live code the verifier says so (Linux, 0xbad2310). */
export const POISON_HELPER = 195_896_080;

const OP_CALL = 0x85;
const OP_LD_IMM64 = 0x18;

const poison: Insn = { opcode: OP_CALL, dst: 0, src: 0, off: 0, imm: POISON_HELPER };

/** The slots that replace `first` and, where it is a wide load, `second`. */
export type Patched = readonly [Insn] | readonly [Insn, Insn];

/** What an instruction becomes that needs something that the target has not. */
export const poisoned = (first: Insn): Patched =>
  first.opcode === OP_LD_IMM64 ? [poison, poison] : [poison];

/** @param was the value in the program's own BTF, which the instruction holds */
export function patchInsn(
  first: Insn,
  second: Insn | undefined,
  was: Value,
  now: Value,
): Patched | CoreError {
  switch (first.opcode & 7) {
    case CLASS.ALU:
    case CLASS.ALU64:
      if ((first.opcode & SOURCE.X) !== 0) return mismatch(first, "an immediate operand");
      if (was.isExact && BigInt.asUintN(64, BigInt(first.imm)) !== was.value)
        return mismatch(first, `immediate ${was.value}`);
      return [{ ...first, imm: Number(BigInt.asIntN(32, now.value)) }];
    case CLASS.LDX:
    case CLASS.ST:
    case CLASS.STX:
      return patchMemory(first, was, now);
    case CLASS.LD:
      return patchWide(first, second, was, now);
    default:
      return mismatch(first, "an arithmetic, memory or wide-load instruction");
  }
}

const mismatch = (insn: Insn, expected: string): CoreError =>
  new CoreError(
    `relocation expected ${expected}, found opcode 0x${insn.opcode.toString(16)} off ${insn.off} imm ${insn.imm}`,
  );

function patchWide(first: Insn, second: Insn | undefined, was: Value, now: Value): Patched | CoreError {
  if (
    first.opcode !== OP_LD_IMM64 ||
    first.src !== 0 ||
    first.off !== 0 ||
    second === undefined ||
    second.opcode !== 0
  )
    return mismatch(first, "a wide load");
  const held = (BigInt(second.imm >>> 0) << 32n) | BigInt(first.imm >>> 0);
  if (was.isExact && held !== was.value) return mismatch(first, `constant ${was.value}`);
  return [
    { ...first, imm: Number(BigInt.asIntN(32, now.value)) },
    { ...second, imm: Number(BigInt.asIntN(32, now.value >> 32n)) },
  ];
}

function patchMemory(insn: Insn, was: Value, now: Value): Patched | CoreError {
  if (was.isExact && BigInt(insn.off) !== was.value) return mismatch(insn, `offset ${was.value}`);
  if (now.value > 0x7fffn) return new CoreError(`offset ${now.value} does not fit an instruction`);
  const moved = { ...insn, off: Number(now.value) };
  if (was.field === undefined || now.field === undefined || was.field.size === now.field.size) return [moved];
  if (!mayResize(was.field, now.field)) return poisoned(insn);
  const bytes = BYTES_OF.get(insn.opcode & SIZE.DW);
  const size = SIZE_OF.get(now.field.size);
  if (bytes !== was.field.size) return mismatch(insn, `an access of ${was.field.size} bytes`);
  if (size === undefined)
    return new CoreError(`field of ${now.field.size} bytes cannot be accessed by an instruction`);
  return [{ ...moved, opcode: (insn.opcode & ~SIZE.DW) | size }];
}

/** Pointers have 8 bytes in BPF whatever the kernel has; unsigned integers are zero-extended by every load. */
function mayResize(was: FieldAccess, now: FieldAccess): boolean {
  if (was.type.kind === "ptr") return now.type.kind === "ptr";
  return was.type.kind === "int" && now.type.kind === "int" && !was.type.isSigned && !now.type.isSigned;
}

const SIZE_OF: ReadonlyMap<number, number> = new Map([
  [1, SIZE.B],
  [2, SIZE.H],
  [4, SIZE.W],
  [8, SIZE.DW],
]);
const BYTES_OF: ReadonlyMap<number, number> = new Map(Array.from(SIZE_OF, ([bytes, size]) => [size, bytes]));
