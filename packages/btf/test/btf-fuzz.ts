/**
 * The random suite of BTF: types that were written come back type by type and print as C, and damaged blobs give values or a
 * `BtfError`, never a throw; what BTF_LOAD accepts can be read.
 */
import { type Prng, type Reach, subjectSuite } from "@alien-ts/testkit";
import type { BtfType } from "../src/index.ts";
import {
  type Btf,
  BtfError,
  checkBtf,
  formatDefinition,
  formatHeader,
  formatRaw,
  formatType,
  parseBtf,
  parseBtfExt,
  writeBtf,
} from "../src/index.ts";

interface Subject {
  write(types: readonly BtfType[], littleEndian: boolean): Uint8Array;
  parse(bytes: Uint8Array): Btf | BtfError;
}

const btf: Subject = { write: writeBtf, parse: parseBtf };

const BUGS: Readonly<Record<string, Subject>> = {
  "a pointer points to the type before its own": {
    ...btf,
    write: (types, littleEndian) =>
      writeBtf(
        types.map((type) => (type.kind === "ptr" && type.type > 0 ? { ...type, type: type.type - 1 } : type)),
        littleEndian,
      ),
  },
  "the string section is read without a bound": {
    ...btf,
    parse: (bytes) => {
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
      if (bytes.length >= 24) view.getUint8(view.getUint32(4, true) + view.getUint32(16, true));
      return parseBtf(bytes);
    },
  },
};

export const btfFuzz = subjectSuite("btf", btf, BUGS, (subject, random, reach) => {
  const types = Array.from({ length: 1 + random.below(12) }, (_, i) => randomType(random, i));
  const blob = subject.write(types, !random.oneIn(4));
  return roundTrip(subject, types, blob) ?? damage(subject, blob.slice(), random, reach);
});

/** Type number `index` + 1. References point to earlier types, so that every one has a size. */
function randomType(random: Prng, index: number): BtfType {
  const name = `t${index}`;
  const target = random.between(index === 0 ? 0 : 1, index);
  const flags = { isSigned: random.oneIn(2), isChar: false, isBool: false };
  if (index === 0) return { kind: "int", name, size: 4, bits: 32, offset: 0, ...flags };
  switch (random.below(6)) {
    case 0: {
      const size = random.pick([1, 2, 4, 8]);
      return { kind: "int", name, size, bits: size * 8, offset: 0, ...flags };
    }
    case 1:
      return { kind: "ptr", name: "", type: target };
    case 2:
      return { kind: "typedef", name, type: target };
    case 3:
      return { kind: "array", name: "", element: 1, index: 1, count: random.below(9) };
    case 4:
      return { kind: "enum", name, size: 4, isSigned: false, values: [{ name: `V${index}`, value: 1n }] };
    default: {
      const members = Array.from({ length: random.below(4) }, (_, i) => ({
        name: `m${i}`,
        type: 1,
        bitOffset: i * 32,
        bitSize: 0,
      }));
      return { kind: "struct", name, size: members.length * 4, members };
    }
  }
}

const text = (value: unknown): string =>
  JSON.stringify(value, (_, part: unknown) => (typeof part === "bigint" ? `${part}n` : part));

function roundTrip(subject: Subject, types: readonly BtfType[], blob: Uint8Array): string | undefined {
  const parsed = subject.parse(blob);
  if (parsed instanceof BtfError) return `a good blob is refused: ${parsed.message}`;
  // Type 0 is void, and in no blob.
  const found = Array.from(parsed.types(), ([, type]) => type).slice(1);
  return text(found) === text(types) ? undefined : `${text(types)} comes back as ${text(found)}`;
}

function damage(subject: Subject, whole: Uint8Array, random: Prng, reach: Reach): string | undefined {
  const blob = random.oneIn(4) ? whole.slice(0, random.below(whole.length)) : whole;
  for (let i = random.below(6); i > 0 && blob.length > 0; i--) blob[random.below(blob.length)] = random.u32();
  const parsed = subject.parse(blob);
  const verdict = checkBtf(blob, true);
  reach(`load: ${verdict.errno?.name ?? "accepted"}`);
  if (verdict.errno === undefined && parsed instanceof BtfError)
    return `an accepted blob cannot be read: ${parsed.message}`;
  if (parsed instanceof BtfError) {
    reach(`damage: ${parsed.reason.replace(/\d+/g, "#")}`);
    return undefined;
  }
  reach("damage: read");
  for (const [id] of parsed.types()) {
    parsed.sizeOf(id);
    formatType(parsed, id, "x");
    formatDefinition(parsed, id);
  }
  formatHeader(parsed);
  formatRaw(parsed);
  parseBtfExt(blob, parsed);
  return undefined;
}
