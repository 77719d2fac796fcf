/**
 * Copies between the kernel and user memory (Linux: include/linux/uaccess.h, lib/usercopy.c, lib/strncpy_from_user.c).
 *
 * `copy_from_user`, `copy_to_user` and `clear_user` give the number of bytes *not* copied, as in Linux: 0 is success, and what
 * came before the fault is copied. The others give EFAULT. A user address may be any number: one that is not below TASK_SIZE
 * (a kernel address, a negative number, NaN) faults. Nothing here throws, and nothing allocates but what its result is.
 *
 * Every function takes the address space first: the current task's for system calls, another's for ptrace-like access.
 */
import { EFAULT, type KAddr, PAGE_SIZE, type Result, type UAddr } from "@alien-ts/abi";
import { type AddressSpace, TASK_SIZE } from "./address-space.ts";
import { ACCESS } from "./fault.ts";

/** Below this many bytes a loop is faster than a call of `copyWithin`. */
const SHORT_COPY = 32;
const TWO_32 = 0x1_0000_0000;

/** TASK_SIZE_MAX of riscv64 (arch/riscv/include/asm/pgtable.h: LONG_MAX). */
const TASK_SIZE_MAX = 2 ** 63;

/** Whether [addr, addr + length) lies in the user's half; it says nothing about what is mapped there. */
export function access_ok(addr: UAddr, length: number): boolean {
  // The first test too: 2^63 − length rounds to 2^63.
  return addr >= 0 && addr < TASK_SIZE_MAX && length >= 0 && addr <= TASK_SIZE_MAX - length;
}

/** Bytes from `at` to the end of its page, at most `left`. */
const chunkOf = (at: number, left: number): number => Math.min(PAGE_SIZE - (at & (PAGE_SIZE - 1)), left);

function move(u8: Uint8Array, to: number, from: number, length: number): void {
  if (length > SHORT_COPY) u8.copyWithin(to, from, from + length);
  else for (let i = 0; i < length; i++) u8[to + i] = u8[from + i]!;
}

/** Copies `length` bytes from user memory to kernel memory. Gives the bytes not copied. */
export function copy_from_user(mm: AddressSpace, to: KAddr, from: UAddr, length: number): number {
  const { u8 } = mm.manager.pages.memory;
  let done = 0;
  while (done < length) {
    const source = mm.translate(from + done, ACCESS.READ);
    if (source < 0) break;
    const chunk = chunkOf(source, length - done);
    move(u8, to + done, source, chunk);
    done += chunk;
  }
  return length - done;
}

/** Copies `length` bytes from kernel memory to user memory. Gives the bytes not copied. */
export function copy_to_user(mm: AddressSpace, to: UAddr, from: KAddr, length: number): number {
  const { u8 } = mm.manager.pages.memory;
  let done = 0;
  while (done < length) {
    const target = mm.translate(to + done, ACCESS.WRITE);
    if (target < 0) break;
    const chunk = chunkOf(target, length - done);
    move(u8, target, from + done, chunk);
    done += chunk;
  }
  return length - done;
}

/** Zeroes user memory. Gives the bytes not cleared. */
export function clear_user(mm: AddressSpace, to: UAddr, length: number): number {
  const { u8 } = mm.manager.pages.memory;
  let done = 0;
  while (done < length) {
    const target = mm.translate(to + done, ACCESS.WRITE);
    if (target < 0) break;
    const chunk = chunkOf(target, length - done);
    u8.fill(0, target, target + chunk);
    done += chunk;
  }
  return length - done;
}

/** Fills `into` from user memory. Gives the bytes not copied. */
export function copyBytesFromUser(mm: AddressSpace, into: Uint8Array, from: UAddr): number {
  const { u8 } = mm.manager.pages.memory;
  let done = 0;
  while (done < into.length) {
    const source = mm.translate(from + done, ACCESS.READ);
    if (source < 0) break;
    const chunk = chunkOf(source, into.length - done);
    for (let i = 0; i < chunk; i++) into[done + i] = u8[source + i]!;
    done += chunk;
  }
  return into.length - done;
}

/** Writes `bytes` to user memory. Gives the bytes not copied. */
export function copyBytesToUser(mm: AddressSpace, to: UAddr, bytes: Uint8Array): number {
  const { u8 } = mm.manager.pages.memory;
  let done = 0;
  while (done < bytes.length) {
    const target = mm.translate(to + done, ACCESS.WRITE);
    if (target < 0) break;
    const chunk = chunkOf(target, bytes.length - done);
    if (chunk === bytes.length) u8.set(bytes, target);
    else u8.set(bytes.subarray(done, done + chunk), target);
    done += chunk;
  }
  return bytes.length - done;
}

/** A copy of `length` bytes of user memory. EFAULT. Bound `length` before: it is allocated. */
export function readUserBytes(mm: AddressSpace, from: UAddr, length: number): Result<Uint8Array> {
  if (!(from >= 0 && length <= TASK_SIZE - from)) return EFAULT;
  const bytes = new Uint8Array(length);
  return copyBytesFromUser(mm, bytes, from) === 0 ? bytes : EFAULT;
}

/** Writes all of `bytes`. EFAULT. */
export function writeUserBytes(mm: AddressSpace, to: UAddr, bytes: Uint8Array): Result<0> {
  return copyBytesToUser(mm, to, bytes) === 0 ? 0 : EFAULT;
}

/**
 * Copies a string and its NUL, at most `count` bytes, to kernel memory. Gives its length without the NUL; `count` when there
 * is no NUL in the first `count` bytes. EFAULT.
 */
