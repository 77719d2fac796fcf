/**
 * What BPF_BTF_LOAD says of a blob: the errno and the log, in Linux's words. Interface: `checkBtf`. Answers to btf_parse() in
 * kernel/bpf/btf.c.
 *
 * Differs from Linux: structures with special fields of the kernel (locks, lists, trees) are not looked at here.
 */
import { E2BIG, EINVAL, ELOOP, ENOTSUPP, isErr } from "@alien-ts/abi";
import type { Errno } from "@alien-ts/abi";
import { BTF_HEADER_SIZE, BTF_MAGIC, BTF_VERSION } from "../header.ts";
import { BTF_KIND } from "../types.ts";
import { Blob, MAX_TYPE } from "./blob.ts";
import type { Refusal } from "./blob.ts";
import { isModifier } from "./members.ts";
import { checkMeta } from "./meta.ts";
import { Resolver } from "./resolve.ts";

export interface BtfVerdict {
  /** Undefined where the blob is accepted. */
  readonly errno: Errno | undefined;
  readonly log: string;
}

/** @param hasLog false: the log stays empty, and nothing is spent on it. */
export function checkBtf(bytes: Uint8Array, hasLog: boolean): BtfVerdict {
  const blob = new Blob(bytes, hasLog);
  const errno =
    checkHeader(blob) ??
    checkStrings(blob) ??
    checkTypes(blob) ??
    new Resolver(blob).checkAll() ??
    checkTags(blob);
  return { errno, log: blob.text };
}

function refuse(blob: Blob, message: string, errno: Errno = EINVAL): Errno {
  blob.log(message);
  return errno;
}

interface Sections {
  readonly headerBytes: number;
  readonly typesAt: number;
  readonly typesBytes: number;
  readonly stringsAt: number;
  readonly stringsBytes: number;
}

const sections = new WeakMap<Blob, Sections>();

function checkHeader(blob: Blob): Refusal {
  const { bytes, view } = blob;
  if (bytes.length < 8) return refuse(blob, "hdr_len not found");
  const headerBytes = blob.u32(4);
  if (bytes.length < headerBytes) return refuse(blob, "btf_header not found");
  for (let at = BTF_HEADER_SIZE; at < headerBytes; at++)
    if (bytes[at] !== 0) return refuse(blob, "Unsupported btf_header", E2BIG);
  // A shorter header is read as if zeros followed.
  const field = (at: number): number => {
    let value = 0;
    for (let i = 3; i >= 0; i--) value = value * 256 + (at + i < headerBytes ? bytes[at + i]! : 0);
    return value;
  };
  const magic = headerBytes >= 2 ? view.getUint16(0, true) : headerBytes === 1 ? bytes[0]! : 0;
  const version = headerBytes > 2 ? bytes[2]! : 0;
  const flags = headerBytes > 3 ? bytes[3]! : 0;
  const [typesAt, typesBytes, stringsAt, stringsBytes] = [field(8), field(12), field(16), field(20)];
  sections.set(blob, { headerBytes, typesAt, typesBytes, stringsAt, stringsBytes });
  blob.log(
    `magic: 0x${magic.toString(16)}\nversion: ${version}\nflags: 0x${flags.toString(16)}\nhdr_len: ${field(4)}\n` +
      `type_off: ${typesAt}\ntype_len: ${typesBytes}\nstr_off: ${stringsAt}\nstr_len: ${stringsBytes}\n` +
      `btf_total_size: ${bytes.length}\n`,
  );
  if (magic !== BTF_MAGIC) return refuse(blob, "Invalid magic");
  if (version !== BTF_VERSION) return refuse(blob, "Unsupported version", ENOTSUPP);
  if (flags !== 0) return refuse(blob, "Unsupported flags", ENOTSUPP);
  if (bytes.length === headerBytes) return refuse(blob, "No data");
  return checkSections(blob, bytes.length - headerBytes);
}

/** The two sections follow each other without gaps, to the end; their distance is a signed number. Linux: btf_check_sec_info() */
function checkSections(blob: Blob, expected: number): Refusal {
  const { typesAt, typesBytes, stringsAt, stringsBytes } = sections.get(blob)!;
  const list = [
    { at: typesAt, bytes: typesBytes },
    { at: stringsAt, bytes: stringsBytes },
  ].sort((a, b) => (a.at - b.at) | 0 || (a.bytes - b.bytes) | 0);
  let total = 0;
  for (const { at, bytes } of list) {
    if (expected < at) return refuse(blob, "Invalid section offset");
    if (total < at) return refuse(blob, "Unsupported section found");
    if (total > at) return refuse(blob, "Section overlap found");
    if (expected - total < bytes) return refuse(blob, "Total section length too long");
    total += bytes;
  }
  return expected === total ? undefined : refuse(blob, "Unsupported section found");
}

const MOST_STRINGS = 0xff_ffff;

function checkStrings(blob: Blob): Refusal {
  const { headerBytes, stringsAt, stringsBytes } = sections.get(blob)!;
  const start = headerBytes + stringsAt;
  const end = start + stringsBytes;
  if (end !== blob.bytes.length) return refuse(blob, "String section is not at the end");
  const isTerminated = stringsBytes > 0 && blob.bytes[end - 1] === 0;
  if (!isTerminated || stringsBytes - 1 > MOST_STRINGS) return refuse(blob, "Invalid string section");
  if (blob.bytes[start] !== 0) return refuse(blob, "Invalid string section");
  blob.strings = blob.bytes.subarray(start, end);
  return undefined;
}

function checkTypes(blob: Blob): Refusal {
  const { headerBytes, typesAt, typesBytes } = sections.get(blob)!;
  if (typesAt % 4 !== 0) return refuse(blob, "Unaligned type_off");
  if (typesBytes === 0) return refuse(blob, "No type found");
  const end = headerBytes + typesAt + typesBytes;
  for (let at = headerBytes + typesAt; at < end;) {
    blob.current = blob.types.length;
    if (blob.current > MAX_TYPE) return refuse(blob, "Too many types", E2BIG);
    const next = checkMeta(blob, at, end);
    if (isErr(next)) return next;
    at = next;
  }
  return undefined;
}

const MOST_CHAIN = 32;

/** Type tags stand before other modifiers. Linux: btf_check_type_tags() */
function checkTags(blob: Blob): Refusal {
  for (const first of blob.types) {
    let mayBeTag = first.kind === BTF_KIND.type_tag;
    let left = MOST_CHAIN;
    for (let type = first; isModifier(type); type = blob.types[type.word]!) {
      if (left === 0) return refuse(blob, "Max chain length or cycle detected", ELOOP);
      left -= 1;
      if (type.kind !== BTF_KIND.type_tag) mayBeTag = false;
      else if (!mayBeTag) return refuse(blob, "Type tags don't precede modifiers");
    }
  }
  return undefined;
}
