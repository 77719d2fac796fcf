/** Files' types, modes and metadata (include/uapi/linux/stat.h, asm-generic/stat.h, statfs.h, dirent). */
import { array, chars, loff_t, s32, s64n, size_t, u16, u32, u64n, u8, ulong, long } from "../ctype.ts";
import { abiStruct, nested } from "../struct.ts";

export const S = {
  IFMT: 0xf000,
  IFSOCK: 0xc000,
  IFLNK: 0xa000,
  IFREG: 0x8000,
  IFBLK: 0x6000,
  IFDIR: 0x4000,
  IFCHR: 0x2000,
  IFIFO: 0x1000,
  ISUID: 0x800,
  ISGID: 0x400,
  ISVTX: 0x200,
  IRWXU: 0x1c0,
  IRUSR: 0x100,
  IWUSR: 0x80,
  IXUSR: 0x40,
  IRWXG: 0x38,
  IRGRP: 0x20,
  IWGRP: 0x10,
  IXGRP: 0x8,
  IRWXO: 0x7,
  IROTH: 4,
  IWOTH: 2,
  IXOTH: 1,
} as const;

/** Directory entry types: a mode's type bits, shifted. */
export const DT = { UNKNOWN: 0, FIFO: 1, CHR: 2, DIR: 4, BLK: 6, REG: 8, LNK: 10, SOCK: 12 } as const;

/** `struct stat` of the generic 64-bit ABI (riscv64, arm64): 128 bytes. */
export const stat = abiStruct("stat", {
  st_dev: ulong,
  st_ino: ulong,
  st_mode: u32,
  st_nlink: u32,
  st_uid: u32,
  st_gid: u32,
  st_rdev: ulong,
  __pad1: ulong,
  st_size: long,
  st_blksize: s32,
  __pad2: s32,
  st_blocks: long,
  st_atime: long,
  st_atime_nsec: ulong,
  st_mtime: long,
  st_mtime_nsec: ulong,
  st_ctime: long,
  st_ctime_nsec: ulong,
  __unused4: u32,
  __unused5: u32,
});

export const statx_timestamp = abiStruct("statx_timestamp", { tv_sec: s64n, tv_nsec: u32, __reserved: s32 });

/** 256 bytes. */
export const statx = abiStruct("statx", {
  stx_mask: u32,
  stx_blksize: u32,
  stx_attributes: u64n,
  stx_nlink: u32,
  stx_uid: u32,
  stx_gid: u32,
  stx_mode: u16,
  __spare0: u16,
  stx_ino: u64n,
  stx_size: u64n,
  stx_blocks: u64n,
  stx_attributes_mask: u64n,
  stx_atime: nested(statx_timestamp),
  stx_btime: nested(statx_timestamp),
  stx_ctime: nested(statx_timestamp),
  stx_mtime: nested(statx_timestamp),
  stx_rdev_major: u32,
  stx_rdev_minor: u32,
  stx_dev_major: u32,
  stx_dev_minor: u32,
  stx_mnt_id: u64n,
  stx_dio_mem_align: u32,
  stx_dio_offset_align: u32,
  __spare3: array(u64n, 12),
});

export const STATX = { BASIC_STATS: 0x7ff, BTIME: 0x800, MNT_ID: 0x1000 } as const;

export const statfs = abiStruct("statfs", {
  f_type: long,
  f_bsize: long,
  f_blocks: u64n,
  f_bfree: u64n,
  f_bavail: u64n,
  f_files: u64n,
  f_ffree: u64n,
  f_fsid: array(s32, 2),
  f_namelen: long,
  f_frsize: long,
  f_flags: long,
  f_spare: array(long, 4),
});

/** The fixed head of `struct linux_dirent64`; the name follows at byte 19, the record is padded to 8. */
export const linux_dirent64 = abiStruct("linux_dirent64", {
  d_ino: u64n,
  d_off: loff_t,
  d_reclen: u16,
  d_type: u8,
});
export const DIRENT64_NAME_OFFSET = 19;

/** Magic numbers of statfs(2). */
export const FS_MAGIC = {
  TMPFS: 0x01021994,
  PROC: 0x9fa0,
  SYSFS: 0x62656572,
  DEVPTS: 0x1cd1,
  PIPEFS: 0x50495045,
  SOCKFS: 0x534f434b,
  ANON_INODE: 0x09041934,
  DEBUGFS: 0x64626720,
  TRACEFS: 0x74726163,
  BPF: 0xcafe4a11,
} as const;

/** utimensat(2): special tv_nsec values. */
export const UTIME_NOW = 0x3fff_ffff;
export const UTIME_OMIT = 0x3fff_fffe;

export const MS = {
  RDONLY: 1,
  NOSUID: 2,
  NODEV: 4,
  NOEXEC: 8,
  SYNCHRONOUS: 16,
  REMOUNT: 32,
  MANDLOCK: 64,
  DIRSYNC: 128,
  NOSYMFOLLOW: 256,
  NOATIME: 1024,
  NODIRATIME: 2048,
  BIND: 4096,
  MOVE: 8192,
  REC: 16384,
  SILENT: 32768,
  UNBINDABLE: 1 << 17,
  PRIVATE: 1 << 18,
  SLAVE: 1 << 19,
  SHARED: 1 << 20,
  RELATIME: 1 << 21,
  STRICTATIME: 1 << 24,
  LAZYTIME: 1 << 25,
} as const;
export const MNT_FORCE = 1;
export const MNT_DETACH = 2;
export const MNT_EXPIRE = 4;
export const UMOUNT_NOFOLLOW = 8;

export const iovec = abiStruct("iovec", { iov_base: ulong, iov_len: size_t });
export const IOV_MAX = 1024;

/** uname(2): `struct new_utsname`, 390 bytes. */
export const new_utsname = abiStruct("new_utsname", {
  sysname: chars(65),
  nodename: chars(65),
  release: chars(65),
  version: chars(65),
  machine: chars(65),
  domainname: chars(65),
});
