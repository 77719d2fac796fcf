/** Arithmetic: fields, registers, then numbers or pointers. Linux: check_alu_op(), adjust_reg_min_max_vals(). */
import { EACCES, EINVAL } from "@alien-ts/abi";
import { ALU, CLASS, identify } from "@alien-ts/bpf-isa";
import type { AluOp, Bits, Insn } from "@alien-ts/bpf-isa";
import { tied, widthOf } from "../access/stack.ts";
import { ARENA_MAP } from "../analysis.ts";
import type { Analysis } from "../analysis.ts";
import { markPrecise } from "../prune/precision.ts";
import { signExtend32, signExtend64, zeroExtend } from "../scalar/extend.ts";
import { SCALAR_UNKNOWN, ScalarDraft, scalarOfWords } from "../scalar/scalar.ts";
import type { Scalar } from "../scalar/scalar.ts";
import { tnumSwapBytes } from "../scalar/tnum.ts";
import { applyAlu, applyNegate, unknownOf } from "../scalar/transfer.ts";
import { noteNumbers } from "../speculation/masks.ts";
import { UNKNOWN, scalarRegister, smallRegister } from "../state/register.ts";
import type { Register } from "../state/register.ts";
import { reject } from "../verdict.ts";
import type { Check } from "../verdict.ts";
import { addToPointer } from "./pointer-alu.ts";

const reserved = (what: string): Check => reject(EINVAL, `${what} uses reserved fields`);

export function checkAlu(analysis: Analysis, insn: Insn): Check {
  switch (insn.opcode & 0xf0) {
    case 0x80:
    case 0xd0:
      return checkUnary(analysis, insn);
    case 0xb0:
      return checkMove(analysis, insn);
    default:
      return checkBinary(analysis, insn);
  }
}

const bitsOf = (insn: Insn): Bits => ((insn.opcode & 7) === CLASS.ALU64 ? 64 : 32);

function checkUnary(analysis: Analysis, insn: Insn): Check {
  const { opcode, dst, src, off, imm } = insn;
  const isNegation = (opcode & 0xf0) === 0x80;
  if (isNegation) {
    if ((opcode & 8) !== 0 || src !== 0 || off !== 0 || imm !== 0) return reserved("BPF_NEG");
  } else {
    const isWidth = imm === 16 || imm === 32 || imm === 64;
    if (src !== 0 || off !== 0 || !isWidth || identify(insn) === undefined) return reserved("BPF_END");
  }
  const bad = analysis.read(dst);
  if (bad !== undefined) return bad;
  if (analysis.isLeak(dst)) return reject(EACCES, `R${dst} pointer arithmetic prohibited`);
  const unwritable = analysis.writable(dst);
  if (unwritable !== undefined) return unwritable;
  const before = analysis.register(dst);
  if (!before.isScalar) analysis.set(dst, UNKNOWN);
  else if (isNegation) analysis.set(dst, scalarRegister(applyNegate(bitsOf(insn), before.scalar)));
  else analysis.set(dst, swapBytes(before, insn));
  return undefined;
}

const TO_LITTLE_ENDIAN = 0xd4;

/** BPF_END on a little-endian machine: `le` shortens, `be` and `bswap` also turn the bytes. */
function swapBytes(before: Register, { opcode, imm }: Insn): Register {
  const bytes = imm / 8;
  const isTurned = opcode !== TO_LITTLE_ENDIAN;
  if (!isTurned && bytes === 8) return before;
  const draft = new ScalarDraft(isTurned ? SCALAR_UNKNOWN : before.scalar);
  if (isTurned) draft.setTnum(tnumSwapBytes(before.scalar.tnum, bytes));
  const scalar = zeroExtend(draft.sync().freeze(), bytes);
  return scalarRegister(scalar).with({ isPrecise: before.isPrecise });
}

