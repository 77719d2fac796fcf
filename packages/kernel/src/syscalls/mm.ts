/** Memory: brk, mmap and its kin. Linux: mm/mmap.c, mm/mprotect.c, mm/madvise.c, mm/mlock.c, mm/mincore.c. */
import {
  CAP,
  EBADF,
  EFAULT,
  EINVAL,
  ENOMEM,
  EPERM,
  isErr,
  MAP,
  NR,
  PAGE_SIZE,
  type Result,
  RLIMIT,
  type UAddr,
  ulong,
} from "@alien-ts/abi";
import { capable } from "../core/cred.ts";
import type { Cx } from "../core/cx.ts";
import { kernelFn } from "../core/row.ts";
import { int, sizeArg, syscall, ulongArg, userPointer } from "../core/syscall.ts";
import { TASK_SIZE } from "../mm/address-space.ts";
import { do_brk, do_mmap, do_mremap, do_munmap, type MmapFile, populate } from "../mm/mmap.ts";
import { do_madvise, do_mincore, do_mlock, do_mprotect, do_msync } from "../mm/mprotect.ts";
import { access_ok, writeUserBytes } from "../mm/uaccess.ts";
import { VM } from "../mm/vma.ts";
import { fget, type File, fput, path_noexec } from "../vfs/file.ts";
import { userMm } from "../vfs/user.ts";

const ADDR = ["addr", ulongArg] as const;
const START = ["start", ulongArg] as const;
const LEN = ["len", sizeArg] as const;

export const sys_brk = syscall(NR.brk, "brk", [["brk", ulongArg]], (cx, brk) => do_brk(userMm(cx), brk));

export const sys_mmap = syscall(
  NR.mmap,
  "mmap",
  [ADDR, LEN, ["prot", int], ["flags", int], ["fd", int], ["offset", ulongArg]],
  (cx, addr, len, prot, flags, fd, offset) =>
    offset % PAGE_SIZE !== 0 ? EINVAL : ksys_mmap_pgoff(cx, addr, len, prot, flags, fd, offset / PAGE_SIZE),
);

export const ksys_mmap_pgoff = kernelFn(
  "ksys_mmap_pgoff",
  [
    ["addr", ulong],
    ["len", ulong],
    ["prot", ulong],
    ["flags", ulong],
    ["fd", ulong],
    ["pgoff", ulong],
  ],
  ulong,
  (cx, addr, length, prot, flags, fd, pgoff): Result<UAddr> => {
    const args = {
      addr,
      length,
      prot: (prot % 2 ** 32) | 0,
      flags: (flags % 2 ** 32) | 0,
      offset: pgoff * PAGE_SIZE,
    };
    if ((args.flags & MAP.ANONYMOUS) !== 0) return do_mmap(userMm(cx), { ...args, file: undefined });
    const file = fget(cx, (fd % 2 ** 32) >>> 0);
    if (isErr(file)) return file;
    if (file === null) return EBADF;
    const result = do_mmap(userMm(cx), { ...args, file: mmapFile(cx, file) });
    fput(cx, file);
    return result;
  },
);

/** What mmap asks of an open file. */
const mmapFile = (cx: Cx, file: File): MmapFile => ({
  readable: file.canRead,
  writable: file.canWrite,
  appendOnly: false,
  noexec: path_noexec(file.path),
  mmap: file.f_op.mmap === undefined ? undefined : (request) => file.f_op.mmap?.(cx, file, request) ?? EBADF,
});

export const sys_munmap = syscall(NR.munmap, "munmap", [ADDR, LEN], (cx, addr, length) =>
  do_munmap(userMm(cx), addr, length),
);

export const sys_mprotect = syscall(
  NR.mprotect,
  "mprotect",
  [START, LEN, ["prot", ulongArg]],
  (cx, start, length, prot) => (prot >= 2 ** 31 ? EINVAL : do_mprotect(userMm(cx), start, length, prot)),
);

export const sys_mremap = syscall(
  NR.mremap,
  "mremap",
  [ADDR, ["old_len", ulongArg], ["new_len", ulongArg], ["flags", ulongArg], ["new_addr", ulongArg]],
  (cx, addr, oldLength, newLength, flags, newAddr) =>
    flags >= 2 ** 31 ? EINVAL : do_mremap(userMm(cx), { addr, oldLength, newLength, flags, newAddr }),
);

