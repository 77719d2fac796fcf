/**
 * Mounts: the tree that joins file systems into one name space (Linux: fs/namespace.c, fs/mount.h). A `Mount` shows the part of
 * a super block below `root` at `mountpoint` of its parent mount; a bind mount is a second mount of the same super block.
 *
 * `mnt_set_mountpoint`/`detachMount` edit the tree, `lookupMnt` finds what is mounted on a dentry, `mntget`/`mntput` count. A mount
 * in the tree holds one reference to itself; one that was detached lives until its last user is gone.
 *
 * Differs from Linux: one mount namespace per kernel, and all mounts are private (no propagation).
 */
import { ENOMEM, type KAddr, MS, type Result, type ViewOf } from "@alien-ts/abi";
import type { Cx } from "../core/cx.ts";
import type { Kernel } from "../core/kernel.ts";
import type { Owned } from "../core/owner.ts";
import { bytesOf, DCACHE, type Dentry, dget, dput } from "./dentry.ts";
import { mount, type vfsmount } from "./structs.ts";
import { deactivate_super, type SuperBlock } from "./super.ts";

/** A place in the name space. Holds references only where a function says so. */
export interface PathRef {
  readonly mnt: Mount;
  readonly dentry: Dentry;
}

/** mnt_flags (include/linux/mount.h). */
export const MNT = {
  NOSUID: 1,
  NODEV: 2,
  NOEXEC: 4,
  NOATIME: 8,
  NODIRATIME: 0x10,
  RELATIME: 0x20,
  READONLY: 0x40,
  NOSYMFOLLOW: 0x80,
} as const;

const MS_TO_MNT = [
  [MS.NOSUID, MNT.NOSUID],
  [MS.NODEV, MNT.NODEV],
  [MS.NOEXEC, MNT.NOEXEC],
  [MS.NOATIME, MNT.NOATIME],
  [MS.NODIRATIME, MNT.NODIRATIME],
  [MS.RDONLY, MNT.READONLY],
  [MS.NOSYMFOLLOW, MNT.NOSYMFOLLOW],
] as const;

/** The mount's share of mount(2)'s flags; relatime is the default, as since 2.6.30. */
export function mntFlagsOf(msFlags: number): number {
  let flags = 0;
  for (const [ms, mnt] of MS_TO_MNT) if ((msFlags & ms) !== 0) flags |= mnt;
  if ((msFlags & (MS.NOATIME | MS.STRICTATIME)) === 0) flags |= MNT.RELATIME;
  return flags;
}

export class Mount implements Owned {
  readonly kernel: Kernel;
  readonly addr: KAddr;
  readonly t: ViewOf<typeof mount>;
  /** The embedded struct vfsmount: held, since walks read it. */
  readonly mnt: ViewOf<typeof vfsmount>;
  readonly sb: SuperBlock;
  readonly root: Dentry;
  /** The source as given to mount(2). */
  readonly source: string;
  /** Itself while it is not attached, and for the root of the tree. */
  parent: Mount = this;
  mountpoint: Dentry;
  /** Mounts on top of dentries of this one. */
  readonly children = new Map<Dentry, Mount>();
  refs = 1;
  /** In the name space's tree. */
  isAttached = false;
  /** umount(MNT_EXPIRE) marked it and nobody used it since. */
  isExpiring = false;

  constructor(sb: SuperBlock, addr: KAddr, root: Dentry, source: string) {
    const { kernel } = sb;
    this.kernel = kernel;
    this.addr = addr;
    this.t = new (kernel.layout.view(mount))(kernel.mem, addr);
    this.mnt = this.t.mnt;
    this.sb = sb;
    this.root = root;
    this.source = source;
    this.mountpoint = root;
    this.mnt.mnt_root = root.addr;
    this.mnt.mnt_sb = sb.addr;
    this.mnt.mnt_idmap = kernel.vfs.nopIdmap;
    this.t.mnt_parent = addr;
    this.t.mnt_mountpoint = root.addr;
  }

  /** Address of the embedded struct vfsmount, which paths point to. */
  get mntAddr(): KAddr {
    return this.addr + this.kernel.vfs.offsets.mountMnt;
  }
  get flags(): number {
    return this.mnt.mnt_flags;
  }
  set flags(flags: number) {
    this.mnt.mnt_flags = flags;
  }
  get id(): number {
    return this.t.mnt_id;
  }
  /** mnt_idmap, as permission checks pass it on. */
  get idmap(): KAddr {
    return this.mnt.mnt_idmap;
  }
  get isReadOnly(): boolean {
    return (this.flags & MNT.READONLY) !== 0 || this.sb.isReadOnly;
  }
}

