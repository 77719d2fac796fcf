/**
 * State lines letter for letter as Linux 6.18 prints them: registers, spilled slots, references.
 *
 * Answers to print_verifier_state() in kernel/bpf/log.c. Pure: text in, text out; which registers are shown is the caller's choice.
 */
import { FLAG, kindName } from "./state/register.ts";
import type { Register } from "./state/register.ts";
import type { Bounds } from "./scalar/scalar.ts";
import { S32_MAX, S32_MIN, S64_MAX, S64_MIN, U32_MAX, U64_MAX } from "./scalar/scalar.ts";
import type { Tnum } from "./scalar/tnum.ts";
import type { Frame, State } from "./state/state.ts";

/** Which registers and slots of a frame to print; undefined for all. */
export interface Touched {
  readonly registers: number;
  readonly slots: ReadonlySet<number>;
}

const hex = (value: bigint): string => `0x${BigInt.asUintN(64, value).toString(16)}`;

/** Decimal where it has at most 16 bits. */
export const unsignedText = (value: bigint): string => (value <= 0xffffn ? value.toString() : hex(value));
export const signedText = (value: bigint): string =>
  value >= -0x8000n && value <= 0x7fffn ? value.toString() : hex(value);

export function tnumText({ value, mask }: Tnum): string {
  return mask === 0n ? unsignedText(value) : `(${hex(value)}; ${hex(mask)})`;
}

/** The whole state line of a frame, without line feed: " R1=ctx() R10=fp0". */
export function stateText(state: State, frame: Frame, touched: Touched | undefined): string {
  let text = frame.index === 0 ? "" : ` frame${frame.index}:`;
  const { registers } = frame;
  for (let number = 0; number < registers.length; number++) {
    const register = registers[number]!;
    if (register.kind === "?") continue;
    if (touched !== undefined && (touched.registers & (1 << number)) === 0) continue;
    text += ` R${number}=${registerText(register, frame, state.areNumbersPrecise)}`;
  }
  if (touched === undefined || touched.slots.size > 0) text += slotsText(state, frame, touched);
  if (state.references.length > 0 && state.references[0]!.id !== 0) {
    const ids = state.references.map(({ id }) => id).filter((id) => id !== 0);
    text += ` refs=${ids.join(",")}`;
  }
  if (frame.isCallback) text += " cb";
  if (frame.isAsyncCallback) text += " async_cb";
  return text;
}

function slotsText(state: State, frame: Frame, touched: Touched | undefined): string {
  let text = "";
  for (let i = 0; i < frame.stack.length; i++) {
    if (touched !== undefined && !touched.slots.has(i)) continue;
    const { types, spilled } = frame.stack[i]!;
    if (types === "????????") continue;
    const offset = (slot: number): number => -8 * (slot + 1);
    switch (types[7]) {
      case "r":
        text += ` fp${offset(i)}=${types.slice(0, types.indexOf("r"))}${registerText(spilled, frame, state.areNumbersPrecise)}`;
        break;
      case "d": {
        i += 1;
        const main = frame.stack[i]!.spilled;
        const parts = [];
        if (main.id !== 0) parts.push(`id=${main.id}`);
        if (main.refId !== 0) parts.push(`ref_id=${main.refId}`);
        // Linux prints the mark of the first slot, which shares its place with an id.
        parts.push("dynptr_id=1");
        text += ` fp${offset(i)}=dynptr_${main.dynptr}(${parts.join(",")})`;
        break;
      }
      case "i": {
        const { iterator, refId } = spilled;
        if (refId === 0 || iterator === undefined) continue;
        text += ` fp${offset(i)}=iter_${iterator.name}(ref_id=${refId},state=${iterator.state},depth=${iterator.depth})`;
        break;
      }
      default:
        text += ` fp${offset(i)}=${types}`;
    }
  }
  return text;
}

/** @param isAlwaysPrecise every number counts, marked or not. */
export function registerText(register: Register, frame: Frame, isAlwaysPrecise = false): string {
  const { kind, scalar } = register;
  const precise = kind === "scalar" && (register.isPrecise || isAlwaysPrecise) ? "P" : "";
  if (kind === "scalar" && scalar.isConst) return precise + signedText(scalar.constant);
  const name = precise + kindName(register);
  if (kind === "arena") return name;
  if (kind === "fp") {
    const where = frame.index === register.frame ? name : `${name}[${register.frame}]`;
    if (scalar.isConst) return where + signedText(scalar.constant + BigInt(register.off));
    return `${where}(${attributes(register)})`;
  }
  const type = kind === "ptr_" ? (register.btf?.type(register.btfId)?.name ?? "") : "";
  return `${name}${type}(${attributes(register)})`;
}

