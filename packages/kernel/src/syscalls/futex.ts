/** futex(2), set_robust_list(2), membarrier(2), shmget(2) and its kin. */
import {
  abiStruct,
  EFAULT,
  EINVAL,
  EPERM,
  ESRCH,
  FUTEX,
  isErr,
  long,
  NR,
  nested,
  PAGE_SIZE,
  type Result,
  s32,
  size_t,
  u16,
  type UAddr,
  u32,
  ulong,
  CAP,
} from "@alien-ts/abi";
import { capable, sameOwner } from "../core/cred.ts";
import type { Cx } from "../core/cx.ts";
import { isBlocking, type Blocking } from "../core/row.ts";
import { int, sizeArg, syscall, type SyscallRow, uint, userPointer } from "../core/syscall.ts";
import { do_futex } from "../ipc/futex.ts";
import {
  do_shmat,
  IPC,
  ksys_shmdt,
  ksys_shmget,
  mayControl,
  removeSegment,
  segmentOf,
  SHM,
  type ShmSegment,
} from "../ipc/shm.ts";
import { nsOf, readTimespec, stackKtime } from "../ipc/user-time.ts";
import { put_user_u64 } from "../mm/uaccess.ts";
import { getStruct, putStruct, userMm } from "../vfs/user.ts";

export const sys_futex = syscall(
  NR.futex,
  "futex",
  [
    ["uaddr", userPointer("u32")],
    ["op", int],
    ["val", uint],
    ["utime", userPointer("const struct __kernel_timespec")],
    ["uaddr2", userPointer("u32")],
    ["val3", uint],
  ],
  (cx, uaddr, op, val, utime, uaddr2, val3): Result<number> | Blocking<Result<number>> => {
    const command = op & FUTEX.CMD_MASK;
    const waits = command === FUTEX.WAIT || command === FUTEX.WAIT_BITSET;
    const deadlineNs = waits ? futexDeadline(cx, op, utime) : undefined;
    if (isErr(deadlineNs)) return deadlineNs;
    const { ksp } = cx;
    // For the requeue family the timeout's register is a second count.
    const count = waits ? 0 : utime >>> 0;
    const result = do_futex(cx, uaddr, op, val, stackKtime(cx, deadlineNs), uaddr2, count, val3);
    if (isBlocking(result)) return restoreStack(cx, ksp, result as Blocking<Result<number>>);
    cx.ksp = ksp;
    return result as Result<number>;
  },
);

function* restoreStack(cx: Cx, ksp: number, work: Blocking<Result<number>>): Blocking<Result<number>> {
  const result = yield* work;
  cx.ksp = ksp;
  return result;
}

/** FUTEX_WAIT's timeout is a length, FUTEX_WAIT_BITSET's a time on either clock. */
function futexDeadline(cx: Cx, op: number, utime: UAddr): Result<number | undefined> {
  if (utime === 0) return undefined;
  const time = readTimespec(cx, utime);
  if (isErr(time)) return time;
  const { clock } = cx.kernel;
  const now = clock.nowNs();
  if ((op & FUTEX.CMD_MASK) === FUTEX.WAIT) return Math.min(now + nsOf(time), Number.MAX_SAFE_INTEGER);
  if ((op & FUTEX.CLOCK_REALTIME) === 0) return nsOf(time);
  const real = clock.realTime();
  return Math.max(0, now + (time.sec - real.sec) * 1e9 + (time.nsec - real.nsec));
}

const ROBUST_LIST_HEAD_BYTES = 24;

export const sys_set_robust_list = syscall(
  NR.set_robust_list,
  "set_robust_list",
  [
    ["head", userPointer("struct robust_list_head")],
    ["len", sizeArg],
  ],
  (cx, head, length) => {
    if (length !== ROBUST_LIST_HEAD_BYTES) return EINVAL;
    cx.task.robustList = { head, length };
    return 0;
  },
);

export const sys_get_robust_list = syscall(
  NR.get_robust_list,
  "get_robust_list",
  [
    ["pid", int],
    ["head_ptr", userPointer("struct robust_list_head *")],
    ["len_ptr", userPointer("size_t")],
  ],
  (cx, pid, head, length) => {
    const task = pid === 0 ? cx.task : cx.kernel.pids.find(pid);
    if (task === undefined) return ESRCH;
    if (!sameOwner(cx.task, task) && !capable(cx, CAP.SYS_PTRACE)) return EPERM;
    const mm = userMm(cx);
    const written = put_user_u64(mm, length, ROBUST_LIST_HEAD_BYTES);
    return isErr(written) ? written : put_user_u64(mm, head, task.robustList.head);
  },
);

const MEMBARRIER = {
  QUERY: 0,
  GLOBAL: 1,
  GLOBAL_EXPEDITED: 2,
  REGISTER_GLOBAL_EXPEDITED: 4,
  PRIVATE_EXPEDITED: 8,
  REGISTER_PRIVATE_EXPEDITED: 16,
} as const;
const MEMBARRIER_ALL = 31;

/** One host thread runs all CPUs, and memory is always in order: a barrier has nothing to wait for. */
export const sys_membarrier = syscall(
  NR.membarrier,
  "membarrier",
  [
    ["cmd", int],
    ["flags", uint],
    ["cpu_id", int],
  ],
  (cx, command, flags) => {
    if (flags !== 0) return EINVAL;
    const { process } = cx.task;
    switch (command) {
      case MEMBARRIER.QUERY:
        return MEMBARRIER_ALL;
      case MEMBARRIER.REGISTER_PRIVATE_EXPEDITED:
        process.usesMembarrier = true;
        return 0;
      case MEMBARRIER.PRIVATE_EXPEDITED:
        return process.usesMembarrier === true ? 0 : EPERM;
      case MEMBARRIER.GLOBAL:
      case MEMBARRIER.GLOBAL_EXPEDITED:
      case MEMBARRIER.REGISTER_GLOBAL_EXPEDITED:
        return 0;
      default:
        return EINVAL;
    }
  },
);

