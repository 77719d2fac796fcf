/**
 * tmpfs: a file system in memory (Linux: mm/shmem.c, Documentation/filesystems/tmpfs.rst). The root file system and /tmp; devtmpfs
 * is another type of the same.
 *
 * File contents are pages of linear memory (shmem.ts), which mmap shows as they are. Directories keep their children as pinned
 * dentries: the cache is the file system. `initTmpfs` registers the type and makes the kernel's own mount for memfds.
 */
import { ENOMEM, FS_MAGIC, isErr, PAGE_SIZE, type Result, S } from "@alien-ts/abi";
import type { Cx } from "../../core/cx.ts";
import { KernelBug } from "../../core/kernel.ts";
import { d_alloc_root, d_drop, type Dentry, dput } from "../../vfs/dentry.ts";
import { alloc_vfsmnt, type Mount } from "../../vfs/mount.ts";
import {
  alloc_super,
  deactivate_super,
  type FileSystemType,
  type MountRequest,
  setRoot,
  type SuperBlock,
  type SuperOperations,
} from "../../vfs/super.ts";
import { register_filesystem } from "../../vfs/vfs.ts";
import { evictTmpInode, infoOf, shmem_get_inode } from "./inode-operations.ts";
import { TmpfsInfo } from "./options.ts";

declare module "../../vfs/vfs.ts" {
  interface Vfs {
    /** The kernel's own tmpfs: memfds live there. */
    shmMount: Mount;
  }
}

const shmem_ops: SuperOperations = {
  evict_inode: (_cx, inode) => evictTmpInode(inode.sb, inode),
  kill_litter(cx, sb) {
    if (sb.t.s_root !== 0) unpinBelow(cx, sb.root);
  },
  statfs(_cx, sb) {
    const { maxPages, usedPages, maxInodes, usedInodes } = infoOf(sb);
    const blocks = Number.isFinite(maxPages) ? maxPages : 0;
    const bfree = blocks === 0 ? 0 : blocks - usedPages;
    const files = Number.isFinite(maxInodes) ? maxInodes : 0;
    return {
      bsize: PAGE_SIZE,
      blocks,
      bfree,
      bavail: bfree,
      files,
      ffree: files === 0 ? 0 : files - usedInodes,
    };
  },
  show_options: (_cx, sb) => infoOf(sb).show(),
  reconfigure: (cx, sb, options) => infoOf(sb).apply(cx.kernel, options),
};

/** Gives up the references that keep a tree in memory (d_genocide). */
function unpinBelow(cx: Cx, parent: Dentry): void {
  for (const child of parent.children?.values() ?? []) {
    unpinBelow(cx, child);
    d_drop(child);
    dput(cx, child);
  }
}

/** A fresh instance (shmem_fill_super). EINVAL for bad options, ENOMEM. */
export function makeTmpfs(cx: Cx, { type, flags, options }: MountRequest): Result<SuperBlock> {
  const info = new TmpfsInfo(cx.kernel);
  const applied = info.apply(cx.kernel, options);
  if (isErr(applied)) return applied;
  const sb = alloc_super(cx.kernel, { type, flags, magic: FS_MAGIC.TMPFS, ops: shmem_ops, info });
  if (isErr(sb)) return sb;
  const inode = shmem_get_inode(cx, sb, null, S.IFDIR | info.mode);
  const root = isErr(inode) ? inode : d_alloc_root(cx, sb, inode);
  if (isErr(root) || isErr(inode)) {
    deactivate_super(cx, sb);
    return isErr(inode) ? inode : ENOMEM;
  }
  inode.t.i_uid.val = info.uid;
  inode.t.i_gid.val = info.gid;
  setRoot(sb, root);
  return sb;
}

/** A file system type that behaves as tmpfs: tmpfs itself, devtmpfs. */
export const tmpfsType = (name: string): FileSystemType => ({
  name,
  nodev: true,
  mount: (cx, request) => makeTmpfs(cx, request),
});

/** At boot, behind initVfs. */
export function initTmpfs(cx: Cx): void {
  const { kernel } = cx;
  const type = tmpfsType("tmpfs");
  register_filesystem(kernel, type);
  const sb = makeTmpfs(cx, { type, flags: 0, source: "tmpfs", options: "size=0,nr_inodes=0" });
  if (isErr(sb)) throw new KernelBug("no memory for the kernel's tmpfs");
  const mnt = alloc_vfsmnt(sb, sb.root, "tmpfs", 0);
  if (isErr(mnt)) throw new KernelBug("no memory for the kernel's tmpfs");
  deactivate_super(cx, sb);
  kernel.vfs.shmMount = mnt;
}
