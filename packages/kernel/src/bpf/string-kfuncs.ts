/**
 * Strings in the kernel's memory, for BPF programs: what string.h has, at addresses that may be anything. Linux: the `bpf_str*`
 * functions of kernel/bpf/helpers.c. -EFAULT where a byte cannot be read, -E2BIG behind `LENGTH_MAX` bytes.
 */
import { E2BIG, EFAULT, ENOENT, Errno, NULL_GUARD_BYTES, named, s32, size_t, u64, u8 } from "@alien-ts/abi";
import type { Cx } from "../core/cx.ts";
import { kernelFn } from "../core/row.ts";

/** XATTR_SIZE_MAX */
const LENGTH_MAX = 65_536;

const string = named("const char *", u64);
const char = named("char", u8);

/** Byte `i` of a string; EFAULT. */
type Text = (i: number) => number | Errno;

function textAt({ kernel }: Cx, address: bigint): Text {
  const { mem, btf } = kernel;
  const low = Number(address & 0xffff_ffffn);
  if (Number(address >> 32n) !== mem.baseHi) return () => EFAULT;
  btf.touch(low, LENGTH_MAX);
  return (i) => (low < NULL_GUARD_BYTES || low + i >= mem.size ? EFAULT : mem.u8[low + i]!);
}

const lower = (byte: number): number => (byte >= 0x41 && byte <= 0x5a ? byte + 0x20 : byte);

function compare(a: Text, b: Text, fold: (byte: number) => number): number | Errno {
  for (let i = 0; i < LENGTH_MAX; i++) {
    const [left, right] = [a(i), b(i)];
    if (left instanceof Errno || right instanceof Errno) return EFAULT;
    if (fold(left) !== fold(right)) return fold(left) < fold(right) ? -1 : 1;
    if (left === 0) return 0;
  }
  return E2BIG;
}

/** Index of the first byte, of `count`, that `isWanted`; `missing` where the string ends before. */
function find(
  text: Text,
  count: number,
  isWanted: (byte: number) => boolean | Errno,
  missing: (end: number) => number | Errno,
): number | Errno {
  const limit = Math.min(count, LENGTH_MAX);
  for (let i = 0; i < limit; i++) {
    const byte = text(i);
    if (byte instanceof Errno) return byte;
    const found = isWanted(byte);
    if (found instanceof Errno) return found;
    if (found) return i;
    if (byte === 0) return missing(i);
  }
  return limit === LENGTH_MAX ? E2BIG : missing(limit);
}

const absent = (): Errno => ENOENT;
const itsEnd = (end: number): number => end;

/** Whether a set, which is a string, has the byte. */
const has = (set: Text, byte: number): boolean | Errno => {
  const at = find(set, LENGTH_MAX, (one) => one === byte && one !== 0, absent);
  return at === ENOENT ? false : at instanceof Errno ? at : true;
};

const opposite = (answer: boolean | Errno): boolean | Errno => (answer instanceof Errno ? answer : !answer);

export const bpf_strcmp = kernelFn(
  "bpf_strcmp",
  [
    ["s1__ign", string],
    ["s2__ign", string],
  ],
  s32,
  (cx, a, b) => compare(textAt(cx, a), textAt(cx, b), (byte) => byte),
  { kfunc: [], doc: "-1, 0 or 1, as the first string comes before the second, is it, or comes behind it." },
);

export const bpf_strcasecmp = kernelFn(
  "bpf_strcasecmp",
  [
    ["s1__ign", string],
    ["s2__ign", string],
  ],
  s32,
  (cx, a, b) => compare(textAt(cx, a), textAt(cx, b), lower),
  { kfunc: [], doc: "As bpf_strcmp; upper and lower case are one." },
);

export const bpf_strnchr = kernelFn(
  "bpf_strnchr",
  [
    ["s__ign", string],
    ["count", size_t],
    ["c", char],
  ],
  s32,
  (cx, s, count, c) => find(textAt(cx, s), count, (byte) => byte === c, absent),
  { kfunc: [], doc: "Index of the first *c* in the first *count* bytes; -ENOENT." },
);

