/** memfd_create(2) and file seals (fcntl F_ADD_SEALS, F_GET_SEALS). Linux: mm/memfd.c. */
import { EBUSY, EINVAL, EPERM, F_SEAL, isErr, MFD, O, type Result, S, s32, u32 } from "@alien-ts/abi";
import type { Cx } from "../../core/cx.ts";
import { kernelFn } from "../../core/row.ts";
import { VM } from "../../mm/vma.ts";
import { d_alloc_root, type DentryOperations, dput } from "../../vfs/dentry.ts";
import { alloc_opened_file, type File, filep } from "../../vfs/file.ts";
import { shmem_file_operations } from "./file-operations.ts";
import { shmem_get_inode } from "./inode-operations.ts";
import { nodeOf, TmpNode } from "./node.ts";

const shmem_dentry_operations: DentryOperations = { d_dname: (dentry) => `/${dentry.name} (deleted)` };

/** An unnamed tmpfs file, read and write, called "memfd:<name>". ENOMEM, ENFILE. `flags` of MFD, checked by the caller. */
export function memfdFile(cx: Cx, name: string, flags: number): Result<File> {
  const mnt = cx.kernel.vfs.shmMount;
  const isNoExec = (flags & MFD.NOEXEC_SEAL) !== 0;
  const inode = shmem_get_inode(cx, mnt.sb, null, S.IFREG | (isNoExec ? 0o666 : 0o777));
  if (isErr(inode)) return inode;
  inode.nlink = 0;
  const node = nodeOf(inode);
  if (isNoExec) node.seals = F_SEAL.EXEC;
  else if ((flags & MFD.ALLOW_SEALING) !== 0) node.seals = 0;
  const dentry = d_alloc_root(cx, mnt.sb, inode, `memfd:${name}`, shmem_dentry_operations);
  if (isErr(dentry)) return dentry;
  const file = alloc_opened_file(cx, { mnt, dentry }, O.RDWR | O.LARGEFILE, shmem_file_operations);
  dput(cx, dentry);
  if (!isErr(file)) inode.writers += 1;
  return file;
}

const ALL_SEALS =
  F_SEAL.SEAL | F_SEAL.SHRINK | F_SEAL.GROW | F_SEAL.WRITE | F_SEAL.FUTURE_WRITE | F_SEAL.EXEC;

/** EPERM without write access or once sealed, EINVAL for other files, EBUSY while a shared mapping can write. */
export const memfd_add_seals = kernelFn(
  "memfd_add_seals",
  [
    ["file", filep],
    ["seals", u32],
  ],
  s32,
  (_cx, file, seals): Result<number> => {
    if (!file.canWrite) return EPERM;
    if ((seals & ~ALL_SEALS) !== 0) return EINVAL;
    const node = file.inode.data;
    if (!(node instanceof TmpNode) || !file.inode.isRegular) return EINVAL;
    if ((node.seals & F_SEAL.SEAL) !== 0) return EPERM;
    if ((seals & F_SEAL.WRITE) !== 0 && (node.seals & F_SEAL.WRITE) === 0) {
      for (const vma of file.inode.pages?.areas ?? [])
        if ((vma.flags & (VM.SHARED | VM.MAYWRITE)) === (VM.SHARED | VM.MAYWRITE)) return EBUSY;
    }
    // Sealing execution of a file that can be executed seals its contents too (6.3).
    const implied =
      (seals & F_SEAL.EXEC) !== 0 && (file.inode.mode & 0o111) !== 0
        ? F_SEAL.SHRINK | F_SEAL.GROW | F_SEAL.WRITE | F_SEAL.FUTURE_WRITE
        : 0;
    node.seals |= seals | implied;
    return 0;
  },
  { local: true },
);

export function memfd_get_seals(file: File): Result<number> {
  const node = file.inode.data;
  return node instanceof TmpNode && file.inode.isRegular ? node.seals : EINVAL;
}
