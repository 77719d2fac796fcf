/**
 * File systems that nobody mounts: pipefs and sockfs (Linux: fs/libfs.c, init_pseudo). Each has one mount of the kernel's own;
 * its files have an inode and a dentry of their own, whose name is made when someone asks for it ("pipe:[12]").
 */
import { type Errno, isErr, type Result, S } from "@alien-ts/abi";
import type { Cx } from "../core/cx.ts";
import { KernelBug } from "../core/kernel.ts";
import { d_alloc_root, type Dentry, type DentryOperations, dput } from "../vfs/dentry.ts";
import { alloc_opened_file, type File, type FileOperations, fput } from "../vfs/file.ts";
import { type Inode, new_inode } from "../vfs/inode.ts";
import { alloc_vfsmnt, type Mount } from "../vfs/mount.ts";
import {
  alloc_super,
  deactivate_super,
  type FileSystemType,
  setRoot,
  type SuperOperations,
} from "../vfs/super.ts";
import { register_filesystem } from "../vfs/vfs.ts";

export interface PseudoFs {
  readonly name: string;
  /** statfs' f_type (include/uapi/linux/magic.h). */
  readonly magic: number;
  readonly ops?: SuperOperations;
}

/** Registers the type and makes its only mount. Called at boot: running out of memory stops the kernel. */
export function mountPseudoFs(cx: Cx, fs: PseudoFs): Mount {
  const { kernel } = cx;
  const type: FileSystemType = {
    name: fs.name,
    nodev: true,
    internal: true,
    mount: () => {
      throw new KernelBug(`${fs.name} is not mounted by users`);
    },
  };
  register_filesystem(kernel, type);
  const sb = alloc_super(kernel, { type, magic: fs.magic, ops: fs.ops ?? {} });
  if (isErr(sb)) throw new KernelBug(`no memory for ${fs.name}`);
  const inode = new_inode(sb, { mode: S.IFDIR | 0o555, i_op: {}, i_fop: { name: "simple_dir_operations" } });
  if (isErr(inode)) throw new KernelBug(`no memory for ${fs.name}`);
  const root = d_alloc_root(cx, sb, inode, `${fs.name}:`);
  if (isErr(root)) throw new KernelBug(`no memory for ${fs.name}`);
  setRoot(sb, root);
  const mnt = alloc_vfsmnt(sb, root, fs.name, 0);
  if (isErr(mnt)) throw new KernelBug(`no memory for ${fs.name}`);
  deactivate_super(cx, sb);
  return mnt;
}

export interface PseudoInode {
  /** Type and permissions. */
  readonly mode: number;
  readonly i_fop: FileOperations;
  readonly data: unknown;
}

/** A fresh inode of the mount's super block, owned by the current task. ENOMEM. */
export function pseudoInode(cx: Cx, mnt: Mount, fields: PseudoInode): Result<Inode> {
  const { cred } = cx.task;
  return new_inode(mnt.sb, { ...fields, i_op: {}, uid: cred.fsuid, gid: cred.fsgid });
}

/** The name of a pseudo file is its file system's and the inode number. */
export const numberedName = (prefix: string): DentryOperations => ({
  d_dname: (dentry: Dentry) => `${prefix}:[${dentry.inode?.ino ?? 0}]`,
});

export interface PseudoFiles {
  readonly d_op: DentryOperations;
  /** One file is opened per element. */
  readonly flags: readonly number[];
  /** Connects a file with what it stands for, so that its release undoes that. */
  opened(file: File): void;
}

/** Open files on `inode`, whose reference is handed over (alloc_file_pseudo). ENFILE, ENOMEM: with none left open. */
export function pseudoFiles(cx: Cx, mnt: Mount, inode: Inode, options: PseudoFiles): Result<File[]> {
  const dentry = d_alloc_root(cx, mnt.sb, inode, "", options.d_op);
  if (isErr(dentry)) return dentry;
  const files: File[] = [];
  let failure: Errno | undefined;
  for (const flags of options.flags) {
    const file = alloc_opened_file(cx, { mnt, dentry }, flags, inode.i_fop);
    if (isErr(file)) {
      failure = file;
      break;
    }
    options.opened(file);
    files.push(file);
  }
  dput(cx, dentry);
  if (failure === undefined) return files;
  for (const file of files) fput(cx, file);
  return failure;
}
