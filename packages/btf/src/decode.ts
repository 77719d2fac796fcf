/**
 * One type of the type section: where it ends, whether its own fields make sense (the kernel's `btf_check_meta` of each kind,
 * with its messages), and its contents as a `BtfType`.
 */
import { BtfError } from "./error.ts";
import { BTF_KIND, LINKAGE } from "./types.ts";
import type {
  BtfEnumerator,
  BtfKind,
  BtfLinkage,
  BtfMember,
  BtfParam,
  BtfSectionVar,
  BtfType,
} from "./types.ts";

/** The bytes of a blob with what is needed to read names. */
export interface BtfSource {
  readonly view: DataView;
  readonly littleEndian: boolean;
  /** Strings by offset; undefined when outside the section. */
  readonly string: (offset: number) => string | undefined;
  /** The section itself: whether there is a name is seen without reading it. */
  readonly strings: Uint8Array;
}

export const TYPE_HEADER_SIZE = 12;
const BTF_MAX_SIZE_INT = 16;

const KINDS: readonly (BtfKind | undefined)[] = (() => {
  const out: (BtfKind | undefined)[] = [];
  for (const [name, number] of Object.entries(BTF_KIND)) out[number] = name as BtfKind;
  return out;
})();

interface Header {
  readonly kind: BtfKind;
  readonly nameOffset: number;
  readonly vlen: number;
  readonly flag: boolean;
  /** The union of `size` and `type`. */
  readonly word: number;
}

/** Size in bytes of one trailing record per kind, and whether `vlen` counts them. */
const TRAILER = {
  void: [0, false],
  int: [4, false],
  ptr: [0, false],
  array: [12, false],
  struct: [12, true],
  union: [12, true],
  enum: [8, true],
  fwd: [0, false],
  typedef: [0, false],
  volatile: [0, false],
  const: [0, false],
  restrict: [0, false],
  func: [0, false],
  func_proto: [8, true],
  var: [4, false],
  datasec: [12, true],
  float: [0, false],
  decl_tag: [4, false],
  type_tag: [0, false],
  enum64: [12, true],
} as const satisfies Record<BtfKind, readonly [number, boolean]>;

/** Checks the type at `at` and answers where the next one starts. */
export function checkType(source: BtfSource, at: number, end: number, id: number): number | BtfError {
  if (at + TYPE_HEADER_SIZE > end)
    return new BtfError(`meta_left:${end - at} meta_needed:${TYPE_HEADER_SIZE}`, at, id);
  const info = source.view.getUint32(at + 4, source.littleEndian);
  if ((info & ~0x9f00_ffff) !== 0) return new BtfError(`Invalid btf_info:${hex(info)}`, at + 4, id);
  const number = (info >>> 24) & 0x1f;
  const kind = KINDS[number];
  if (kind === undefined) return new BtfError(`Invalid kind:${number}`, at + 4, id);
  const head = header(source, at, kind);
  if (head.nameOffset >= source.strings.length)
    return new BtfError(`Invalid name_offset:${head.nameOffset}`, at, id);
  const [unit, isCounted] = TRAILER[kind];
  const needed = unit * (isCounted ? head.vlen : 1);
  const left = end - at - TYPE_HEADER_SIZE;
  if (needed > left) return new BtfError(`meta_left:${left} meta_needed:${needed}`, at, id);
  const reason = problem(source, at, head);
  if (reason !== undefined) return new BtfError(reason, at, id);
  return at + TYPE_HEADER_SIZE + needed;
}

