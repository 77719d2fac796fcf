/**
 * `struct filename`: a path name that was copied from user memory (Linux: fs/namei.c, getname). Probes on `do_sys_openat2`'s
 * callees read it by `filename->name`. `getname` takes, `putname` gives back.
 */
import {
  ENAMETOOLONG,
  ENOENT,
  ENOMEM,
  EFAULT,
  isErr,
  type KAddr,
  PATH_MAX,
  type Result,
  s32,
  type UAddr,
  userPtr,
} from "@alien-ts/abi";
import type { Kernel } from "../core/kernel.ts";
import { type Owned, ownerPtr, voidType } from "../core/owner.ts";
import { kernelFn } from "../core/row.ts";
import { readUserString } from "../mm/uaccess.ts";
import { byteString, bytesOf } from "./dentry.ts";
import { writePointer } from "./path.ts";

export const filenamep = ownerPtr<Filename>("filename");

/** getname's flag for calls with AT_EMPTY_PATH: an empty name is allowed. */
export const LOOKUP_EMPTY = 1 << 3;

export class Filename implements Owned {
  readonly addr: KAddr;
  /** Byte string. */
  readonly text: string;

  constructor(addr: KAddr, text: string) {
    this.addr = addr;
    this.text = text;
  }
}

/** A filename of kernel text, for paths that no user gave (getname_kernel). ENOMEM. */
export const getname_kernel = (kernel: Kernel, text: string): Result<Filename> =>
  allocate(kernel, bytesOf(text), text, 0);

function allocate(kernel: Kernel, bytes: Uint8Array, text: string, uptr: UAddr): Result<Filename> {
  const { kmalloc, mem } = kernel;
  const { offsets } = kernel.vfs;
  const head = offsets.filenameSize;
  const addr = kmalloc.kmalloc(head + bytes.length + 1, "filename");
  if (addr === 0) return ENOMEM;
  mem.u8.fill(0, addr, addr + head);
  mem.u8.set(bytes, addr + head);
  mem.u8[addr + head + bytes.length] = 0;
  writePointer(mem, addr + offsets.filenameName, addr + head);
  mem.dv.setUint32(addr + offsets.filenameUptr, uptr, true);
  mem.dv.setUint32(addr + offsets.filenameUptr + 4, Math.floor(uptr / 2 ** 32), true);
  mem.dv.setInt32(addr + offsets.filenameRefcnt, 1, true);
  const made = new Filename(addr, text);
  kmalloc.setOwner(addr, made);
  return made;
}

/** Copies a name from user memory. EFAULT, ENAMETOOLONG from 4096 bytes on, ENOENT when it is empty without LOOKUP_EMPTY. */
export const getname_flags = kernelFn(
  "getname_flags",
  [
    ["filename", userPtr("char")],
    ["flags", s32],
  ],
  filenamep,
  (cx, uptr, flags) => {
    const { mm } = cx.task;
    if (mm === null) return EFAULT;
    const bytes = readUserString(mm, uptr, PATH_MAX);
    if (isErr(bytes)) return bytes;
    if (bytes.length >= PATH_MAX) return ENAMETOOLONG;
    if (bytes.length === 0 && (flags & LOOKUP_EMPTY) === 0) return ENOENT;
    return allocate(cx.kernel, bytes, byteString(bytes), uptr);
  },
);

export const getname = kernelFn("getname", [["filename", userPtr("char")]], filenamep, (cx, uptr) =>
  getname_flags(cx, uptr, 0),
);

export const putname = kernelFn("putname", [["name", filenamep]], voidType, (cx, name) => {
  cx.kernel.kmalloc.kfree(name.addr);
  return undefined;
});
