/** bpf(2) and perf_event_open(2). */
import { NR } from "@alien-ts/abi";
import { bpf, perfEventOpen } from "@alien-ts/bpf-basic";
import { int, syscall, uint, ulongArg, userPointer } from "../core/syscall.ts";

export const sys_bpf = syscall(
  NR.bpf,
  "bpf",
  [
    ["cmd", int],
    ["uattr", userPointer("union bpf_attr")],
    ["size", uint],
  ],
  (cx, cmd, attr, size) => bpf(cx.kernel.bpf.engine, cmd, attr, size),
);

export const sys_perf_event_open = syscall(
  NR.perf_event_open,
  "perf_event_open",
  [
    ["attr_uptr", userPointer("struct perf_event_attr")],
    ["pid", int],
    ["cpu", int],
    ["group_fd", int],
    ["flags", ulongArg],
  ],
  (cx, attr, pid, cpu, groupFd, flags) =>
    perfEventOpen(cx.kernel.bpf.engine, { attr, pid, cpu, groupFd, flags }),
);

export const BPF_SYSCALLS = [sys_bpf, sys_perf_event_open];