export const sys_madvise = syscall(
  NR.madvise,
  "madvise",
  [START, ["len_in", sizeArg], ["behavior", int]],
  (cx, start, length, behavior) => do_madvise(userMm(cx), start, length, behavior),
);

export const sys_msync = syscall(
  NR.msync,
  "msync",
  [START, LEN, ["flags", int]],
  (cx, start, length, flags) => do_msync(userMm(cx), start, length, flags),
);

/** Whether `bytes` more may be locked. EPERM, ENOMEM. Linux: can_do_mlock(), do_mlock(). */
function mayLock(cx: Cx, bytes: number): Result<0> {
  const limit = cx.task.process.limit(RLIMIT.MEMLOCK);
  if (capable(cx, CAP.IPC_LOCK)) return 0;
  if (limit === 0) return EPERM;
  return userMm(cx).t.locked_vm * PAGE_SIZE + bytes > limit ? ENOMEM : 0;
}

function lock(cx: Cx, start: number, length: number): Result<0> {
  if (start + length > 2 ** 64 - PAGE_SIZE) return EINVAL;
  const bytes = Math.ceil(((start % PAGE_SIZE) + length) / PAGE_SIZE) * PAGE_SIZE;
  const allowed = mayLock(cx, bytes);
  if (isErr(allowed)) return allowed;
  return start > TASK_SIZE ? ENOMEM : do_mlock(userMm(cx), start, length, true);
}

export const sys_mlock = syscall(NR.mlock, "mlock", [START, LEN], lock);

const MLOCK_ONFAULT = 1;

export const sys_mlock2 = syscall(
  NR.mlock2,
  "mlock2",
  [START, LEN, ["flags", int]],
  (cx, start, length, flags) => ((flags & ~MLOCK_ONFAULT) !== 0 ? EINVAL : lock(cx, start, length)),
);

export const sys_munlock = syscall(NR.munlock, "munlock", [START, LEN], (cx, start, length) => {
  if (start + length > 2 ** 64 - PAGE_SIZE) return EINVAL;
  return start > TASK_SIZE ? ENOMEM : do_mlock(userMm(cx), start, length, false);
});

const MCL = { CURRENT: 1, FUTURE: 2, ONFAULT: 4 } as const;

export const sys_mlockall = syscall(
  NR.mlockall,
  "mlockall",
  [["flags", int]],
  (cx, flags) => {
    if (flags === 0 || flags === MCL.ONFAULT || (flags & ~(MCL.CURRENT | MCL.FUTURE | MCL.ONFAULT)) !== 0)
      return EINVAL;
    const mm = userMm(cx);
    const allowed = mayLock(cx, mm.t.total_vm * PAGE_SIZE);
    if (isErr(allowed)) return allowed;
    if ((flags & MCL.CURRENT) === 0) return 0;
    mm.changeFlags(0, TASK_SIZE, (old) => old | VM.LOCKED);
    if ((flags & MCL.ONFAULT) === 0) populate(mm, 0, TASK_SIZE);
    return 0;
  },
  { fidelity: { simplified: "MCL_FUTURE does not lock later mappings: no page ever leaves memory" } },
);

export const sys_munlockall = syscall(NR.munlockall, "munlockall", [], (cx) => {
  userMm(cx).changeFlags(0, TASK_SIZE, (old) => old & ~VM.LOCKED);
  return 0;
});

export const sys_mincore = syscall(
  NR.mincore,
  "mincore",
  [START, LEN, ["vec", userPointer("unsigned char")]],
  (cx, start, length, vec) => {
    if (start % PAGE_SIZE !== 0) return EINVAL;
    if (!access_ok(start, length)) return ENOMEM;
    if (!access_ok(vec, Math.ceil(length / PAGE_SIZE))) return EFAULT;
    const resident = do_mincore(userMm(cx), start, length);
    return isErr(resident) ? resident : writeUserBytes(userMm(cx), vec, resident);
  },
);

export const MM_SYSCALLS = [
  sys_brk,
  sys_mmap,
  sys_munmap,
  sys_mprotect,
  sys_mremap,
  sys_madvise,
  sys_msync,
  sys_mlock,
  sys_mlock2,
  sys_munlock,
  sys_mlockall,
  sys_munlockall,
  sys_mincore,
] as const;
