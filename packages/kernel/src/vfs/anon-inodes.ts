/**
 * Anonymous inodes: files that stand for no name (Linux: fs/anon_inodes.c). eventfd, epoll, timerfd, BPF maps and programs are
 * files on the one inode of this file system, each with a dentry named after its kind: "anon_inode:[eventfd]".
 */
import { EINVAL, FS_MAGIC, isErr, O, type Result, S } from "@alien-ts/abi";
import type { Cx } from "../core/cx.ts";
import { KernelBug } from "../core/kernel.ts";
import { no_open_fops } from "./char-dev.ts";
import { d_alloc_root, type DentryOperations, dput } from "./dentry.ts";
import { addFile } from "./fd-table.ts";
import { alloc_opened_file, type File, type FileOperations } from "./file.ts";
import { ihold, type Inode, new_inode } from "./inode.ts";
import { alloc_vfsmnt } from "./mount.ts";
import { alloc_super, deactivate_super, type FileSystemType, setRoot } from "./super.ts";
import { register_filesystem } from "./vfs.ts";

declare module "./vfs.ts" {
  interface Vfs {
    /** The inode that all anonymous files share. */
    anonInode: Inode;
  }
}

const anon_inodefs_dentry_operations: DentryOperations = { d_dname: (dentry) => `anon_inode:${dentry.name}` };

/** At boot, behind initVfs. */
export function initAnonInodes(cx: Cx): void {
  const { kernel } = cx;
  const type: FileSystemType = { name: "anon_inodefs", nodev: true, internal: true, mount: () => EINVAL };
  register_filesystem(kernel, type);
  const sb = alloc_super(kernel, { type, magic: FS_MAGIC.ANON_INODE, ops: {} });
  if (isErr(sb)) throw new KernelBug("no memory for anon_inodefs");
  const inode = new_inode(sb, { mode: S.IRUSR | S.IWUSR, i_op: {}, i_fop: no_open_fops });
  if (isErr(inode)) throw new KernelBug("no memory for anon_inodefs");
  ihold(inode);
  const root = d_alloc_root(cx, sb, inode, "/");
  if (isErr(root)) throw new KernelBug("no memory for anon_inodefs");
  setRoot(sb, root);
  const mnt = alloc_vfsmnt(sb, root, "anon_inodefs", 0);
  if (isErr(mnt)) throw new KernelBug("no memory for anon_inodefs");
  deactivate_super(cx, sb);
  kernel.vfs.anonMount = mnt;
  kernel.vfs.anonInode = inode;
}

/**
 * A file of `operations` with `private_data`, opened with `flags` (access mode, O_NONBLOCK; O_CLOEXEC belongs to the descriptor).
 * `name` is what /proc/<pid>/fd shows behind "anon_inode:". ENFILE, ENOMEM. On failure the private data stays the caller's.
 */
export function anon_inode_getfile(
  cx: Cx,
  name: string,
  operations: FileOperations,
  privateData: unknown,
  flags: number,
): Result<File> {
  const { vfs } = cx.kernel;
  ihold(vfs.anonInode);
  const dentry = d_alloc_root(cx, vfs.anonMount.sb, vfs.anonInode, name, anon_inodefs_dentry_operations);
  if (isErr(dentry)) return dentry;
  const file = alloc_opened_file(
    cx,
    { mnt: vfs.anonMount, dentry },
    flags & (O.ACCMODE | O.NONBLOCK),
    operations,
  );
  dput(cx, dentry);
  if (isErr(file)) return file;
  file.private_data = privateData;
  return file;
}

/** As anon_inode_getfile, with a descriptor. On failure `operations.release` has run when a file was made: EMFILE, ENFILE, ENOMEM. */
export function anon_inode_getfd(
  cx: Cx,
  name: string,
  operations: FileOperations,
  privateData: unknown,
  flags: number,
): Result<number> {
  const file = anon_inode_getfile(cx, name, operations, privateData, flags);
  return isErr(file) ? file : addFile(cx, file, (flags & O.CLOEXEC) !== 0);
}
