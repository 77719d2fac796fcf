/**
 * Every system call of the kernel, by family. `initSyscalls` makes `kernel.syscallTable` of them; two rows with one number are an
 * error at boot. A new family is one line.
 */
import { type Kernel, KernelBug } from "../core/kernel.ts";
import type { SyscallRow } from "../core/syscall.ts";
import { BPF_SYSCALLS } from "./bpf.ts";
import { CRED_SYSCALLS } from "./creds.ts";
import { DIRECTORY_SYSCALLS } from "./directories.ts";
import { EXEC_SYSCALLS } from "./exec.ts";
import { FD_SYSCALLS } from "./fd.ts";
import { FUTEX_SYSCALLS } from "./futex.ts";
import { ID_SYSCALLS } from "./ids.ts";
import { LINK_SYSCALLS } from "./links.ts";
import { MISC_SYSCALLS } from "./misc.ts";
import { MM_SYSCALLS } from "./mm.ts";
import { MOUNT_SYSCALLS } from "./mount.ts";
import { OPEN_SYSCALLS } from "./open.ts";
import { PIPE_SYSCALLS } from "./pipe.ts";
import { POLL_SYSCALLS } from "./poll.ts";
import { PRCTL_SYSCALLS } from "./prctl.ts";
import { initProcessCalls, PROCESS_SYSCALLS } from "./process.ts";
import { READ_WRITE_SYSCALLS } from "./read-write.ts";
import { RESOURCE_SYSCALLS } from "./resource.ts";
import { SCHED_SYSCALLS } from "./sched.ts";
import { SIGNAL_SYSCALLS } from "./signal.ts";
import { SOCKET_SYSCALLS } from "./socket.ts";
import { STAT_SYSCALLS } from "./stat.ts";
import { SYNC_SYSCALLS } from "./sync.ts";
import { TIME_SYSCALLS } from "./time.ts";
import { TIMERFD_SYSCALLS } from "./timerfd.ts";
import { TIMER_SYSCALLS } from "./timers.ts";
import { WAIT_SYSCALLS } from "./wait.ts";
import { XATTR_SYSCALLS } from "./xattr.ts";

export const SYSCALLS: readonly (readonly SyscallRow[])[] = [
  READ_WRITE_SYSCALLS,
  OPEN_SYSCALLS,
  STAT_SYSCALLS,
  DIRECTORY_SYSCALLS,
  LINK_SYSCALLS,
  FD_SYSCALLS,
  MOUNT_SYSCALLS,
  XATTR_SYSCALLS,
  SYNC_SYSCALLS,
  PIPE_SYSCALLS,
  POLL_SYSCALLS,
  TIMERFD_SYSCALLS,
  SOCKET_SYSCALLS,
  FUTEX_SYSCALLS,
  PROCESS_SYSCALLS,
  EXEC_SYSCALLS,
  WAIT_SYSCALLS,
  SIGNAL_SYSCALLS,
  ID_SYSCALLS,
  CRED_SYSCALLS,
  RESOURCE_SYSCALLS,
  SCHED_SYSCALLS,
  TIME_SYSCALLS,
  TIMER_SYSCALLS,
  MM_SYSCALLS,
  MISC_SYSCALLS,
  BPF_SYSCALLS,
  PRCTL_SYSCALLS,
];

export function initSyscalls(kernel: Kernel): void {
  initProcessCalls(kernel);
  for (const row of SYSCALLS.flat()) addSyscall(kernel, row);
}

/** Adds a call to a kernel's table: what an extension does. */
export function addSyscall(kernel: Kernel, row: SyscallRow): void {
  const other = kernel.syscallTable[row.nr];
  if (other !== undefined) throw new KernelBug(`system call ${row.nr} is both ${other.name} and ${row.name}`);
  kernel.syscallTable[row.nr] = row;
}
