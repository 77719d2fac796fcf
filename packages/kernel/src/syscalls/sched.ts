/** Scheduling: policies, priorities, affinity, yield. Linux: kernel/sched/syscalls.c, kernel/sys.c. */
import {
  abiStruct,
  CAP,
  E2BIG,
  EACCES,
  EFAULT,
  EINVAL,
  EPERM,
  ESRCH,
  isErr,
  NR,
  type Result,
  RLIMIT,
  s32,
  SCHED,
  sched_param,
  timespec,
  type UAddr,
  u32,
  u64n,
} from "@alien-ts/abi";
import { capable } from "../core/cred.ts";
import type { Cx } from "../core/cx.ts";
import type { Blocking } from "../core/row.ts";
import { int, syscall, uint, userPointer } from "../core/syscall.ts";
import type { Task } from "../core/task.ts";
import { get_user_u32, put_user_u32, readUserBytes, writeUserBytes } from "../mm/uaccess.ts";
import type { Process } from "../task/process.ts";
import { getStruct, putStruct, userMm } from "../vfs/user.ts";

/** include/uapi/linux/sched/types.h, SCHED_ATTR_SIZE_VER1. */
export const sched_attr = abiStruct("sched_attr", {
  size: u32,
  sched_policy: u32,
  sched_flags: u64n,
  sched_nice: s32,
  sched_priority: u32,
  sched_runtime: u64n,
  sched_deadline: u64n,
  sched_period: u64n,
  sched_util_min: u32,
  sched_util_max: u32,
});
const SCHED_ATTR_SIZE_VER0 = 48;

const PID = ["pid", int] as const;
const MAX_RT_PRIO = 100;
const DEFAULT_PRIO = 120;
const NICE_MIN = -20;
const NICE_MAX = 19;
const RR_TIMESLICE_NS = 100_000_000;
const SLICE_NS = 3_000_000;
const KNOWN_POLICIES: readonly number[] = [SCHED.OTHER, SCHED.FIFO, SCHED.RR, SCHED.BATCH, SCHED.IDLE];

const isRealtime = (policy: number): boolean => policy === SCHED.FIFO || policy === SCHED.RR;
const niceOf = (task: Task): number => task.t.static_prio - DEFAULT_PRIO;
const find = (cx: Cx, pid: number): Task | undefined => (pid === 0 ? cx.task : cx.kernel.pids.find(pid));

/** Whether the caller may change `task`'s scheduling (check_same_owner). */
function isOwner(cx: Cx, task: Task): boolean {
  const { euid } = cx.task.cred;
  return euid === task.cred.euid || euid === task.cred.uid;
}

/** Linux: can_nice(): nice 19 … −20 is the limit 1 … 40. */
const canNice = (cx: Cx, process: Process, nice: number): boolean =>
  20 - nice <= process.limit(RLIMIT.NICE) || capable(cx, CAP.SYS_NICE);

function setNice(task: Task, nice: number): void {
  task.t.static_prio = DEFAULT_PRIO + nice;
  if (isRealtime(task.t.policy)) return;
  task.t.normal_prio = task.t.static_prio;
  task.t.prio = task.t.static_prio;
}

interface Policy {
  readonly policy: number;
  readonly priority: number;
  readonly nice: number | undefined;
  readonly resetsOnFork: boolean;
}

/** Linux: __sched_setscheduler(). The policies are kept and reported; all tasks are scheduled alike. */
function setPolicy(cx: Cx, task: Task, wanted: Policy): Result<0> {
  const { policy, priority, nice } = wanted;
  if (!KNOWN_POLICIES.includes(policy)) return EINVAL;
  if (priority < 0 || priority > MAX_RT_PRIO - 1 || isRealtime(policy) !== (priority !== 0)) return EINVAL;
  if (!capable(cx, CAP.SYS_NICE)) {
    const { process } = task;
    const raises =
      isRealtime(policy) && priority > Math.max(task.t.rt_priority, process.limit(RLIMIT.RTPRIO));
    if (raises || !isOwner(cx, task)) return EPERM;
    if (nice !== undefined && nice < niceOf(task) && !canNice(cx, process, nice)) return EPERM;
    if (task.resetsOnFork && !wanted.resetsOnFork) return EPERM;
  }
  task.resetsOnFork = wanted.resetsOnFork;
  task.t.policy = policy;
  task.t.rt_priority = priority;
  task.t.prio = isRealtime(policy) ? MAX_RT_PRIO - 1 - priority : task.t.static_prio;
  task.t.normal_prio = task.t.prio;
  if (nice !== undefined && !isRealtime(policy)) setNice(task, Math.min(Math.max(nice, NICE_MIN), NICE_MAX));
  return 0;
}

