/**
 * Instructions as mnemonics, as ubpf and the bpf_conformance suite write them: `mov32 r0, 1`, `ldxdw r0, [r1+8]`, `jeq r1, 5, done`.
 *
 * Operations without a width are 64 bits wide. Interface: `MNEMONICS`, further forms for `assemble`. The names come from the
 * rows of `operations.ts`, with the suite's spelling of sign extensions (`movsx832`), swaps (`swap32`) and atomics
 * (`lock fetch_add32 [r1+0], r2`).
 */
import { asm } from "./build.ts";
import type { Insn } from "./instruction.ts";
import type { AccessBytes } from "./opcodes.ts";
import { ALU, ATOMIC, JUMP } from "./operations.ts";
import type { AluOp, AtomicOp, Bits, JumpOp } from "./operations.ts";

/** Slots between the next instruction and a target, undefined where there is no such label. */
export type Distance = (target: string) => number | undefined;

/** A kind of line, and the instruction that its groups make; undefined where they make none. */
export interface Form {
  readonly pattern: RegExp;
  readonly make: (groups: readonly string[], distance: Distance) => Insn | readonly Insn[] | undefined;
}

const REGISTER = "%?r(10|[0-9])";
export const NUMBER = "([+-]?(?:0x[0-9a-fA-F]+|[0-9]+))";
const OPERAND = `(?:${REGISTER}|${NUMBER})`;
const PLACE = String.raw`\[ ?${REGISTER} ?([+-] ?(?:0x[0-9a-fA-F]+|[0-9]+))? ?\]`;
export const TARGET = String.raw`([\w.$+-]+)`;
const SIZES: Readonly<Record<string, AccessBytes>> = { b: 1, h: 2, w: 4, dw: 8 };

const sizeOf = (suffix: string | undefined): AccessBytes => SIZES[suffix!]!;
const names = (table: object): string => Object.keys(table).join("|");
const bitsOf = (text: string | undefined): Bits => (text === "32" ? 32 : 64);
const offsetOf = (text: string | undefined): number => Number(toBig((text ?? "0").replaceAll(" ", "")));
const n = Number;

/** `0xffffffff` and `-1` are the same immediate; what 32 bits cannot hold is left as it is, for `assemble` to refuse. */
export function toImm(text: string): number {
  return Number(fits(text, 32) ? BigInt.asIntN(32, toBig(text)) : toBig(text));
}

export function wideForm(dst: number, value: string): readonly Insn[] | undefined {
  return fits(value, 64) ? asm.wide64(dst, toBig(value)) : undefined;
}

/** Whether `bits` hold the number, as a signed or an unsigned one. */
export function fits(text: string, bits: number): boolean {
  const value = toBig(text);
  return value >= -(1n << BigInt(bits - 1)) && value < 1n << BigInt(bits);
}

function toBig(text: string): bigint {
  return text.startsWith("-") ? -BigInt(text.slice(1)) : BigInt(text.replace("+", ""));
}

function form(source: string, make: Form["make"]): Form {
  const pattern = source.replaceAll(/(_?) /gu, (_, isNeeded: string) => (isNeeded === "" ? " *" : " +"));
  return { pattern: new RegExp(`^${pattern}$`, "u"), make };
}

/** A blank that must be there is written `_ ` in a pattern. */
export const MNEMONICS: readonly Form[] = [
  form(`(${names(ALU)})(32|64)?_ ${REGISTER} , ${OPERAND}`, ([op, bits, dst, src, imm]) =>
    src === undefined
      ? asm.aluImm(op as AluOp, n(dst), toImm(imm!), bitsOf(bits))
      : asm.aluReg(op as AluOp, n(dst), n(src), bitsOf(bits)),
  ),
  form(`neg(32|64)?_ ${REGISTER}`, ([bits, dst]) => asm.neg(n(dst), bitsOf(bits))),
  form(`movsx(8|16|32)(32|64)_ ${REGISTER} , ${REGISTER}`, ([from, bits, dst, src]) =>
    from === "32" && bits === "32" ? undefined : asm.movsx(n(from) as 8, n(dst), n(src), bitsOf(bits)),
  ),
  form(`(le|be|swap|bswap)(16|32|64)_ ${REGISTER}`, ([order, width, dst]) =>
    asm[order === "swap" ? "bswap" : (order as "le" | "be" | "bswap")](n(width) as 16, n(dst)),
  ),
  form(`(${names(JUMP)})(32|64)?_ ${REGISTER} , ${OPERAND} , ${TARGET}`, jumpForm),
  form(`ja(32)?_ ${TARGET}`, ([wide, target], distance) => {
    const off = distance(target!);
    if (off === undefined) return undefined;
    return wide === undefined ? asm.goto(off) : asm.gotol(off);
  }),
  form(`lddw_ ${REGISTER} , ${NUMBER}`, ([dst, value]) => wideForm(n(dst), value!)),
  form(`ldx(s)?(b|h|w|dw)_ ${REGISTER} , ${PLACE}`, ([isSigned, size, dst, src, off]) => {
    const bytes = sizeOf(size);
    if (isSigned === undefined) return asm.load(bytes, n(dst), n(src), offsetOf(off));
    return bytes === 8 ? undefined : asm.loadSigned(bytes, n(dst), n(src), offsetOf(off));
  }),
  form(`st(b|h|w|dw)_ ${PLACE} , ${NUMBER}`, ([size, dst, off, imm]) =>
    asm.storeImm(sizeOf(size), n(dst), offsetOf(off), toImm(imm!)),
  ),
  form(`stx(b|h|w|dw)_ ${PLACE} , ${REGISTER}`, ([size, dst, off, src]) =>
    asm.storeReg(sizeOf(size), n(dst), offsetOf(off), n(src)),
  ),
  form(`lock_ (${names(ATOMIC)})(32|64)?_ ${PLACE} , ${REGISTER}`, ([op, bits, dst, off, src]) =>
    asm.atomic(op as AtomicOp, bits === "32" ? 4 : 8, n(dst), offsetOf(off), n(src)),
  ),
  form(`ldabs(b|h|w)_ ${NUMBER}`, ([size, imm]) => asm.packetAbs(sizeOf(size) as 1, toImm(imm!))),
  form(`ldind(b|h|w)_ ${REGISTER} , ${NUMBER}`, ([size, src, imm]) =>
    asm.packetInd(sizeOf(size) as 1, n(src), toImm(imm!)),
  ),
  form(`call_ local_ ${TARGET}`, ([target], distance) => {
    const delta = distance(target!);
    return delta === undefined ? undefined : asm.callLocal(delta);
  }),
  form(`callx_ ${REGISTER}`, ([dst]) => asm.callRegister(n(dst))),
];

function jumpForm(groups: readonly (string | undefined)[], distance: Distance): Insn | undefined {
  const [op, bits, dst, src, imm, target] = groups;
  const off = distance(target!);
  if (off === undefined) return undefined;
  return src === undefined
    ? asm.jumpImm(op as JumpOp, n(dst), toImm(imm!), off, bitsOf(bits))
    : asm.jumpReg(op as JumpOp, n(dst), n(src), off, bitsOf(bits));
}
