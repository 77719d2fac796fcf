/**
 * The C types of the VFS that a guest can read, with Linux's names and nesting (include/linux/fs.h, dcache.h, path.h,
 * mount.h, fdtable.h, fs_struct.h, stat.h; fs/mount.h). What only the kernel needs (reference counts, caches, operation
 * tables) are plain fields of the classes that own these.
 */
import {
  abiStruct,
  anonymousStruct,
  anonymousUnion,
  loff_t,
  nested,
  ptr,
  s32,
  s64n,
  struct,
  u16,
  u32,
  u64n,
  u8,
  ulong,
  userPtr,
} from "@alien-ts/abi";
import { kgid_t, kuid_t } from "../core/cred.ts";

export const path = struct("path", { mnt: ptr("vfsmount"), dentry: ptr("dentry") });

export const qstr = struct("qstr", {
  hash_len: anonymousUnion({ words: anonymousStruct({ hash: u32, len: u32 }) }),
  name: ptr("unsigned char"),
});

export const dentry = struct("dentry", {
  d_flags: u32,
  d_parent: ptr("dentry"),
  d_name: nested(qstr),
  d_inode: ptr("inode"),
  d_op: ptr("dentry_operations"),
  d_sb: ptr("super_block"),
  d_time: ulong,
  d_fsdata: ptr("void"),
});

export const inode = struct("inode", {
  i_mode: u16,
  i_opflags: u16,
  i_uid: nested(kuid_t),
  i_gid: nested(kgid_t),
  i_flags: u32,
  i_op: ptr("inode_operations"),
  i_sb: ptr("super_block"),
  i_mapping: ptr("address_space"),
  i_ino: ulong,
  links: anonymousUnion({ i_nlink: u32, __i_nlink: u32 }),
  i_rdev: u32,
  i_size: loff_t,
  i_atime_sec: s64n,
  i_mtime_sec: s64n,
  i_ctime_sec: s64n,
  i_atime_nsec: u32,
  i_mtime_nsec: u32,
  i_ctime_nsec: u32,
  i_generation: u32,
  i_blkbits: u8,
  i_blocks: u64n,
  i_version: u64n,
  i_fop: ptr("file_operations"),
  i_private: ptr("void"),
});

export const super_block = struct("super_block", {
  s_dev: u32,
  s_blocksize_bits: u8,
  s_blocksize: ulong,
  s_maxbytes: loff_t,
  s_type: ptr("file_system_type"),
  s_flags: ulong,
  s_iflags: ulong,
  s_magic: ulong,
  s_root: ptr("dentry"),
  s_fs_info: ptr("void"),
  s_time_gran: u32,
});

export const vfsmount = struct("vfsmount", {
  mnt_root: ptr("dentry"),
  mnt_sb: ptr("super_block"),
  mnt_flags: s32,
  mnt_idmap: ptr("mnt_idmap"),
});

export const mount = struct("mount", {
  mnt_parent: ptr("mount"),
  mnt_mountpoint: ptr("dentry"),
  mnt: nested(vfsmount),
  mnt_devname: ptr("char"),
  mnt_ns: ptr("mnt_namespace"),
  mnt_id: s32,
  mnt_id_unique: u64n,
});

export const file = struct("file", {
  f_mode: u32,
  f_op: ptr("file_operations"),
  f_mapping: ptr("address_space"),
  private_data: ptr("void"),
  f_inode: ptr("inode"),
  f_flags: u32,
  f_iocb_flags: u32,
  f_cred: ptr("cred"),
  f_path: nested(path),
  f_pos: loff_t,
});

export const kiocb = struct("kiocb", {
  ki_filp: ptr("file"),
  ki_pos: loff_t,
  private: ptr("void"),
  ki_flags: s32,
  ki_ioprio: u16,
});

export const fdtable = struct("fdtable", {
  max_fds: u32,
  fd: ptr("void"),
  close_on_exec: ptr("unsigned long"),
  open_fds: ptr("unsigned long"),
  full_fds_bits: ptr("unsigned long"),
});

export const files_struct = struct("files_struct", {
  count: s32,
  fdt: ptr("fdtable"),
  fdtab: nested(fdtable),
  next_fd: u32,
});

export const fs_struct = struct("fs_struct", {
  users: s32,
  umask: s32,
  in_exec: s32,
  root: nested(path),
  pwd: nested(path),
});

export const filename = struct("filename", {
  name: ptr("char"),
  uptr: userPtr("char"),
  refcnt: s32,
});

export const open_flags = struct("open_flags", {
  open_flag: s32,
  mode: u16,
  acc_mode: s32,
  intent: s32,
  lookup_flags: s32,
});

/** openat2(2), include/uapi/linux/openat2.h. */
export const open_how = abiStruct("open_how", { flags: u64n, mode: u64n, resolve: u64n });

export const timespec64 = struct("timespec64", { tv_sec: s64n, tv_nsec: s64n });

export const kstat = struct("kstat", {
  result_mask: u32,
  mode: u16,
  nlink: u32,
  blksize: u32,
  attributes: u64n,
  attributes_mask: u64n,
  ino: u64n,
  dev: u32,
  rdev: u32,
  uid: nested(kuid_t),
  gid: nested(kgid_t),
  size: loff_t,
  atime: nested(timespec64),
  mtime: nested(timespec64),
  ctime: nested(timespec64),
  btime: nested(timespec64),
  blocks: u64n,
  mnt_id: u64n,
});

export const iattr = struct("iattr", {
  ia_valid: u32,
  ia_mode: u16,
  ia_uid: nested(kuid_t),
  ia_gid: nested(kgid_t),
  ia_size: loff_t,
  ia_atime: nested(timespec64),
  ia_mtime: nested(timespec64),
  ia_ctime: nested(timespec64),
  ia_file: ptr("file"),
});

export const renamedata = struct("renamedata", {
  mnt_idmap: ptr("mnt_idmap"),
  old_parent: ptr("dentry"),
  old_dentry: ptr("dentry"),
  new_parent: ptr("dentry"),
  new_dentry: ptr("dentry"),
  flags: u32,
});
