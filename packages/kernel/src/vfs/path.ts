/**
 * `struct path` in linear memory, and memory on a task's kernel stack for structs that Linux keeps there (struct path, loff_t,
 * struct kiocb, struct renamedata): a probe on `vfs_open` or `vfs_read` can follow the pointer that it is given.
 */
import type { KAddr, LinearMemory } from "@alien-ts/abi";
import type { Cx } from "../core/cx.ts";
import { KernelBug, type Kernel } from "../core/kernel.ts";
import { type Owned, ownerPtr } from "../core/owner.ts";
import type { Dentry } from "./dentry.ts";
import type { Mount, PathRef } from "./mount.ts";

export const pathp = ownerPtr<Path>("path");

/** A place, with its struct at `addr`. Holds no references of its own. */
export class Path implements Owned, PathRef {
  readonly addr: KAddr;
  readonly mnt: Mount;
  readonly dentry: Dentry;

  constructor(addr: KAddr, mnt: Mount, dentry: Dentry) {
    this.addr = addr;
    this.mnt = mnt;
    this.dentry = dentry;
    writePath(mnt.kernel, addr, mnt, dentry);
  }
}

/** Writes a struct path. */
export function writePath(kernel: Kernel, addr: KAddr, mnt: Mount, dentry: Dentry): void {
  const { offsets } = kernel.vfs;
  writePointer(kernel.mem, addr + offsets.pathMnt, mnt.mntAddr);
  writePointer(kernel.mem, addr + offsets.pathDentry, dentry.addr);
}

/** Writes a kernel pointer that is not NULL. For structs on the stack: a view made for one use costs more than they do. */
export function writePointer(mem: LinearMemory, at: KAddr, value: KAddr): void {
  mem.dv.setUint32(at, value, true);
  mem.dv.setUint32(at + 4, mem.baseHi, true);
}

const STACK_ALIGN = 16;
const STACK_RESERVE_BYTES = 512;

/**
 * `size` zeroed bytes on the task's kernel stack. The caller saves `cx.ksp` before and restores it when its function returns;
 * functions nest per task, so this holds across sleeping.
 */
export function stackAlloc(cx: Cx, size: number): KAddr {
  const at = (cx.ksp - size) & -STACK_ALIGN;
  if (at - STACK_RESERVE_BYTES < cx.kstackBase)
    throw new KernelBug(`kernel stack overflow in task ${cx.task.pid}`);
  cx.kernel.mem.u8.fill(0, at, at + size);
  cx.ksp = at;
  return at;
}

/** A path on the kernel stack (see stackAlloc). */
export function stackPath(cx: Cx, place: PathRef): Path {
  return new Path(stackAlloc(cx, cx.kernel.vfs.offsets.pathSize), place.mnt, place.dentry);
}