declare module "../core/task.ts" {
  interface Task {
    /** SCHED_RESET_ON_FORK: children are normal tasks. */
    resetsOnFork: boolean | undefined;
  }
}

const paramp = userPointer("struct sched_param");
const readParam = (cx: Cx, addr: UAddr): Result<number> =>
  getStruct(cx, sched_param, addr, (view) => view.sched_priority);

export const sys_sched_setscheduler = syscall(
  NR.sched_setscheduler,
  "sched_setscheduler",
  [PID, ["policy", int], ["param", paramp]],
  (cx, pid, policy, param) => {
    if (policy < 0 || param === 0 || pid < 0) return EINVAL;
    const priority = readParam(cx, param);
    if (isErr(priority)) return EFAULT;
    const task = find(cx, pid);
    if (task === undefined) return ESRCH;
    const resetsOnFork = (policy & SCHED.RESET_ON_FORK) !== 0;
    return setPolicy(cx, task, {
      policy: policy & ~SCHED.RESET_ON_FORK,
      priority,
      nice: undefined,
      resetsOnFork,
    });
  },
  { fidelity: { simplified: "the policy is kept and reported; all tasks are scheduled alike" } },
);

export const sys_sched_setparam = syscall(
  NR.sched_setparam,
  "sched_setparam",
  [PID, ["param", paramp]],
  (cx, pid, param) => {
    if (param === 0 || pid < 0) return EINVAL;
    const priority = readParam(cx, param);
    if (isErr(priority)) return EFAULT;
    const task = find(cx, pid);
    if (task === undefined) return ESRCH;
    const resetsOnFork = task.resetsOnFork ?? false;
    return setPolicy(cx, task, { policy: task.t.policy, priority, nice: undefined, resetsOnFork });
  },
);

export const sys_sched_getscheduler = syscall(
  NR.sched_getscheduler,
  "sched_getscheduler",
  [PID],
  (cx, pid) => {
    if (pid < 0) return EINVAL;
    const task = find(cx, pid);
    if (task === undefined) return ESRCH;
    return task.t.policy | (task.resetsOnFork === true ? SCHED.RESET_ON_FORK : 0);
  },
);

export const sys_sched_getparam = syscall(
  NR.sched_getparam,
  "sched_getparam",
  [PID, ["param", paramp]],
  (cx, pid, param) => {
    if (param === 0 || pid < 0) return EINVAL;
    const task = find(cx, pid);
    if (task === undefined) return ESRCH;
    return putStruct(cx, sched_param, param, (view) => {
      view.sched_priority = task.t.rt_priority;
    });
  },
);

const attrp = userPointer("struct sched_attr");

export const sys_sched_setattr = syscall(
  NR.sched_setattr,
  "sched_setattr",
  [PID, ["uattr", attrp], ["flags", uint]],
  (cx, pid, uattr, flags) => {
    if (uattr === 0 || pid < 0 || flags !== 0) return EINVAL;
    const bytes = readAttr(cx, uattr);
    if (isErr(bytes)) return bytes;
    const task = find(cx, pid);
    if (task === undefined) return ESRCH;
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    const SCHED_FLAG_RESET_ON_FORK = 1;
    if ((view.getUint32(8, true) & ~SCHED_FLAG_RESET_ON_FORK) !== 0) return EINVAL;
    return setPolicy(cx, task, {
      policy: view.getUint32(4, true),
      nice: view.getInt32(16, true),
      priority: view.getUint32(20, true),
      resetsOnFork: (view.getUint32(8, true) & SCHED_FLAG_RESET_ON_FORK) !== 0,
    });
  },
);

