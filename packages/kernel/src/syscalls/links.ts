/** Links and names: linkat, symlinkat, readlinkat, renameat, renameat2, name_to_handle_at. Linux: fs/namei.c, fs/stat.c, fs/fhandle.c. */
import { AT, EINVAL, ENOENT, EOPNOTSUPP, isErr, NR, type Result, type UAddr } from "@alien-ts/abi";
import type { Cx } from "../core/cx.ts";
import { int, syscall, uint, userPointer } from "../core/syscall.ts";
import { getname_flags, LOOKUP_EMPTY, putname } from "../vfs/filename.ts";
import { path_put } from "../vfs/mount.ts";
import { LOOKUP, lookupPath, userPath } from "../vfs/namei.ts";
import { do_linkat, do_renameat2, do_symlinkat } from "../vfs/namei-ops.ts";
import { touch_atime, vfs_readlink } from "../vfs/stat.ts";

const NAME = userPointer("const char");

export const sys_linkat = syscall(
  NR.linkat,
  "linkat",
  [
    ["olddfd", int],
    ["oldname", NAME],
    ["newdfd", int],
    ["newname", NAME],
    ["flags", int],
  ],
  (cx, olddfd, oldname, newdfd, newname, flags) => {
    const old = getname_flags(cx, oldname, (flags & AT.EMPTY_PATH) !== 0 ? LOOKUP_EMPTY : 0);
    if (isErr(old)) return old;
    const fresh = getname_flags(cx, newname, 0);
    if (isErr(fresh)) {
      putname(cx, old);
      return fresh;
    }
    return do_linkat(cx, olddfd, old, newdfd, fresh, flags);
  },
);

export const sys_symlinkat = syscall(
  NR.symlinkat,
  "symlinkat",
  [
    ["oldname", NAME],
    ["newdfd", int],
    ["newname", NAME],
  ],
  (cx, oldname, newdfd, newname) => {
    const target = getname_flags(cx, oldname, 0);
    if (isErr(target)) return target;
    const name = getname_flags(cx, newname, 0);
    if (isErr(name)) {
      putname(cx, target);
      return name;
    }
    return do_symlinkat(cx, target, newdfd, name);
  },
);

export const sys_readlinkat = syscall(
  NR.readlinkat,
  "readlinkat",
  [
    ["dfd", int],
    ["pathname", NAME],
    ["buf", userPointer("char")],
    ["bufsiz", int],
  ],
  (cx, dfd, pathname, buf, bufsiz) => {
    if (bufsiz <= 0) return EINVAL;
    const name = getname_flags(cx, pathname, LOOKUP_EMPTY);
    if (isErr(name)) return name;
    const isEmpty = name.text === "";
    const place = lookupPath(cx, dfd, name, 0);
    putname(cx, name);
    if (isErr(place)) return place;
    const isLink = place.dentry.inode?.isSymlink === true;
    // An empty name means the descriptor, which must be a link: any other name must name one.
    const result = isLink ? vfs_readlink(cx, place.dentry, buf, bufsiz) : isEmpty ? ENOENT : EINVAL;
    if (!isErr(result)) touch_atime(place);
    path_put(cx, place);
    return result;
  },
);

function rename(
  cx: Cx,
  olddfd: number,
  oldname: UAddr,
  newdfd: number,
  newname: UAddr,
  flags: number,
): Result<number> {
  const from = getname_flags(cx, oldname, 0);
  if (isErr(from)) return from;
  const to = getname_flags(cx, newname, 0);
  if (isErr(to)) {
    putname(cx, from);
    return to;
  }
  return do_renameat2(cx, olddfd, from, newdfd, to, flags);
}

/** riscv64 has no renameat number of its own in the generic table: 38, for programs of other ports. */
const NR_RENAMEAT = 38;

export const sys_renameat = syscall(
  NR_RENAMEAT,
  "renameat",
  [
    ["olddfd", int],
    ["oldname", NAME],
    ["newdfd", int],
    ["newname", NAME],
  ],
  (cx, olddfd, oldname, newdfd, newname) => rename(cx, olddfd, oldname, newdfd, newname, 0),
);

export const sys_renameat2 = syscall(
  NR.renameat2,
  "renameat2",
  [
    ["olddfd", int],
    ["oldname", NAME],
    ["newdfd", int],
    ["newname", NAME],
    ["flags", uint],
  ],
  (cx, olddfd, oldname, newdfd, newname, flags) => rename(cx, olddfd, oldname, newdfd, newname, flags),
);

/** No file system here can be exported: EOPNOTSUPP for every file that exists. */
export const sys_name_to_handle_at = syscall(
  NR.name_to_handle_at,
  "name_to_handle_at",
  [
    ["dfd", int],
    ["name", NAME],
    ["handle", userPointer("struct file_handle")],
    ["mnt_id", userPointer("void")],
    ["flag", int],
  ],
  (cx, dfd, name, _handle, _mountId, flag) => {
    if ((flag & ~(AT.SYMLINK_FOLLOW | AT.EMPTY_PATH | AT.REMOVEDIR | 1)) !== 0) return EINVAL;
    const follow = (flag & AT.SYMLINK_FOLLOW) !== 0 ? LOOKUP.FOLLOW : 0;
    const empty = (flag & AT.EMPTY_PATH) !== 0 ? LOOKUP.EMPTY : 0;
    const place = userPath(cx, dfd, name, follow | empty);
    if (isErr(place)) return place;
    path_put(cx, place);
    return EOPNOTSUPP;
  },
);

export const LINK_SYSCALLS = [
  sys_linkat,
  sys_symlinkat,
  sys_readlinkat,
  sys_renameat,
  sys_renameat2,
  sys_name_to_handle_at,
] as const;
