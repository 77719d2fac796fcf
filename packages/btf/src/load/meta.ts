/**
 * Each type by itself: its words, its name, what follows it. Answers to the check_meta operations of kernel/bpf/btf.c; every type
 * that passes is printed.
 */
import { EINVAL, ENOTSUPP } from "@alien-ts/abi";
import { BTF_KIND } from "../types.ts";
import { isIdValid } from "./blob.ts";
import type { Blob, RawMember, RawType, Refusal } from "./blob.ts";
import { isIdentifier, isSectionName } from "./names.ts";

/** Bytes behind a type: a record, or one for each of `vlen`. */
const FIXED: Readonly<Record<number, number>> = {
  [BTF_KIND.int]: 4,
  [BTF_KIND.array]: 12,
  [BTF_KIND.var]: 4,
  [BTF_KIND.decl_tag]: 4,
};
const COUNTED: Readonly<Record<number, number>> = {
  [BTF_KIND.struct]: 12,
  [BTF_KIND.union]: 12,
  [BTF_KIND.enum]: 8,
  [BTF_KIND.func_proto]: 8,
  [BTF_KIND.datasec]: 12,
  [BTF_KIND.enum64]: 12,
};
const HEAD_BYTES = 12;
const INFO_MASK = 0x9f00_ffff;

/** Checks the type at `at`, which becomes the next id; answers where the one behind it is. */
export function checkMeta(blob: Blob, at: number, end: number): number | NonNullable<Refusal> {
  const id = blob.current;
  const left = end - at;
  if (left < HEAD_BYTES) return refuse(blob, `[${id}] meta_left:${left} meta_needed:${HEAD_BYTES}`);
  const info = blob.u32(at + 4);
  if ((info & ~INFO_MASK) !== 0) return refuse(blob, `[${id}] Invalid btf_info:${info.toString(16)}`);
  const kind = (info >>> 24) & 0x1f;
  if (kind === 0 || kind > BTF_KIND.enum64) return refuse(blob, `[${id}] Invalid kind:${kind}`);
  const type: RawType = {
    nameOffset: blob.u32(at),
    info,
    kind,
    vlen: info & 0xffff,
    flag: info >>> 31 === 1,
    word: blob.u32(at + 8),
    body: at + HEAD_BYTES,
  };
  if (!blob.hasName(type.nameOffset)) return refuse(blob, `[${id}] Invalid name_offset:${type.nameOffset}`);
  const needed = FIXED[kind] ?? (COUNTED[kind] ?? 0) * type.vlen;
  if (needed > left - HEAD_BYTES) {
    blob.logBasic(type, `meta_left:${left - HEAD_BYTES} meta_needed:${needed}`);
    return EINVAL;
  }
  const bad = checkKind(blob, type);
  if (bad !== undefined) return bad;
  blob.types.push(type);
  return at + HEAD_BYTES + needed;
}

function refuse(blob: Blob, message: string): typeof EINVAL {
  blob.log(message);
  return EINVAL;
}

function checkKind(blob: Blob, type: RawType): Refusal {
  switch (type.kind) {
    case BTF_KIND.int:
      return checkInt(blob, type);
    case BTF_KIND.struct:
    case BTF_KIND.union:
      return checkStruct(blob, type);
    case BTF_KIND.enum:
    case BTF_KIND.enum64:
      return checkEnum(blob, type);
    case BTF_KIND.datasec:
      return checkSection(blob, type);
    default: {
      const message = problemOf(blob, type);
      blob.logType(type, message);
      return message === undefined ? undefined : EINVAL;
    }
  }
}

/** What is wrong with a type that is one line. */
function problemOf(blob: Blob, type: RawType): string | undefined {
  const { kind, nameOffset, vlen, flag, word, body } = type;
  const hasVlen = vlen !== 0 ? "vlen != 0" : undefined;
  const hasFlag = flag ? "Invalid btf_info kind_flag" : undefined;
  const unnamed = nameOffset !== 0 ? "Invalid name" : undefined;
  const named = nameOffset !== 0 && isIdentifier(blob, nameOffset) ? undefined : "Invalid name";
  const isRefAllowed = isIdValid(word);
  const isOther = (id: number): boolean => id !== 0 && isIdValid(id);
  switch (kind) {
    case BTF_KIND.array:
      return (
        unnamed ??
        hasVlen ??
        hasFlag ??
        (word !== 0 ? "size != 0" : undefined) ??
        (isOther(blob.u32(body)) ? undefined : "Invalid elem") ??
        (isOther(blob.u32(body + 4)) ? undefined : "Invalid index")
      );
    case BTF_KIND.fwd:
      return hasVlen ?? (word !== 0 ? "type != 0" : undefined) ?? named;
    case BTF_KIND.func:
      return named ?? (vlen > 1 ? "Invalid func linkage" : undefined) ?? hasFlag;
    case BTF_KIND.func_proto:
      return unnamed ?? hasFlag;
    case BTF_KIND.var:
      return (
        hasVlen ??
        hasFlag ??
        named ??
        (isOther(word) ? undefined : "Invalid type_id") ??
        (blob.u32(body) > 1 ? "Linkage not supported" : undefined)
      );
    case BTF_KIND.float:
      return hasVlen ?? hasFlag ?? ([2, 4, 8, 12, 16].includes(word) ? undefined : "Invalid type_size");
    case BTF_KIND.decl_tag:
      return (
        (blob.nameBytes(nameOffset).length === 0 ? "Invalid value" : undefined) ??
        hasVlen ??
        ((blob.u32(body) | 0) < -1 ? "Invalid component_idx" : undefined)
      );
    default: {
      const isTag = kind === BTF_KIND.type_tag;
      const head =
        hasVlen ??
        (flag && !isTag ? "Invalid btf_info kind_flag" : undefined) ??
        (isRefAllowed ? undefined : "Invalid type_id");
      if (head !== undefined) return head;
      if (kind === BTF_KIND.typedef) return named;
      if (!isTag) return unnamed;
      return blob.nameBytes(nameOffset).length === 0 ? "Invalid name" : undefined;
    }
  }
}

