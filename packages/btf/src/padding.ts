/**
 * The members of a structure as C that lays them out where they lie: `StructBodies`. Gaps that a compiler would not leave are unnamed
 * bit fields; members that lie closer than it would put them make the structure packed.
 */
import { type Btf, BTF_POINTER_SIZE } from "./btf.ts";
import type { BtfComposite } from "./types.ts";

/** C of a member's type with its name, whose own members are indented by `indent` tabs. */
export type DeclareMember = (type: number, name: string, indent: number) => string;

/** What may fill a gap, largest first. */
const PADS = [
  { name: "long", bits: 64 },
  { name: "int", bits: 32 },
  { name: "short", bits: 16 },
  { name: "char", bits: 8 },
] as const;

export class StructBodies {
  readonly #btf: Btf;
  readonly #aligns: Alignments;
  /** Lines of padding that may still be written: a malformed blob may tell of gaps of gigabytes. */
  #padsLeft = MAX_PADS;

  constructor(btf: Btf) {
    this.#btf = btf;
    this.#aligns = new Alignments(btf);
  }

  /** From the opening brace to the closing one, with its attribute. */
  write(type: BtfComposite, indent: number, declare: DeclareMember): string {
    const isStruct = type.kind === "struct";
    const isPacked = isStruct && this.#aligns.isPacked(type);
    const tabs = "\n" + "\t".repeat(indent + 1);
    let text = "{";
    let end = 0;
    let wasBitField = false;
    for (const { name, type: member, bitOffset, bitSize } of type.members) {
      const align = isPacked ? 1 : this.#aligns.of(member);
      const isBitField = wasBitField && bitSize !== 0;
      if (isStruct) text += this.#pad({ from: end, to: bitOffset, align, isBitField }, tabs);
      text += `${tabs}${declare(member, name, indent + 1)}${bitSize === 0 ? "" : `: ${bitSize}`};`;
      end = bitOffset + (bitSize === 0 ? 8 * (this.#btf.sizeOf(member) ?? 0) : bitSize);
      wasBitField = bitSize !== 0;
    }
    const align = isPacked ? 1 : this.#aligns.ofComposite(type);
    if (isStruct) text += this.#pad({ from: end, to: 8 * type.size, align, isBitField: false }, tabs);
    const isEmpty = type.members.length === 0 && type.size === 0;
    return `${text}${isEmpty ? "" : "\n" + "\t".repeat(indent)}}${isPacked ? " __attribute__((packed))" : ""}`;
  }

  #pad(gap: Gap, tabs: string): string {
    this.#padsLeft -= Math.max(0, gap.to - gap.from) / PADS[0].bits;
    return this.#padsLeft < 0 ? "" : padding(gap, tabs);
  }
}

const MAX_PADS = 1_000_000;

interface Gap {
  readonly from: number;
  readonly to: number;
  /** Bytes to which what follows is aligned. */
  readonly align: number;
  /** Both neighbours are bit fields. */
  readonly isBitField: boolean;
}

const roundUp = (value: number, to: number): number => Math.ceil(value / to) * to;

function padding({ from, to, align, isBitField }: Gap, tabs: string): string {
  if (from >= to) return "";
  // The largest type whose next boundary lies in the gap: a compiler goes there by itself where it has to.
  const pad = PADS.find(({ bits }) => roundUp(from, bits) <= to) ?? PADS.at(-1)!;
  const boundary = roundUp(from, pad.bits);
  let text = "";
  let at = from;
  if (boundary > from && boundary <= to) {
    const mustSay =
      isBitField ||
      (boundary === to ? roundUp(from, align * 8) !== boundary : to - boundary <= boundary - from);
    if (mustSay) text += `${tabs}${pad.name}: ${isBitField ? boundary - from : 0};`;
    at = boundary;
  }
  for (; to - at >= pad.bits; at += pad.bits) text += `${tabs}${pad.name}: ${pad.bits};`;
  if (at === to) return text;
  const rest = PADS.findLast(({ bits }) => bits >= to - at) ?? pad;
  return `${text}${tabs}${rest.name}: ${to - at};`;
}

/** Bytes to which C aligns types. A structure that is part of itself counts as unaligned. */
class Alignments {
  readonly #btf: Btf;
  readonly #known = new Map<number, number>();
  #depth = 0;

  constructor(btf: Btf) {
    this.#btf = btf;
  }

  of(id: number): number {
    const at = this.#btf.resolve(id);
    const known = this.#known.get(at);
    if (known !== undefined) return known;
    this.#known.set(at, 1);
    const align = this.#find(at);
    this.#known.set(at, align);
    return align;
  }

  #find(id: number): number {
    const type = this.#btf.type(id);
    switch (type?.kind) {
      case "int":
      case "enum":
      case "enum64":
      case "float":
        return Math.min(BTF_POINTER_SIZE, type.size);
      case "ptr":
        return BTF_POINTER_SIZE;
      case "array":
      case "struct":
      case "union": {
        if (this.#depth > MAX_DEPTH) return 1;
        this.#depth += 1;
        const align = type.kind === "array" ? this.of(type.element) : this.ofComposite(type);
        this.#depth -= 1;
        return align;
      }
      default:
        return 1;
    }
  }

  /** As strictly as its members ask for, unless it is packed. */
  ofComposite(type: BtfComposite): number {
    return this.isPacked(type) ? 1 : this.#most(type);
  }

  isPacked(type: BtfComposite): boolean {
    const isClose = type.members.some(
      ({ type: member, bitOffset, bitSize }) => bitSize === 0 && bitOffset % (8 * this.of(member)) !== 0,
    );
    return isClose || type.size % this.#most(type) !== 0;
  }

  #most({ members }: BtfComposite): number {
    return members.reduce((most, { type }) => Math.max(most, this.of(type)), 1);
  }
}

/** Structures in each other, arrays of arrays: more than any program has. */
const MAX_DEPTH = 500;
