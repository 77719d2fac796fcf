/**
 * Character devices: which operations stand behind a device number (Linux: fs/char_dev.c). A driver registers a range; opening
 * a device node finds it, puts its operations into the file, and opens that.
 */
import { ENXIO, EBUSY, isErr, type Result } from "@alien-ts/abi";
import type { Cx } from "../core/cx.ts";
import type { Kernel } from "../core/kernel.ts";
import { andThen, type MaybeBlocking } from "./blocking.ts";
import type { File, FileOperations } from "./file.ts";
import type { Inode } from "./inode.ts";

/** Linux's dev_t: 12 bits of major, 20 of minor. */
export const MKDEV = (major: number, minor: number): number => ((major << 20) | minor) >>> 0;
export const MAJOR = (dev: number): number => dev >>> 20;
export const MINOR = (dev: number): number => dev & 0xf_ffff;

/** As stat(2) shows a device number (new_encode_dev). */
export const new_encode_dev = (dev: number): number =>
  ((MINOR(dev) & 0xff) | (MAJOR(dev) << 8) | ((MINOR(dev) & ~0xff) << 12)) >>> 0;
/** As mknod(2) takes it (new_decode_dev). */
export const new_decode_dev = (encoded: number): number =>
  MKDEV((encoded & 0xf_ff00) >>> 8, (encoded & 0xff) | ((encoded >>> 12) & 0xf_ff00));

interface Region {
  readonly name: string;
  readonly first: number;
  readonly count: number;
  readonly operations: FileOperations;
}

export class CharDevices {
  readonly #regions: Region[] = [];

  /** Device numbers [first, first + count). EBUSY when one is taken. */
  register(name: string, first: number, count: number, operations: FileOperations): Result<0> {
    if (this.#regions.some((held) => held.first < first + count && first < held.first + held.count))
      return EBUSY;
    this.#regions.push({ name, first, count, operations });
    return 0;
  }

  unregister(first: number): void {
    const at = this.#regions.findIndex((held) => held.first === first);
    if (at >= 0) this.#regions.splice(at, 1);
  }

  find(dev: number): FileOperations | undefined {
    return this.#regions.find((held) => dev >= held.first && dev < held.first + held.count)?.operations;
  }

  /** Majors and names, as /proc/devices lists them. */
  list(): { readonly major: number; readonly name: string }[] {
    return this.#regions.map(({ first, name }) => ({ major: MAJOR(first), name }));
  }
}

/** Registers a driver's device numbers. Linux: register_chrdev_region() and cdev_add(). */
export const register_chrdev = (
  kernel: Kernel,
  name: string,
  first: number,
  count: number,
  operations: FileOperations,
): Result<0> => kernel.vfs.charDevices.register(name, first, count, operations);

/** i_fop of character device nodes. */
export const def_chr_fops: FileOperations = {
  name: "def_chr_fops",
  open(cx: Cx, inode: Inode, file: File): MaybeBlocking<Result<0>> {
    const operations = cx.kernel.vfs.charDevices.find(inode.rdev);
    if (operations === undefined) return ENXIO;
    file.f_op = operations;
    return operations.open === undefined
      ? 0
      : andThen(operations.open(cx, inode, file), (r) => (isErr(r) ? r : 0));
  },
};

/** i_fop of block device nodes: there are no drivers. */
export const def_blk_fops: FileOperations = { name: "def_blk_fops", open: () => ENXIO };

/** i_fop of socket nodes: they cannot be opened. */
export const no_open_fops: FileOperations = { name: "no_open_fops", open: () => ENXIO };