function checkMove(analysis: Analysis, insn: Insn): Check {
  const { opcode, dst, src, off, imm } = insn;
  const isRegister = (opcode & 8) !== 0;
  const bits = bitsOf(insn);
  if (!isRegister) {
    if (src !== 0 || off !== 0) return reserved("BPF_MOV");
    const bad = analysis.writable(dst);
    if (bad !== undefined) return bad;
    analysis.set(dst, bits === 64 || imm >= 0 ? smallRegister(imm) : scalarRegister(scalarOfWords(0, imm)));
    return undefined;
  }
  if (bits === 64 && off === ADDRESS_SPACE_CAST) return checkCast(analysis, insn);
  const isExtension = off === 8 || off === 16 || (off === 32 && bits === 64);
  if (imm !== 0 || (off !== 0 && !isExtension)) return reserved("BPF_MOV");
  const bad = analysis.read(src) ?? analysis.writable(dst);
  if (bad !== undefined) return bad;
  return bits === 64 ? moveWhole(analysis, insn) : moveLow(analysis, insn);
}

/** BPF_ADDR_SPACE_CAST */
const ADDRESS_SPACE_CAST = 1;

/** Between addresses of the arena as its user sees them and as the kernel does. */
function checkCast(analysis: Analysis, { dst, src, imm }: Insn): Check {
  if (imm !== 1 && imm !== 1 << 16)
    return reject(EINVAL, "addr_space_cast insn can only convert between address space 1 and 0");
  const arena = [...analysis.maps.values()].find(({ type }) => type === ARENA_MAP);
  if (arena === undefined) {
    return reject(EINVAL, "addr_space_cast insn can only be used in a program that has an associated arena");
  }
  const bad = analysis.read(src) ?? analysis.writable(dst);
  if (bad !== undefined) return bad;
  analysis.set(dst, imm === 1 ? UNKNOWN.with({ kind: "arena" }) : UNKNOWN);
  return undefined;
}

function moveWhole(analysis: Analysis, { dst, src, off }: Insn): Check {
  if (off === 0) {
    const copy = tied(analysis, analysis.register(src));
    analysis.set(src, copy);
    analysis.set(dst, copy);
    return undefined;
  }
  if (analysis.isLeak(src)) return reject(EACCES, `R${src} sign-extension part of pointer`);
  const source = analysis.register(src);
  if (!source.isScalar) {
    analysis.setUnknown(dst);
    return undefined;
  }
  const keeps = source.scalar.umax < 1n << BigInt(off - 1);
  const copy = keeps ? tied(analysis, source) : source;
  if (keeps) analysis.set(src, copy);
  const scalar = signExtend64(copy.scalar, off / 8);
  analysis.set(dst, copy.with(keeps ? { scalar } : { scalar, id: 0, hasDelta: false }));
  return undefined;
}

function moveLow(analysis: Analysis, { dst, src, off }: Insn): Check {
  if (analysis.isLeak(src)) return reject(EACCES, `R${src} partial copy of pointer`);
  const source = analysis.register(src);
  if (!source.isScalar) {
    analysis.set(dst, scalarRegister(unknownOf(32)));
    return undefined;
  }
  const keeps = off === 0 ? widthOf(source) <= 32 : source.scalar.umax < 1n << BigInt(off - 1);
  const copy = keeps ? tied(analysis, source) : source;
  if (keeps) analysis.set(src, copy);
  const draft = off === 0 ? new ScalarDraft(copy.scalar) : signExtend32(copy.scalar, off / 8);
  draft.zeroExtend32();
  const scalar = draft.sync().freeze();
  analysis.set(dst, copy.with(keeps ? { scalar } : { scalar, id: 0, hasDelta: false }));
  return undefined;
}

const OPERATIONS: readonly (AluOp | undefined)[] = (() => {
  const byCode: (AluOp | undefined)[] = [];
  for (const name of Object.keys(ALU) as AluOp[]) if (ALU[name].off === 0) byCode[ALU[name].code] = name;
  return byCode;
})();

