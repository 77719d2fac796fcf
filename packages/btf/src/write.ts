/**
 * Serialises types to a BTF blob; `BtfBuilder` hands out ids while types are added.
 *
 * `parseBtf(writeBtf(types))` gives the same types. Strings are stored once. The output is byte-stable: types in the order
 * given, strings in the order of first use.
 */
import { utf8Decode, utf8Encode } from "@alien-ts/abi";
import { BTF_HEADER_SIZE, BTF_MAGIC, BTF_VERSION } from "./header.ts";
import { BTF_KIND, LINKAGE } from "./types.ts";
import type { BtfType } from "./types.ts";

/** Adds types one by one; ids count from 1. */
export class BtfBuilder {
  readonly #types: BtfType[] = [];

  add(type: BtfType): number {
    return this.#types.push(type);
  }

  /** Replaces a type: for ids that must be known before what they stand for. */
  set(id: number, type: BtfType): void {
    this.#types[id - 1] = type;
  }

  build(littleEndian = true): Uint8Array {
    return writeBtf(this.#types, littleEndian);
  }
}

/**
 * @param types without `void`: the first has id 1.
 * @param base a string section that the new one starts with, so that offsets into it stay valid.
 */
export function writeBtf(types: readonly BtfType[], littleEndian = true, base?: Uint8Array): Uint8Array {
  const strings = new Strings(base ?? new Uint8Array(1));
  const words: number[] = [];
  for (const type of types) emit(type, words, strings);
  const text = strings.bytes();
  const out = new Uint8Array(BTF_HEADER_SIZE + words.length * 4 + text.length);
  const view = new DataView(out.buffer);
  view.setUint16(0, BTF_MAGIC, littleEndian);
  view.setUint8(2, BTF_VERSION);
  view.setUint32(4, BTF_HEADER_SIZE, littleEndian);
  view.setUint32(12, words.length * 4, littleEndian);
  view.setUint32(16, words.length * 4, littleEndian);
  view.setUint32(20, text.length, littleEndian);
  words.forEach((word, index) => view.setUint32(BTF_HEADER_SIZE + index * 4, word, littleEndian));
  out.set(text, BTF_HEADER_SIZE + words.length * 4);
  return out;
}

function emit(type: BtfType, words: number[], strings: Strings): void {
  const name = strings.add(type.name);
  const head = (vlen: number, flag: boolean, word: number): void => {
    const kind = type.kind === "void" ? 0 : BTF_KIND[type.kind];
    words.push(name, ((flag ? 0x8000_0000 : 0) | (kind << 24) | vlen) >>> 0, word);
  };
  switch (type.kind) {
    case "void":
      throw new Error("void has id 0 and is not written");
    case "int": {
      const encoding = (type.isSigned ? 1 : 0) | (type.isChar ? 2 : 0) | (type.isBool ? 4 : 0);
      head(0, false, type.size);
      words.push(((encoding << 24) | (type.offset << 16) | type.bits) >>> 0);
      return;
    }
    case "array":
      head(0, false, 0);
      words.push(type.element, type.index, type.count);
      return;
    case "struct":
    case "union": {
      const hasBitfields = type.members.some((member) => member.bitSize > 0);
      head(type.members.length, hasBitfields, type.size);
      for (const { name: member, type: of, bitOffset, bitSize } of type.members)
        words.push(strings.add(member), of, (hasBitfields ? (bitSize << 24) | bitOffset : bitOffset) >>> 0);
      return;
    }
    case "enum":
    case "enum64":
      head(type.values.length, type.isSigned, type.size);
      for (const { name: value, value: number } of type.values) {
        words.push(strings.add(value), Number(BigInt.asUintN(32, number)));
        if (type.kind === "enum64") words.push(Number(BigInt.asUintN(32, number >> 32n)));
      }
      return;
    case "fwd":
      return head(0, type.isUnion, 0);
    case "func":
      return head(LINKAGE.indexOf(type.linkage), false, type.type);
    case "func_proto":
      head(type.params.length, false, type.type);
      for (const param of type.params) words.push(strings.add(param.name), param.type);
      return;
    case "var":
      head(0, false, type.type);
      words.push(LINKAGE.indexOf(type.linkage));
      return;
    case "datasec":
      head(type.vars.length, false, type.size);
      for (const entry of type.vars) words.push(entry.type, entry.offset, entry.size);
      return;
    case "float":
      return head(0, false, type.size);
    case "decl_tag":
      head(0, false, type.type);
      words.push(type.component >>> 0);
      return;
    default:
      return head(0, false, type.type);
  }
}

class Strings {
  readonly #offsets = new Map<string, number>([["", 0]]);
  readonly #parts: Uint8Array[];
  #size: number;

  constructor(base: Uint8Array) {
    this.#parts = [base];
    this.#size = base.length;
    for (let at = 1; at < base.length; at = base.indexOf(0, at) + 1)
      this.#offsets.set(utf8Decode(base.subarray(at, base.indexOf(0, at))), at);
  }

  add(text: string): number {
    const known = this.#offsets.get(text);
    if (known !== undefined) return known;
    const at = this.#size;
    const bytes = utf8Encode(`${text}\0`);
    this.#offsets.set(text, at);
    this.#parts.push(bytes);
    this.#size += bytes.length;
    return at;
  }

  bytes(): Uint8Array {
    const out = new Uint8Array(this.#size);
    let at = 0;
    for (const part of this.#parts) {
      out.set(part, at);
      at += part.length;
    }
    return out;
  }
}
