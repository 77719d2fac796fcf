/** Tasks begin and end: clone, clone3, exit, exit_group, set_tid_address. Linux: kernel/fork.c, kernel/exit.c. */
import {
  CLONE,
  clone_args,
  E2BIG,
  EFAULT,
  EINVAL,
  ENOSYS,
  EPERM,
  isErr,
  NR,
  NSIG,
  PAGE_SIZE,
  type Result,
} from "@alien-ts/abi";
import { CAP } from "@alien-ts/abi";
import { capable } from "../core/cred.ts";
import type { Cx } from "../core/cx.ts";
import type { Kernel } from "../core/kernel.ts";
import type { Blocking } from "../core/row.ts";
import { int, sizeArg, syscall, ulongArg, userPointer } from "../core/syscall.ts";
import { makePidfd } from "../ipc/pidfd.ts";
import { readUserBytes } from "../mm/uaccess.ts";
import { do_exit, do_group_exit, exitStatus } from "../task/exit.ts";
import { type CloneRequest, kernel_clone } from "../task/fork.ts";
import { initPrograms } from "../task/program.ts";
import { userMm } from "../vfs/user.ts";
import { initTimers } from "./timers.ts";

const CLONE_ARGS_SIZE_VER0 = 64;
const CLONE_NEWTIME = 0x80;

/** What system calls of tasks need at boot. */
export function initProcessCalls(kernel: Kernel): void {
  initPrograms(kernel);
  initTimers(kernel);
  kernel.makePidfd = makePidfd;
}

/**
 * The checks that both calls share. A TypeScript program has no code that could go on in a copy: without CLONE_VM, or without
 * a stack that says what the child runs, the call answers ENOSYS, as on a machine without fork.
 */
function* startChild(cx: Cx, request: CloneRequest): Blocking<Result<number>> {
  const { flags } = request;
  if (cx.task.port !== undefined && ((flags & CLONE.VM) === 0 || request.stack === 0)) return ENOSYS;
  if ((flags & CLONE.PIDFD) !== 0 && (flags & CLONE.DETACHED) !== 0) return EINVAL;
  const namespaces =
    CLONE.NEWNS | CLONE.NEWUTS | CLONE.NEWIPC | CLONE.NEWPID | CLONE.NEWNET | CLONE.NEWCGROUP;
  if ((flags & namespaces) !== 0 && !capable(cx, CAP.SYS_ADMIN)) return EPERM;
  return yield* kernel_clone(
    cx,
    flags,
    request.stack,
    request.parentTid,
    request.childTid,
    request.tls,
    request.exitSignal,
    request.pidfd,
  );
}

export const sys_clone = syscall(
  NR.clone,
  "clone",
  [
    ["clone_flags", ulongArg],
    ["newsp", ulongArg],
    ["parent_tidptr", userPointer("int")],
    ["tls", ulongArg],
    ["child_tidptr", userPointer("int")],
  ],
  (cx, cloneFlags, stack, parentTid, tls, childTid) => {
    const all = (cloneFlags % 2 ** 32) | 0;
    const flags = (all & ~CLONE.CSIGNAL) >>> 0;
    const both = CLONE.PIDFD | CLONE.PARENT_SETTID;
    if ((flags & both) === both) return EINVAL;
    const exitSignal = all & CLONE.CSIGNAL;
    return startChild(cx, { flags, exitSignal, stack, parentTid, childTid, tls, pidfd: parentTid });
  },
);

export const sys_clone3 = syscall(
  NR.clone3,
  "clone3",
  [
    ["uargs", userPointer("struct clone_args")],
    ["size", sizeArg],
  ],
  (cx, uargs, size) => {
    const request = readCloneArgs(cx, uargs, size);
    return isErr(request) ? request : startChild(cx, request);
  },
);

/** Linux: copy_clone_args_from_user() and clone3_args_valid(). */
function readCloneArgs(cx: Cx, uargs: number, size: number): Result<CloneRequest> {
  const known = cx.kernel.layout.size(clone_args);
  if (size > PAGE_SIZE) return E2BIG;
  if (size < CLONE_ARGS_SIZE_VER0) return EINVAL;
  const bytes = readUserBytes(userMm(cx), uargs, size);
  if (isErr(bytes)) return EFAULT;
  if (bytes.subarray(known).some((byte) => byte !== 0)) return E2BIG;
  const full = new Uint8Array(known);
  full.set(bytes.subarray(0, known));
  const view = new DataView(full.buffer);
  const field = (name: string): number => {
    const at = cx.kernel.layout.offset(clone_args, name);
    return view.getUint32(at + 4, true) * 2 ** 32 + view.getUint32(at, true);
  };
  const flags = field("flags");
  const exitSignal = field("exit_signal");
  const stack = field("stack");
  const stackSize = field("stack_size");
  // Clearing handlers, cgroups, time namespaces and chosen pids are not there.
  if (flags >= 2 ** 32 || field("set_tid_size") !== 0 || (flags & CLONE_NEWTIME) !== 0) return EINVAL;
  const low = flags >>> 0;
  if ((low & (CLONE.DETACHED | (CLONE.CSIGNAL & ~CLONE_NEWTIME))) !== 0) return EINVAL;
  if ((low & (CLONE.THREAD | CLONE.PARENT)) !== 0 && exitSignal !== 0) return EINVAL;
  if (exitSignal > NSIG || (stack === 0) !== (stackSize === 0)) return EINVAL;
  return {
    flags: low,
    exitSignal,
    stack: stack === 0 ? 0 : stack + stackSize,
    parentTid: field("parent_tid"),
    childTid: field("child_tid"),
    tls: field("tls"),
    pidfd: field("pidfd"),
  };
}

function* ends(work: Blocking<undefined>): Blocking<number> {
  yield* work;
  return 0;
}

export const sys_exit = syscall(NR.exit, "exit", [["error_code", int]], (cx, code) =>
  ends(do_exit(cx, exitStatus(code))),
);

export const sys_exit_group = syscall(NR.exit_group, "exit_group", [["error_code", int]], (cx, code) =>
  ends(do_group_exit(cx, exitStatus(code))),
);

export const sys_set_tid_address = syscall(
  NR.set_tid_address,
  "set_tid_address",
  [["tidptr", userPointer("int")]],
  (cx, tidptr) => {
    cx.task.clearChildTid = tidptr;
    return cx.task.pid;
  },
);

export const PROCESS_SYSCALLS = [
  sys_clone,
  sys_clone3,
  sys_exit,
  sys_exit_group,
  sys_set_tid_address,
] as const;