function attributes(register: Register): string {
  const { kind, scalar, map } = register;
  const parts: string[] = [];
  if (register.id !== 0) {
    const delta = register.hasDelta ? `${register.off < 0 ? "" : "+"}${register.off}` : "";
    parts.push(`id=${register.id}${delta}`);
  }
  if (register.refId !== 0) parts.push(`ref_obj_id=${register.refId}`);
  if (register.has(FLAG.NON_OWN_REF)) parts.push("non_own_ref");
  if (map !== undefined && (kind === "map_ptr" || kind === "map_key" || kind === "map_value")) {
    if (map.name !== "") parts.push(`map=${map.name}`);
    parts.push(`ks=${map.keySize},vs=${map.valueSize}`);
  }
  if (kind !== "scalar" && register.off !== 0) parts.push(`off=${signedText(BigInt(register.off))}`);
  if (register.isPacket) parts.push(`r=${unsignedText(BigInt.asUintN(64, BigInt(register.range)))}`);
  if (kind === "mem") parts.push(`sz=${unsignedText(BigInt(register.memSize))}`);
  if (kind === "dynptr_ptr") parts.push(`type=${register.dynptr}`);
  if (scalar.isConst) {
    if (scalar.tnum.value !== 0n) parts.push(`imm=${signedText(scalar.constant)}`);
  } else {
    parts.push(...ranges(scalar));
    if (scalar.tnum.mask !== U64_MAX) parts.push(`var_off=${tnumText(scalar.tnum)}`);
  }
  return parts.join(",");
}

interface Range {
  readonly name: string;
  readonly value: bigint;
  isOmitted: boolean;
}

/** Bounds that say something; equal ones share a value: "smin=smin32=0". */
function ranges(scalar: Bounds): string[] {
  const narrow = (value: number): bigint =>
    value >= -0x8000 && value <= 0x7fff ? BigInt(value) : BigInt(value >>> 0);
  const all: Range[] = [
    { name: "smin", value: scalar.smin, isOmitted: scalar.smin === S64_MIN },
    { name: "smax", value: scalar.smax, isOmitted: scalar.smax === S64_MAX },
    { name: "umin", value: scalar.umin, isOmitted: scalar.umin === 0n },
    { name: "umax", value: scalar.umax, isOmitted: scalar.umax === U64_MAX },
    { name: "smin32", value: narrow(scalar.s32min), isOmitted: scalar.s32min === S32_MIN },
    { name: "smax32", value: narrow(scalar.s32max), isOmitted: scalar.s32max === S32_MAX },
    { name: "umin32", value: BigInt(scalar.u32min), isOmitted: scalar.u32min === 0 },
    { name: "umax32", value: BigInt(scalar.u32max), isOmitted: scalar.u32max === U32_MAX },
  ];
  const parts: string[] = [];
  for (let i = 0; i < all.length; i++) {
    const first = all[i]!;
    if (first.isOmitted) continue;
    let names = `${first.name}=`;
    for (let j = i + 2; j < all.length; j += 2) {
      const other = all[j]!;
      if (other.isOmitted || BigInt.asUintN(64, other.value) !== BigInt.asUintN(64, first.value)) continue;
      if (isNegative(first) !== isNegative(other)) continue;
      other.isOmitted = true;
      names += `${other.name}=`;
    }
    const isSigned = first.name.startsWith("s");
    parts.push(names + (isSigned ? signedText(BigInt.asIntN(64, first.value)) : unsignedText(first.value)));
  }
  return parts;
}

const isNegative = ({ name, value }: Range): boolean => name.startsWith("s") && BigInt.asIntN(64, value) < 0n;

const ALIGNMENT = 40;
const MIN_ALIGNMENT = 8;
/** Blanks between an instruction and the state behind it. Linux: bpf_vlog_alignment() */
export function padding(printed: number): string {
  // Linux counts the line feed that the state then replaces.
  const end = printed + 1;
  const column = Math.ceil(Math.max(end + MIN_ALIGNMENT / 2, ALIGNMENT) / MIN_ALIGNMENT) * MIN_ALIGNMENT;
  return " ".repeat(Math.max(column - end - 1, 0));
}