/** A size that the kernel does not know must be zero behind what it knows; E2BIG writes the known size back. */
function readAttr(cx: Cx, uattr: UAddr): Result<Uint8Array> {
  const mm = userMm(cx);
  const known = cx.kernel.layout.size(sched_attr);
  const given = get_user_u32(mm, uattr);
  if (isErr(given)) return given;
  const size = given === 0 ? SCHED_ATTR_SIZE_VER0 : given;
  const tooBig = (): Result<Uint8Array> => {
    const put = put_user_u32(mm, uattr, known);
    return isErr(put) ? put : E2BIG;
  };
  if (size < SCHED_ATTR_SIZE_VER0 || size > 4096) return tooBig();
  const bytes = readUserBytes(mm, uattr, size);
  if (isErr(bytes)) return bytes;
  if (bytes.subarray(known).some((byte) => byte !== 0)) return tooBig();
  const full = new Uint8Array(known);
  full.set(bytes.subarray(0, known));
  return full;
}

export const sys_sched_getattr = syscall(
  NR.sched_getattr,
  "sched_getattr",
  [PID, ["uattr", attrp], ["usize", uint], ["flags", uint]],
  (cx, pid, uattr, usize, flags) => {
    if (uattr === 0 || pid < 0 || usize > 4096 || usize < SCHED_ATTR_SIZE_VER0 || flags !== 0) return EINVAL;
    const task = find(cx, pid);
    if (task === undefined) return ESRCH;
    const size = Math.min(usize, cx.kernel.layout.size(sched_attr));
    const bytes = new Uint8Array(size);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, size, true);
    view.setUint32(4, task.t.policy, true);
    view.setUint32(8, task.resetsOnFork === true ? 1 : 0, true);
    if (isRealtime(task.t.policy)) view.setUint32(20, task.t.rt_priority, true);
    else view.setInt32(16, niceOf(task), true);
    return writeUserBytes(userMm(cx), uattr, bytes);
  },
);

export const sys_sched_yield = syscall(NR.sched_yield, "sched_yield", [], (cx) => {
  const isAlone = cx.cpu.runqueue.length === 0;
  return isAlone ? 0 : yieldCpu();
});

function* yieldCpu(): Blocking<number> {
  yield;
  return 0;
}

const POLICY = ["policy", int] as const;

export const sys_sched_get_priority_max = syscall(
  NR.sched_get_priority_max,
  "sched_get_priority_max",
  [POLICY],
  (_, policy) => (isRealtime(policy) ? MAX_RT_PRIO - 1 : isKnown(policy) ? 0 : EINVAL),
);

export const sys_sched_get_priority_min = syscall(
  NR.sched_get_priority_min,
  "sched_get_priority_min",
  [POLICY],
  (_, policy) => (isRealtime(policy) ? 1 : isKnown(policy) ? 0 : EINVAL),
);

const isKnown = (policy: number): boolean => KNOWN_POLICIES.includes(policy) || policy === SCHED.DEADLINE;

export const sys_sched_rr_get_interval = syscall(
  NR.sched_rr_get_interval,
  "sched_rr_get_interval",
  [PID, ["interval", userPointer("struct __kernel_timespec")]],
  (cx, pid, interval) => {
    if (pid < 0) return EINVAL;
    const task = find(cx, pid);
    if (task === undefined) return ESRCH;
    const { policy } = task.t;
    const ns = policy === SCHED.RR ? RR_TIMESLICE_NS : policy === SCHED.FIFO ? 0 : SLICE_NS;
    return putStruct(cx, timespec, interval, (view) => {
      view.tv_sec = 0;
      view.tv_nsec = ns;
    });
  },
);