/** The type at `at`, which `checkType` has accepted. */
export function decodeType(source: BtfSource, at: number): BtfType {
  const number = (source.view.getUint32(at + 4, source.littleEndian) >>> 24) & 0x1f;
  const kind = KINDS[number] ?? "void";
  const head = header(source, at, kind);
  const name = source.string(head.nameOffset) ?? "";
  const body = at + TYPE_HEADER_SIZE;
  const u32 = (offset: number): number => source.view.getUint32(body + offset, source.littleEndian);
  const type = head.word;
  switch (kind) {
    case "int": {
      const data = u32(0);
      const encoding = (data >>> 24) & 15;
      return {
        kind,
        name,
        size: head.word,
        bits: data & 0xff,
        offset: (data >>> 16) & 0xff,
        isSigned: (encoding & 1) !== 0,
        isChar: (encoding & 2) !== 0,
        isBool: (encoding & 4) !== 0,
      };
    }
    case "array":
      return { kind, name, element: u32(0), index: u32(4), count: u32(8) };
    case "struct":
    case "union":
      return { kind, name, size: head.word, members: members(source, body, head) };
    case "enum":
    case "enum64":
      return { kind, name, size: head.word, isSigned: head.flag, values: enumerators(source, body, head) };
    case "fwd":
      return { kind, name, isUnion: head.flag };
    case "func":
      return { kind, name, type, linkage: linkage(head.vlen) };
    case "func_proto":
      return { kind, name, type, params: params(source, body, head.vlen) };
    case "var":
      return { kind, name, type, linkage: linkage(u32(0)) };
    case "datasec":
      return { kind, name, size: head.word, vars: sectionVars(source, body, head.vlen) };
    case "float":
      return { kind, name, size: head.word };
    case "decl_tag":
      return { kind, name, type, component: u32(0) | 0 };
    case "void":
      return { kind, name };
    default:
      return { kind, name, type };
  }
}

/** The ids that the type at `at`, which `checkType` has accepted, refers to. */
export function referencesAt({ view, littleEndian }: BtfSource, at: number): number[] {
  const info = view.getUint32(at + 4, littleEndian);
  const vlen = info & 0xffff;
  const body = at + TYPE_HEADER_SIZE;
  const u32 = (offset: number): number => view.getUint32(offset, littleEndian);
  const each = (size: number, from: number): number[] =>
    Array.from({ length: vlen }, (_, i) => u32(body + size * i + from));
  switch (KINDS[(info >>> 24) & 0x1f]) {
    case "array":
      return [u32(body), u32(body + 4)];
    case "struct":
    case "union":
      return each(12, 4);
    case "func_proto":
      return [u32(at + 8), ...each(8, 4)];
    case "datasec":
      return each(12, 0);
    case "int":
    case "enum":
    case "enum64":
    case "fwd":
    case "float":
    case "void":
      return [];
    default:
      return [u32(at + 8)];
  }
}

function header(source: BtfSource, at: number, kind: BtfKind): Header {
  const { view, littleEndian } = source;
  const info = view.getUint32(at + 4, littleEndian);
  return {
    kind,
    nameOffset: view.getUint32(at, littleEndian),
    vlen: info & 0xffff,
    flag: info >>> 31 === 1,
    word: view.getUint32(at + 8, littleEndian),
  };
}

/** The rules of each kind, in the order and words of `*_check_meta`. */
function problem(source: BtfSource, at: number, head: Header): string | undefined {
  const u32 = (offset: number): number =>
    source.view.getUint32(at + TYPE_HEADER_SIZE + offset, source.littleEndian);
  const isNamed = source.strings[head.nameOffset] !== 0;
  switch (head.kind) {
    case "int":
      return head.vlen !== 0
        ? "vlen != 0"
        : head.flag
          ? "Invalid btf_info kind_flag"
          : intProblem(u32(0), head.word);
    case "array":
      return arrayProblem(head, isNamed);
    case "ptr":
    case "const":
    case "volatile":
    case "restrict":
      return plain(head) ?? (isNamed ? "Invalid name" : undefined);
    case "typedef":
    case "type_tag":
      return (head.vlen !== 0 ? "vlen != 0" : undefined) ?? (isNamed ? undefined : "Invalid name");
    case "func":
      return head.flag
        ? "Invalid btf_info kind_flag"
        : !isNamed
          ? "Invalid name"
          : head.vlen > 2
            ? "Invalid func linkage"
            : undefined;
    case "fwd":
      return head.vlen !== 0
        ? "vlen != 0"
        : head.word !== 0
          ? "type != 0"
          : isNamed
            ? undefined
            : "Invalid name";
    case "enum":
    case "enum64":
      return [1, 2, 4, 8].includes(head.word) ? undefined : "Unexpected size";
    case "var":
      return plain(head) ?? (isNamed ? (u32(0) > 2 ? "Linkage not supported" : undefined) : "Invalid name");
    case "datasec":
      return head.flag ? "Invalid btf_info kind_flag" : isNamed ? undefined : "Invalid name";
    case "float":
      return plain(head) ?? ([2, 4, 8, 12, 16].includes(head.word) ? undefined : "Invalid type_size");
    case "decl_tag":
      return !isNamed
        ? "Invalid value"
        : head.vlen !== 0
          ? "vlen != 0"
          : (u32(0) | 0) < -1
            ? "Invalid component_idx"
            : undefined;
    case "func_proto":
      return isNamed ? "Invalid name" : head.flag ? "Invalid btf_info kind_flag" : undefined;
    default:
      return undefined;
  }
}