export const bpf_strchr = kernelFn(
  "bpf_strchr",
  [
    ["s__ign", string],
    ["c", char],
  ],
  s32,
  (cx, s, c) => find(textAt(cx, s), LENGTH_MAX, (byte) => byte === c, absent),
  { kfunc: [], doc: "Index of the first *c*, which may be the end; -ENOENT." },
);

export const bpf_strchrnul = kernelFn(
  "bpf_strchrnul",
  [
    ["s__ign", string],
    ["c", char],
  ],
  s32,
  (cx, s, c) => find(textAt(cx, s), LENGTH_MAX, (byte) => byte === c, itsEnd),
  { kfunc: [], doc: "Index of the first *c*, or of the end." },
);

export const bpf_strrchr = kernelFn(
  "bpf_strrchr",
  [
    ["s__ign", string],
    ["c", char],
  ],
  s32,
  (cx, s, c) => {
    let last = -1;
    let at = -1;
    const end = find(
      textAt(cx, s),
      LENGTH_MAX,
      (byte) => {
        at += 1;
        if (byte === c) last = at;
        return byte === 0;
      },
      itsEnd,
    );
    return end instanceof Errno ? end : last < 0 ? ENOENT : last;
  },
  { kfunc: [], doc: "Index of the last *c*, which may be the end; -ENOENT." },
);

export const bpf_strnlen = kernelFn(
  "bpf_strnlen",
  [
    ["s__ign", string],
    ["count", size_t],
  ],
  s32,
  (cx, s, count) => find(textAt(cx, s), count, (byte) => byte === 0, itsEnd),
  { kfunc: [], doc: "Length of the string, at most *count*." },
);

export const bpf_strlen = kernelFn(
  "bpf_strlen",
  [["s__ign", string]],
  s32,
  (cx, s) => find(textAt(cx, s), LENGTH_MAX, (byte) => byte === 0, itsEnd),
  { kfunc: [], doc: "Length of the string." },
);

export const bpf_strspn = kernelFn(
  "bpf_strspn",
  [
    ["s__ign", string],
    ["accept__ign", string],
  ],
  s32,
  (cx, s, accept) => {
    const set = textAt(cx, accept);
    return find(textAt(cx, s), LENGTH_MAX, (byte) => byte === 0 || opposite(has(set, byte)), itsEnd);
  },
  { kfunc: [], doc: "Length of the beginning that has bytes of *accept* alone." },
);

export const bpf_strcspn = kernelFn(
  "bpf_strcspn",
  [
    ["s__ign", string],
    ["reject__ign", string],
  ],
  s32,
  (cx, s, reject) => {
    const set = textAt(cx, reject);
    return find(textAt(cx, s), LENGTH_MAX, (byte) => byte === 0 || has(set, byte), itsEnd);
  },
  { kfunc: [], doc: "Length of the beginning that has no byte of *reject*." },
);

/** Where `part` begins in the first `length` bytes. */
function findText(whole: Text, part: Text, length: number): number | Errno {
  for (let i = 0; i < LENGTH_MAX; i++) {
    let matched = 0;
    for (; i + matched <= length && matched < LENGTH_MAX; matched++) {
      const wanted = part(matched);
      if (wanted === 0) return i;
      if (wanted instanceof Errno) return wanted;
      if (i + matched === length) break;
      const byte = whole(i + matched);
      if (byte instanceof Errno) return byte;
      if (byte === 0) return ENOENT;
      if (byte !== wanted) break;
    }
    if (matched === LENGTH_MAX) return E2BIG;
    if (i + matched === length) return ENOENT;
  }
  return E2BIG;
}

export const bpf_strnstr = kernelFn(
  "bpf_strnstr",
  [
    ["s1__ign", string],
    ["s2__ign", string],
    ["len", size_t],
  ],
  s32,
  (cx, whole, part, length) => findText(textAt(cx, whole), textAt(cx, part), length),
  { kfunc: [], doc: "Index of the second string in the first *len* bytes of the first; -ENOENT." },
);

export const bpf_strstr = kernelFn(
  "bpf_strstr",
  [
    ["s1__ign", string],
    ["s2__ign", string],
  ],
  s32,
  (cx, whole, part) => findText(textAt(cx, whole), textAt(cx, part), LENGTH_MAX),
  { kfunc: [], doc: "Index of the second string in the first; -ENOENT." },
);