declare module "../task/process.ts" {
  interface Process {
    /** MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED was called. */
    usesMembarrier?: boolean;
  }
}

export const sys_shmget = syscall(
  NR.shmget,
  "shmget",
  [
    ["key", int],
    ["size", sizeArg],
    ["flag", int],
  ],
  (cx, key, size, flag) => ksys_shmget(cx, key, size, flag),
);

export const sys_shmat = syscall(
  NR.shmat,
  "shmat",
  [
    ["shmid", int],
    ["shmaddr", userPointer("char")],
    ["shmflg", int],
  ],
  (cx, id, addr, flags) => do_shmat(cx, userMm(cx), id, addr, flags),
);

export const sys_shmdt = syscall(NR.shmdt, "shmdt", [["shmaddr", userPointer("char")]], (cx, addr) =>
  ksys_shmdt(cx, userMm(cx), addr),
);

/** include/uapi/asm-generic/{ipcbuf,shmbuf}.h */
export const ipc64_perm = abiStruct("ipc64_perm", {
  key: s32,
  uid: u32,
  gid: u32,
  cuid: u32,
  cgid: u32,
  mode: u32,
  seq: u16,
  __pad2: u16,
  __unused1: ulong,
  __unused2: ulong,
});
export const shmid64_ds = abiStruct("shmid64_ds", {
  shm_perm: nested(ipc64_perm),
  shm_segsz: size_t,
  shm_atime: long,
  shm_dtime: long,
  shm_ctime: long,
  shm_cpid: s32,
  shm_lpid: s32,
  shm_nattch: ulong,
  __unused4: ulong,
  __unused5: ulong,
});
export const shminfo64 = abiStruct("shminfo64", {
  shmmax: ulong,
  shmmin: ulong,
  shmmni: ulong,
  shmseg: ulong,
  shmall: ulong,
  __unused1: ulong,
  __unused2: ulong,
  __unused3: ulong,
  __unused4: ulong,
});

const SHMMNI = 4096;
const READ = 4;

export const sys_shmctl = syscall(
  NR.shmctl,
  "shmctl",
  [
    ["shmid", int],
    ["cmd", int],
    ["buf", userPointer("struct shmid_ds")],
  ],
  (cx, id, command, buffer) => {
    if (command === IPC.INFO) return shmInfo(cx, buffer);
    const segment = segmentOf(cx, id);
    if (isErr(segment)) return segment;
    switch (command) {
      case IPC.STAT:
      case SHM.STAT: {
        const allowed = segment.permits(cx, READ);
        return isErr(allowed) ? allowed : shmStat(cx, segment, buffer);
      }
      case IPC.SET:
        return shmSet(cx, segment, buffer);
      case IPC.RMID:
        return removeSegment(cx, segment);
      case SHM.LOCK:
      case SHM.UNLOCK:
        return mayControl(cx, segment);
      default:
        return EINVAL;
    }
  },
);

function shmInfo(cx: Cx, buffer: UAddr): Result<number> {
  const written = putStruct(cx, shminfo64, buffer, (info) => {
    info.shmmax = Number.MAX_SAFE_INTEGER;
    info.shmmin = 1;
    info.shmmni = SHMMNI;
    info.shmseg = SHMMNI;
    info.shmall = Math.floor(Number.MAX_SAFE_INTEGER / PAGE_SIZE);
  });
  return isErr(written) ? written : Math.max(0, cx.kernel.shm.segments.size - 1);
}

function shmStat(cx: Cx, segment: ShmSegment, buffer: UAddr): Result<number> {
  return putStruct(cx, shmid64_ds, buffer, (ds) => {
    const perm = ds.shm_perm;
    perm.key = segment.key;
    perm.uid = segment.uid;
    perm.gid = segment.gid;
    perm.cuid = segment.creator.uid;
    perm.cgid = segment.creator.gid;
    perm.mode = segment.shownMode;
    ds.shm_segsz = segment.bytes;
    ds.shm_atime = segment.attachSec;
    ds.shm_dtime = segment.detachSec;
    ds.shm_ctime = segment.changeSec;
    ds.shm_cpid = segment.creator.pid;
    ds.shm_lpid = segment.lastPid;
    ds.shm_nattch = segment.attached;
  });
}

function shmSet(cx: Cx, segment: ShmSegment, buffer: UAddr): Result<number> {
  const allowed = mayControl(cx, segment);
  if (isErr(allowed)) return allowed;
  const done = getStruct(cx, shmid64_ds, buffer, ({ shm_perm }) => {
    segment.uid = shm_perm.uid;
    segment.gid = shm_perm.gid;
    segment.mode = shm_perm.mode & 0o777;
    segment.changeSec = cx.kernel.clock.realTime().sec;
    return 0;
  });
  return isErr(done) ? EFAULT : 0;
}

export const FUTEX_SYSCALLS: readonly SyscallRow[] = [
  sys_futex,
  sys_set_robust_list,
  sys_get_robust_list,
  sys_membarrier,
  sys_shmget,
  sys_shmat,
  sys_shmdt,
  sys_shmctl,
];