export function strncpy_from_user(mm: AddressSpace, to: KAddr, from: UAddr, count: number): Result<number> {
  const { u8 } = mm.manager.pages.memory;
  let done = 0;
  while (done < count) {
    const source = mm.translate(from + done, ACCESS.READ);
    if (source < 0) return EFAULT;
    const chunk = chunkOf(source, count - done);
    for (let i = 0; i < chunk; i++) {
      const byte = u8[source + i]!;
      u8[to + done + i] = byte;
      if (byte === 0) return done + i;
    }
    done += chunk;
  }
  return count;
}

/** Length of a user string with its NUL; more than `count` when there is none within `count`; 0 when it faults. */
export function strnlen_user(mm: AddressSpace, from: UAddr, count: number): number {
  const { u8 } = mm.manager.pages.memory;
  let done = 0;
  while (done < count) {
    const source = mm.translate(from + done, ACCESS.READ);
    if (source < 0) return 0;
    const chunk = chunkOf(source, count - done);
    for (let i = 0; i < chunk; i++) if (u8[source + i] === 0) return done + i + 1;
    done += chunk;
  }
  return count + 1;
}

/** The bytes of a user string without its NUL; `count` bytes long when there is no NUL within `count`. EFAULT. */
export function readUserString(mm: AddressSpace, from: UAddr, count: number): Result<Uint8Array> {
  const size = strnlen_user(mm, from, count);
  if (size === 0) return EFAULT;
  return readUserBytes(mm, from, Math.min(size - 1, count));
}

/** An unsigned byte of user memory. EFAULT. */
export function get_user_u8(mm: AddressSpace, from: UAddr): Result<number> {
  const at = mm.translate(from, ACCESS.READ);
  return at < 0 ? EFAULT : mm.manager.pages.memory.u8[at]!;
}

export function get_user_u16(mm: AddressSpace, from: UAddr): Result<number> {
  const word = loadWord(mm, from, 2);
  return word < 0 ? EFAULT : word;
}

export function get_user_u32(mm: AddressSpace, from: UAddr): Result<number> {
  const word = loadWord(mm, from, 4);
  return word < 0 ? EFAULT : word;
}

export function get_user_s32(mm: AddressSpace, from: UAddr): Result<number> {
  const word = loadWord(mm, from, 4);
  return word < 0 ? EFAULT : word | 0;
}

/** An unsigned 64-bit word, exact below 2^53. EFAULT. */
export function get_user_u64(mm: AddressSpace, from: UAddr): Result<number> {
  const lo = loadWord(mm, from, 4);
  const hi = loadWord(mm, from + 4, 4);
  return lo < 0 || hi < 0 ? EFAULT : hi * TWO_32 + lo;
}

/** A signed 64-bit word, exact while its absolute value is below 2^53. EFAULT. */
export function get_user_s64(mm: AddressSpace, from: UAddr): Result<number> {
  const lo = loadWord(mm, from, 4);
  const hi = loadWord(mm, from + 4, 4);
  return lo < 0 || hi < 0 ? EFAULT : (hi | 0) * TWO_32 + lo;
}

/** Writes the low 8 bits of `value`. EFAULT. */
export function put_user_u8(mm: AddressSpace, to: UAddr, value: number): Result<0> {
  const at = mm.translate(to, ACCESS.WRITE);
  if (at < 0) return EFAULT;
  mm.manager.pages.memory.u8[at] = value;
  return 0;
}

export function put_user_u16(mm: AddressSpace, to: UAddr, value: number): Result<0> {
  return storeWord(mm, to, 2, value) ? 0 : EFAULT;
}

/** Writes the low 32 bits of `value`, signed or unsigned. EFAULT. */
export function put_user_u32(mm: AddressSpace, to: UAddr, value: number): Result<0> {
  return storeWord(mm, to, 4, value) ? 0 : EFAULT;
}

/** Writes a 64-bit word, in two's complement when `value` is negative. EFAULT, with nothing written. */
export function put_user_u64(mm: AddressSpace, to: UAddr, value: number): Result<0> {
  if (mm.translate(to, ACCESS.WRITE) < 0 || mm.translate(to + 7, ACCESS.WRITE) < 0) return EFAULT;
  storeWord(mm, to, 4, value % TWO_32);
  storeWord(mm, to + 4, 4, Math.floor(value / TWO_32));
  return 0;
}

/** A little-endian word of 2 or 4 bytes at any alignment; -1 when it faults. */
function loadWord(mm: AddressSpace, from: UAddr, size: 2 | 4): number {
  const at = mm.translate(from, ACCESS.READ);
  if (at < 0) return -1;
  const { dv, u8 } = mm.manager.pages.memory;
  if ((at & (PAGE_SIZE - 1)) <= PAGE_SIZE - size)
    return size === 4 ? dv.getUint32(at, true) : dv.getUint16(at, true);
  let word = 0;
  for (let i = 0; i < size; i++) {
    const byteAt = mm.translate(from + i, ACCESS.READ);
    if (byteAt < 0) return -1;
    word += u8[byteAt]! * 2 ** (8 * i);
  }
  return word;
}

/** Writes all of a word or nothing. */
function storeWord(mm: AddressSpace, to: UAddr, size: 2 | 4, value: number): boolean {
  const at = mm.translate(to, ACCESS.WRITE);
  if (at < 0) return false;
  const { dv, u8 } = mm.manager.pages.memory;
  if ((at & (PAGE_SIZE - 1)) <= PAGE_SIZE - size) {
    if (size === 4) dv.setUint32(at, value, true);
    else dv.setUint16(at, value, true);
    return true;
  }
  if (mm.translate(to + size - 1, ACCESS.WRITE) < 0) return false;
  for (let i = 0; i < size; i++) u8[mm.translate(to + i, ACCESS.WRITE)] = value >> (8 * i);
  return true;
}