function checkBinary(analysis: Analysis, insn: Insn): Check {
  const { opcode, dst, src, off, imm } = insn;
  const code = opcode & 0xf0;
  const isDivision = code === 0x30 || code === 0x90;
  const isRegister = (opcode & 8) !== 0;
  const isOffset = off === 0 || (off === 1 && isDivision);
  if ((isRegister ? imm !== 0 : src !== 0) || !isOffset) return reserved("BPF_ALU");
  const bad = (isRegister ? analysis.read(src) : undefined) ?? analysis.read(dst);
  if (bad !== undefined) return bad;
  const bits = bitsOf(insn);
  if (!isRegister && isDivision && imm === 0) return reject(EINVAL, "div by zero");
  const isShift = code === 0x60 || code === 0x70 || code === 0xc0;
  if (!isRegister && isShift && (imm < 0 || imm >= bits)) return reject(EINVAL, `invalid shift ${imm}`);
  const unwritable = analysis.writable(dst);
  if (unwritable !== undefined) return unwritable;
  return combine(analysis, insn, OPERATIONS[code]!, bits);
}

/** Linux: adjust_reg_min_max_vals() */
function combine(analysis: Analysis, insn: Insn, op: AluOp, bits: Bits): Check {
  const { dst, src, imm } = insn;
  const isRegister = (insn.opcode & 8) !== 0;
  const left = analysis.register(dst);
  const right = isRegister ? analysis.register(src) : smallRegister(imm);
  if (left.kind === "arena" || right.kind === "arena") {
    analysis.set(dst, left.kind === "arena" ? left : right);
    return undefined;
  }
  if (left.isPointer && right.isPointer) {
    if (op === "sub" && analysis.env.privileges.mayLeakPointers) {
      analysis.setUnknown(dst);
      return undefined;
    }
    return reject(EACCES, `R${dst} pointer ${ALU[op].symbol} pointer prohibited`);
  }
  if (right.isPointer) {
    const bad = markPrecise(analysis, dst);
    return (
      bad ??
      addToPointer(analysis, {
        dst,
        op,
        bits,
        src,
        base: right,
        offset: analysis.register(dst),
        isSwapped: true,
      })
    );
  }
  if (left.isPointer) {
    const bad = isRegister ? markPrecise(analysis, src) : undefined;
    const offset = isRegister ? analysis.register(src) : right;
    const second = isRegister ? src : undefined;
    return (
      bad ?? addToPointer(analysis, { dst, op, bits, src: second, base: left, offset, isSwapped: false })
    );
  }
  if (left.isPrecise && isRegister) markPrecise(analysis, src);
  if (op === "add" || op === "sub") {
    const bad = noteNumbers(analysis, op, dst, isRegister ? src : undefined);
    if (bad !== undefined) return bad;
  }
  analysis.set(dst, combineScalars(analysis, insn, op, bits, left, right.scalar));
  return undefined;
}

/** An addition of a constant keeps the tie to the register that was copied. */
function combineScalars(
  analysis: Analysis,
  insn: Insn,
  op: AluOp,
  bits: Bits,
  left: Register,
  right: Scalar,
): Register {
  const scalar = insn.off === 1 ? SCALAR_UNKNOWN : applyAlu(op, bits, left.scalar, right);
  const isPrecise = left.isPrecise;
  const isTied =
    (op === "add" || op === "sub") &&
    left.id !== 0 &&
    (bits === 64 ? right.isConst && right.valueHigh === right.valueLow >> 31 : right.isConst32) &&
    (bits === 64 || left.scalar.umaxHigh === 0) &&
    !((insn.opcode & 8) !== 0 && insn.src === insn.dst);
  const distance = op === "sub" ? 0 - right.valueLow : right.valueLow;
  if (!analysis.env.privileges.isCapable || !isTied || left.hasDelta || distance !== (distance | 0))
    return scalarRegister(scalar).withPrecision(isPrecise);
  return left.with({ scalar, hasDelta: true, off: distance, deltaBits: bits });
}