const BITS_OF_U128 = 128;
const INT_MASK = 0x0fff_ffff;

function checkInt(blob: Blob, type: RawType): Refusal {
  const fail = (message: string): Refusal => {
    blob.logType(type, message);
    return EINVAL;
  };
  if (type.vlen !== 0) return fail("vlen != 0");
  if (type.flag) return fail("Invalid btf_info kind_flag");
  const data = blob.u32(type.body);
  if ((data & ~INT_MASK) !== 0) {
    blob.logBasic(type, `Invalid int_data:${data.toString(16)}`);
    return EINVAL;
  }
  const bits = (data & 0xff) + ((data >>> 16) & 0xff);
  if (bits > BITS_OF_U128) return fail(`nr_bits exceeds ${BITS_OF_U128}`);
  if (Math.ceil(bits / 8) > type.word) return fail("nr_bits exceeds type_size");
  if (![0, 1, 2, 4].includes((data >>> 24) & 15)) {
    blob.logType(type, "Unsupported encoding");
    return ENOTSUPP;
  }
  blob.logType(type);
  return undefined;
}

export function memberAt(blob: Blob, type: RawType, index: number): RawMember {
  const at = type.body + 12 * index;
  return { nameOffset: blob.u32(at), type: blob.u32(at + 4), offset: blob.u32(at + 8) };
}

function checkStruct(blob: Blob, type: RawType): Refusal {
  if (type.nameOffset !== 0 && !isIdentifier(blob, type.nameOffset)) {
    blob.logType(type, "Invalid name");
    return EINVAL;
  }
  blob.logType(type);
  let last = 0;
  for (let i = 0; i < type.vlen; i++) {
    const member = memberAt(blob, type, i);
    const offset = type.flag ? member.offset & 0xff_ffff : member.offset;
    const message = memberProblem(blob, type, member, offset, last);
    blob.logMember(type, member, message);
    if (message !== undefined) return EINVAL;
    last = offset;
  }
  return undefined;
}

function memberProblem(
  blob: Blob,
  type: RawType,
  { nameOffset, type: id }: RawMember,
  offset: number,
  last: number,
): string | undefined {
  if (!blob.hasName(nameOffset)) return `Invalid member name_offset:${nameOffset}`;
  if (nameOffset !== 0 && !isIdentifier(blob, nameOffset)) return "Invalid name";
  if (id === 0 || !isIdValid(id)) return "Invalid type_id";
  if ((type.kind === BTF_KIND.union && offset !== 0) || last > offset) return "Invalid member bits_offset";
  return Math.ceil(offset / 8) > type.word ? "Member bits_offset exceeds its struct size" : undefined;
}

function checkEnum(blob: Blob, type: RawType): Refusal {
  const fail = (message: string): Refusal => {
    blob.logType(type, message);
    return EINVAL;
  };
  if (![1, 2, 4, 8].includes(type.word)) return fail("Unexpected size");
  if (type.nameOffset !== 0 && !isIdentifier(blob, type.nameOffset)) return fail("Invalid name");
  blob.logType(type);
  const isWide = type.kind === BTF_KIND.enum64;
  for (let i = 0; i < type.vlen; i++) {
    const at = type.body + (isWide ? 12 : 8) * i;
    const nameOffset = blob.u32(at);
    if (!blob.hasName(nameOffset)) return refuse(blob, `\tInvalid name_offset:${nameOffset}`);
    if (nameOffset === 0 || !isIdentifier(blob, nameOffset)) return fail("Invalid name");
    const low = blob.u32(at + 4);
    const wide = isWide ? (BigInt(blob.u32(at + 8)) << 32n) | BigInt(low) : BigInt(low);
    const value = type.flag ? BigInt.asIntN(isWide ? 64 : 32, wide) : wide;
    blob.log(`\t${blob.name(nameOffset)} val=${value}\n`);
  }
  return undefined;
}

function checkSection(blob: Blob, type: RawType): Refusal {
  const fail = (message: string): Refusal => {
    blob.logType(type, message);
    return EINVAL;
  };
  if (type.word === 0) return fail("size == 0");
  if (type.flag) return fail("Invalid btf_info kind_flag");
  if (type.nameOffset === 0 || !isSectionName(blob, type.nameOffset)) return fail("Invalid name");
  blob.logType(type);
  let end = 0;
  let sum = 0;
  for (let i = 0; i < type.vlen; i++) {
    const at = type.body + 12 * i;
    const [id, offset, size] = [blob.u32(at), blob.u32(at + 4), blob.u32(at + 8)];
    const isPlaced = offset >= end && offset < type.word;
    const message =
      id === 0 || !isIdValid(id)
        ? "Invalid type_id"
        : !isPlaced
          ? "Invalid offset"
          : size === 0 || size > type.word
            ? "Invalid size"
            : offset + size > type.word
              ? "Invalid offset+size"
              : undefined;
    blob.logVariable(type, at, message);
    if (message !== undefined) return EINVAL;
    end = offset + size;
    sum += size;
  }
  return type.word < sum ? fail("Invalid btf_info size") : undefined;
}