function intProblem(data: number, size: number): string | undefined {
  const offset = (data >>> 16) & 0xff;
  const bits = data & 0xff;
  const encoding = (data >>> 24) & 0xf;
  if ((data & ~0x0fff_ffff) !== 0) return "Invalid int_data";
  if (bits + offset > 8 * BTF_MAX_SIZE_INT) return `nr_bits exceeds ${8 * BTF_MAX_SIZE_INT}`;
  if (Math.ceil((bits + offset) / 8) > size) return "nr_bits exceeds type_size";
  return [0, 1, 2, 4].includes(encoding) ? undefined : "Unsupported encoding";
}

function arrayProblem(head: Header, isNamed: boolean): string | undefined {
  if (isNamed) return "Invalid name";
  return plain(head) ?? (head.word !== 0 ? "size != 0" : undefined);
}

const plain = (head: Header): string | undefined =>
  head.vlen !== 0 ? "vlen != 0" : head.flag ? "Invalid btf_info kind_flag" : undefined;

const linkage = (number: number): BtfLinkage => LINKAGE[number] ?? "static";

function members(source: BtfSource, at: number, head: Header): BtfMember[] {
  return records(head.vlen, 12, at, (record) => {
    const offset = source.view.getUint32(record + 8, source.littleEndian);
    return {
      name: source.string(source.view.getUint32(record, source.littleEndian)) ?? "",
      type: source.view.getUint32(record + 4, source.littleEndian),
      // With kind_flag the word is size:8, offset:24.
      bitOffset: head.flag ? offset & 0xff_ffff : offset,
      bitSize: head.flag ? offset >>> 24 : 0,
    };
  });
}

function enumerators(source: BtfSource, at: number, head: Header): BtfEnumerator[] {
  const { view, littleEndian } = source;
  const isWide = head.kind === "enum64";
  return records(head.vlen, isWide ? 12 : 8, at, (record) => {
    const name = source.string(view.getUint32(record, littleEndian)) ?? "";
    const low = view.getUint32(record + 4, littleEndian);
    if (!isWide) return { name, value: BigInt(head.flag ? low | 0 : low) };
    const high = view.getUint32(record + 8, littleEndian);
    const value = (BigInt(high) << 32n) | BigInt(low);
    return { name, value: head.flag ? BigInt.asIntN(64, value) : value };
  });
}

const params = (source: BtfSource, at: number, count: number): BtfParam[] =>
  records(count, 8, at, (record) => ({
    name: source.string(source.view.getUint32(record, source.littleEndian)) ?? "",
    type: source.view.getUint32(record + 4, source.littleEndian),
  }));

const sectionVars = (source: BtfSource, at: number, count: number): BtfSectionVar[] =>
  records(count, 12, at, (record) => ({
    type: source.view.getUint32(record, source.littleEndian),
    offset: source.view.getUint32(record + 4, source.littleEndian),
    size: source.view.getUint32(record + 8, source.littleEndian),
  }));

function records<T>(count: number, size: number, at: number, read: (record: number) => T): T[] {
  return Array.from({ length: count }, (_, index) => read(at + index * size));
}

const hex = (value: number): string => (value >>> 0).toString(16);
