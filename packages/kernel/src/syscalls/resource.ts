/** Limits and usage: prlimit64, getrlimit, setrlimit, getrusage. Linux: kernel/sys.c. */
import {
  CAP,
  EFAULT,
  EINVAL,
  EPERM,
  ESRCH,
  isErr,
  NR,
  type Result,
  RLIM_NLIMITS,
  RLIMIT,
  rlimit64,
  RUSAGE,
  rusage,
  type UAddr,
} from "@alien-ts/abi";
import { capable } from "../core/cred.ts";
import type { Cx } from "../core/cx.ts";
import { int, syscall, uint, userPointer } from "../core/syscall.ts";
import { processTimes, timesOf } from "../task/exit.ts";
import type { Process, ResourceLimit } from "../task/process.ts";
import { NR_OPEN } from "../vfs/fd-table.ts";
import { getStruct, putStruct } from "../vfs/user.ts";
import { fillRusage } from "./rusage.ts";

/** RLIM_INFINITY is 2^64 − 1: what a 64-bit word of ones reads as. */
const fromWord = (word: number): number => (word >= 2 ** 63 ? Number.POSITIVE_INFINITY : word);

const readLimit = (cx: Cx, addr: UAddr): Result<ResourceLimit> =>
  getStruct(cx, rlimit64, addr, (view) => ({ soft: fromWord(view.rlim_cur), hard: fromWord(view.rlim_max) }));

/** All ones for infinity: −1 in two's complement. */
const toWord = (limit: number): number => (limit === Number.POSITIVE_INFINITY ? -1 : limit);

const writeLimit = (cx: Cx, addr: UAddr, limit: ResourceLimit): Result<0> =>
  putStruct(cx, rlimit64, addr, (view) => {
    view.rlim_cur = toWord(limit.soft);
    view.rlim_max = toWord(limit.hard);
  });

/** Linux: do_prlimit(). */
function setLimit(cx: Cx, process: Process, resource: number, limit: ResourceLimit): Result<0> {
  if (limit.soft > limit.hard) return EINVAL;
  if (resource === RLIMIT.NOFILE && limit.hard > NR_OPEN) return EPERM;
  if (limit.hard > process.limits[resource]!.hard && !capable(cx, CAP.SYS_RESOURCE)) return EPERM;
  process.limits[resource] = limit;
  return 0;
}

/** Another process's limits: the same ids throughout, or CAP_SYS_RESOURCE (check_prlimit_permission). */
function mayLimit(cx: Cx, process: Process): boolean {
  if (process === cx.task.process || capable(cx, CAP.SYS_RESOURCE)) return true;
  const mine = cx.task.cred;
  const { t } = process.leader.cred;
  const uids = [t.uid.val, t.euid.val, t.suid.val];
  const gids = [t.gid.val, t.egid.val, t.sgid.val];
  return uids.every((uid) => uid === mine.uid) && gids.every((gid) => gid === mine.gid);
}

export const sys_prlimit64 = syscall(
  NR.prlimit64,
  "prlimit64",
  [
    ["pid", int],
    ["resource", uint],
    ["new_rlim", userPointer("const struct rlimit64")],
    ["old_rlim", userPointer("struct rlimit64")],
  ],
  (cx, pid, resource, fresh, old) => {
    const wanted = fresh === 0 ? undefined : readLimit(cx, fresh);
    if (isErr(wanted)) return wanted;
    const target = pid === 0 ? cx.task.process : cx.kernel.pids.find(pid)?.process;
    if (target === undefined) return ESRCH;
    if (!mayLimit(cx, target)) return EPERM;
    if (resource >= RLIM_NLIMITS) return EINVAL;
    const before = target.limits[resource]!;
    const set = wanted === undefined ? 0 : setLimit(cx, target, resource, wanted);
    if (isErr(set)) return set;
    return old === 0 ? 0 : writeLimit(cx, old, before);
  },
);

const LIMIT_PARAMS = [
  ["resource", uint],
  ["rlim", userPointer("struct rlimit")],
] as const;

export const sys_getrlimit = syscall(NR.getrlimit, "getrlimit", LIMIT_PARAMS, (cx, resource, rlim) =>
  resource >= RLIM_NLIMITS ? EINVAL : writeLimit(cx, rlim, cx.task.process.limits[resource]!),
);

export const sys_setrlimit = syscall(NR.setrlimit, "setrlimit", LIMIT_PARAMS, (cx, resource, rlim) => {
  const limit = readLimit(cx, rlim);
  if (isErr(limit)) return EFAULT;
  return resource >= RLIM_NLIMITS ? EINVAL : setLimit(cx, cx.task.process, resource, limit);
});

export const sys_getrusage = syscall(
  NR.getrusage,
  "getrusage",
  [
    ["who", int],
    ["ru", userPointer("struct rusage")],
  ],
  (cx, who, ru) => {
    const { task } = cx;
    const { process, mm } = task;
    const rss = Math.max(process.maxRssPages, mm?.hiwaterRssPages ?? 0);
    switch (who) {
      case RUSAGE.SELF:
        return putStruct(cx, rusage, ru, (view) => fillRusage(view, processTimes(process), rss));
      case RUSAGE.THREAD:
        return putStruct(cx, rusage, ru, (view) => fillRusage(view, timesOf(task), rss));
      case RUSAGE.CHILDREN: {
        const { waitedChildren, childrenMaxRssPages } = process;
        return putStruct(cx, rusage, ru, (view) => fillRusage(view, waitedChildren, childrenMaxRssPages));
      }
      default:
        return EINVAL;
    }
  },
);

export const RESOURCE_SYSCALLS = [sys_prlimit64, sys_getrlimit, sys_setrlimit, sys_getrusage] as const;