/** An unattached mount with one reference; takes its own references to `sb` and `root`. ENOMEM. */
export function alloc_vfsmnt(sb: SuperBlock, root: Dentry, source: string, flags: number): Result<Mount> {
  const { kernel } = sb;
  const addr = kernel.kmalloc.kzalloc(kernel.layout.size(mount), "mount");
  if (addr === 0) return ENOMEM;
  const name = kernel.kmalloc.kzalloc(source.length + 1, "mount name");
  if (name === 0) {
    kernel.kmalloc.kfree(addr);
    return ENOMEM;
  }
  kernel.mem.u8.set(bytesOf(source), name);
  const made = new Mount(sb, addr, dget(root), source);
  kernel.kmalloc.setOwner(addr, made);
  sb.active += 1;
  made.t.mnt_devname = name;
  made.t.mnt_id = kernel.vfs.takeMountId();
  made.t.mnt_id_unique = 0x8000_0000 + made.t.mnt_id;
  made.flags = flags;
  return made;
}

export function mntget(held: Mount): Mount {
  held.refs += 1;
  return held;
}

/** Gives a reference back. Somebody used the mount: a mark of MNT_EXPIRE goes. */
export function mntput(cx: Cx, put: Mount): void {
  put.isExpiring = false;
  mntput_no_expire(cx, put);
}

/** As mntput, for umount2 itself, which does not count as a use. */
export function mntput_no_expire(cx: Cx, put: Mount): void {
  put.refs -= 1;
  if (put.refs > 0) return;
  const { kernel } = put;
  dput(cx, put.root);
  deactivate_super(cx, put.sb);
  kernel.vfs.giveMountId(put.id);
  kernel.kmalloc.kfree(put.t.mnt_devname);
  kernel.kmalloc.kfree(put.addr);
}

export function path_get<P extends PathRef>(held: P): P {
  mntget(held.mnt);
  dget(held.dentry);
  return held;
}

export function path_put(cx: Cx, put: PathRef): void {
  dput(cx, put.dentry);
  mntput(cx, put.mnt);
}

/** Device nodes of the mount do not work. */
export const mnt_is_nodev = (mnt: Mount): boolean => (mnt.flags & MNT.NODEV) !== 0;

/** What is mounted on `dentry` of `mnt`, without a reference. */
export function lookupMnt(mnt: Mount, dentry: Dentry): Mount | undefined {
  return dentry.mounts === 0 ? undefined : mnt.children.get(dentry);
}

/** The top of whatever is mounted at a place. */
export function topMount(path: PathRef): PathRef {
  let at = path;
  for (;;) {
    const upper = lookupMnt(at.mnt, at.dentry);
    if (upper === undefined) return at;
    at = { mnt: upper, dentry: upper.root };
  }
}

/** Puts `child` on top of a place. The tree takes the caller's reference to `child`, and its own to the place. */
export function attachMount(child: Mount, at: PathRef): void {
  child.parent = mntget(at.mnt);
  child.mountpoint = dget(at.dentry);
  child.t.mnt_parent = at.mnt.addr;
  child.t.mnt_mountpoint = at.dentry.addr;
  child.isAttached = true;
  at.mnt.children.set(at.dentry, child);
  at.dentry.mounts += 1;
  at.dentry.t.d_flags |= DCACHE.MOUNTED;
}

/** Takes a mount off its place, keeping the reference that the tree had (now the caller's). */
export function detachMount(cx: Cx, child: Mount): void {
  const { parent, mountpoint } = child;
  parent.children.delete(mountpoint);
  mountpoint.mounts -= 1;
  if (mountpoint.mounts === 0) mountpoint.t.d_flags &= ~DCACHE.MOUNTED;
  child.parent = child;
  child.mountpoint = child.root;
  child.t.mnt_parent = child.addr;
  child.t.mnt_mountpoint = child.root.addr;
  child.isAttached = false;
  dput(cx, mountpoint);
  mntput(cx, parent);
}

/** `mnt` and everything mounted below it, parents first. */
export function mountsBelow(mnt: Mount): Mount[] {
  return [mnt, ...[...mnt.children.values()].flatMap(mountsBelow)];
}
