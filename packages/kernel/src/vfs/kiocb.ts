/**
 * `struct kiocb`: one read or write in progress (include/linux/fs.h). It lies on the task's kernel stack, and tells a file
 * operation the file, the position and per-call flags.
 */
import { fromWords, hiWord, type KAddr, O } from "@alien-ts/abi";
import type { Cx } from "../core/cx.ts";
import { type Owned, ownerPtr } from "../core/owner.ts";
import type { File } from "./file.ts";
import { stackAlloc, writePointer } from "./path.ts";

export const kiocbp = ownerPtr<Kiocb>("kiocb");

/** ki_flags: the RWF_* of preadv2, and what the file's flags say. */
export const IOCB = {
  HIPRI: 1,
  DSYNC: 2,
  SYNC: 4,
  NOWAIT: 8,
  APPEND: 0x10,
  NOAPPEND: 0x20,
  ATOMIC: 0x40,
} as const;

export class Kiocb implements Owned {
  readonly addr: KAddr;
  readonly file: File;
  readonly flags: number;

  constructor(addr: KAddr, file: File, flags: number) {
    this.addr = addr;
    this.file = file;
    this.flags = flags;
  }

  /** ki_pos: the operation starts here, and leaves it behind the last byte. */
  get pos(): number {
    const { mem, vfs } = this.file.kernel;
    const at = this.addr + vfs.offsets.kiocbPos;
    return fromWords(mem.dv.getInt32(at, true), mem.dv.getInt32(at + 4, true));
  }
  set pos(pos: number) {
    const { mem, vfs } = this.file.kernel;
    const at = this.addr + vfs.offsets.kiocbPos;
    mem.dv.setInt32(at, pos | 0, true);
    mem.dv.setInt32(at + 4, hiWord(pos), true);
  }

  /** May not sleep: O_NONBLOCK, or RWF_NOWAIT. */
  get isNonBlocking(): boolean {
    return (this.flags & IOCB.NOWAIT) !== 0 || this.file.isNonBlocking;
  }
}

/** A kiocb on the kernel stack (see stackAlloc). */
export function stackKiocb(cx: Cx, file: File, pos: number, flags: number): Kiocb {
  const { mem, vfs } = cx.kernel;
  const { offsets } = vfs;
  const addr = stackAlloc(cx, offsets.kiocbSize);
  const isAppend = (file.flags & O.APPEND) !== 0 && (flags & IOCB.NOAPPEND) === 0;
  const all = flags | (isAppend ? IOCB.APPEND : 0);
  writePointer(mem, addr + offsets.kiocbFile, file.addr);
  mem.dv.setInt32(addr + offsets.kiocbFlags, all, true);
  const made = new Kiocb(addr, file, all);
  made.pos = pos;
  return made;
}
