/** The current task's user memory, for system calls: structures out, structures and strings in. */
import {
  EFAULT,
  type Fields,
  isErr,
  type Result,
  type StructDecl,
  type UAddr,
  type View,
} from "@alien-ts/abi";
import type { Cx } from "../core/cx.ts";
import { KernelBug } from "../core/kernel.ts";
import type { AddressSpace } from "../mm/address-space.ts";
import { copy_from_user, copy_to_user, readUserString } from "../mm/uaccess.ts";
import { byteString } from "./dentry.ts";
import { stackAlloc } from "./path.ts";

/** The address space of the task that made the system call. */
export function userMm(cx: Cx): AddressSpace {
  const { mm } = cx.task;
  if (mm === null) throw new KernelBug(`task ${cx.task.pid} has no user memory and made a system call`);
  return mm;
}

/** Fills a structure on the kernel stack, and copies it to user memory. EFAULT. */
export function putStruct<F extends Fields>(
  cx: Cx,
  decl: StructDecl<F>,
  to: UAddr,
  fill: (view: View<F>) => void,
): Result<0> {
  const { ksp } = cx;
  const { layout, mem } = cx.kernel;
  const size = layout.of(decl).size;
  const at = stackAlloc(cx, size);
  fill(new (layout.view(decl))(mem, at));
  const left = copy_to_user(userMm(cx), to, at, size);
  cx.ksp = ksp;
  return left === 0 ? 0 : EFAULT;
}

/** Copies a structure from user memory, and gives what `read` makes of it. EFAULT. */
export function getStruct<F extends Fields, T>(
  cx: Cx,
  decl: StructDecl<F>,
  from: UAddr,
  read: (view: View<F>) => T,
): Result<T> {
  const { ksp } = cx;
  const { layout, mem } = cx.kernel;
  const size = layout.of(decl).size;
  const at = stackAlloc(cx, size);
  const left = copy_from_user(userMm(cx), at, from, size);
  const value = left === 0 ? read(new (layout.view(decl))(mem, at)) : EFAULT;
  cx.ksp = ksp;
  return value;
}

/** A string of user memory as a byte string, without its NUL; `tooLong` when it has `max` bytes or more. EFAULT. */
export function getString(cx: Cx, from: UAddr, max: number, tooLong: Result<never>): Result<string> {
  const bytes = readUserString(userMm(cx), from, max);
  if (isErr(bytes)) return bytes;
  return bytes.length >= max ? tooLong : byteString(bytes);
}
