/** pipe2(2), eventfd2(2). */
import { NR } from "@alien-ts/abi";
import { int, syscall, type SyscallRow, uint, userPointer } from "../core/syscall.ts";
import { do_eventfd } from "../ipc/eventfd.ts";
import { do_pipe2 } from "../ipc/pipe-files.ts";

export const sys_pipe2 = syscall(
  NR.pipe2,
  "pipe2",
  [
    ["fildes", userPointer("int")],
    ["flags", int],
  ],
  (cx, fildes, flags) => do_pipe2(cx, fildes, flags),
);

export const sys_eventfd2 = syscall(
  NR.eventfd2,
  "eventfd2",
  [
    ["count", uint],
    ["flags", int],
  ],
  (cx, count, flags) => do_eventfd(cx, count, flags),
);

export const PIPE_SYSCALLS: readonly SyscallRow[] = [sys_pipe2, sys_eventfd2];