export const sys_sched_setaffinity = syscall(
  NR.sched_setaffinity,
  "sched_setaffinity",
  [PID, ["len", uint], ["user_mask_ptr", userPointer("unsigned long")]],
  (cx, pid, length, maskPtr) => {
    const bytes = readUserBytes(userMm(cx), maskPtr, Math.min(length, 128));
    if (isErr(bytes)) return bytes;
    const task = find(cx, pid);
    if (task === undefined) return ESRCH;
    if (!isOwner(cx, task) && !capable(cx, CAP.SYS_NICE)) return EPERM;
    let mask = 0n;
    for (let cpu = 0; cpu < cx.kernel.cpus.length; cpu++)
      if ((((bytes[cpu >> 3] ?? 0) >> (cpu & 7)) & 1) === 1) mask |= 1n << BigInt(cpu);
    if (mask === 0n) return EINVAL;
    cx.kernel.sched.setAffinity(task, mask);
    return cx.task.mustMove ? yieldCpu() : 0;
  },
);

export const sys_sched_getaffinity = syscall(
  NR.sched_getaffinity,
  "sched_getaffinity",
  [PID, ["len", uint], ["user_mask_ptr", userPointer("unsigned long")]],
  (cx, pid, length, maskPtr) => {
    if (length * 8 < cx.kernel.cpus.length || length % 8 !== 0) return EINVAL;
    const task = find(cx, pid);
    if (task === undefined) return ESRCH;
    const size = Math.min(length, 8);
    const bytes = new Uint8Array(size);
    for (let i = 0; i < size; i++) bytes[i] = Number((task.cpusMask >> BigInt(i * 8)) & 0xffn);
    return isErr(writeUserBytes(userMm(cx), maskPtr, bytes)) ? EFAULT : size;
  },
);

const PRIO_PROCESS = 0;
const PRIO_PGRP = 1;
const PRIO_USER = 2;
const WHICH = ["which", int] as const;
const WHO = ["who", int] as const;

/** The tasks that getpriority and setpriority mean; EINVAL. */
function priorityTargets(cx: Cx, which: number, who: number): Result<readonly Task[]> {
  const { pids } = cx.kernel;
  switch (which) {
    case PRIO_PROCESS: {
      const task = find(cx, who);
      return task === undefined ? [] : [task];
    }
    case PRIO_PGRP: {
      const group = who === 0 ? cx.task.process.pgid : who;
      return pids.group(group).flatMap((process) => [...process.threads]);
    }
    case PRIO_USER: {
      const uid = who === 0 ? cx.task.cred.uid : who >>> 0;
      return pids.tasks().filter((task) => task.cred.uid === uid);
    }
    default:
      return EINVAL;
  }
}

/** 20 − nice: 1 … 40, so that no result looks like an error. */
export const sys_getpriority = syscall(NR.getpriority, "getpriority", [WHICH, WHO], (cx, which, who) => {
  const targets = priorityTargets(cx, which, who);
  if (isErr(targets)) return targets;
  return targets.length === 0 ? ESRCH : Math.max(...targets.map((task) => 20 - niceOf(task)));
});

export const sys_setpriority = syscall(
  NR.setpriority,
  "setpriority",
  [WHICH, WHO, ["niceval", int]],
  (cx, which, who, niceval) => {
    const targets = priorityTargets(cx, which, who);
    if (isErr(targets)) return targets;
    const nice = Math.min(Math.max(niceval, NICE_MIN), NICE_MAX);
    let result: Result<0> = ESRCH;
    for (const task of targets) {
      const refused = !isOwner(cx, task) && !capable(cx, CAP.SYS_NICE) ? EPERM : undefined;
      const tooNice = nice < niceOf(task) && !canNice(cx, task.process, nice) ? EACCES : undefined;
      const error = refused ?? tooNice;
      if (error !== undefined) {
        result = error;
        continue;
      }
      setNice(task, nice);
      if (result === ESRCH) result = 0;
    }
    return result;
  },
);

export const SCHED_SYSCALLS = [
  sys_sched_setscheduler,
  sys_sched_setparam,
  sys_sched_getscheduler,
  sys_sched_getparam,
  sys_sched_setattr,
  sys_sched_getattr,
  sys_sched_yield,
  sys_sched_get_priority_max,
  sys_sched_get_priority_min,
  sys_sched_rr_get_interval,
  sys_sched_setaffinity,
  sys_sched_getaffinity,
  sys_getpriority,
  sys_setpriority,
] as const;
