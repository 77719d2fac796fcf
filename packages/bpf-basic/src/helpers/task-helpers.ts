/** Helpers about time, the CPU, the current task and chance. Answers to kernel/bpf/helpers.c. */
import { giveU64, type HelperHost } from "./host.ts";
import { type HelperRow, numeric } from "./row.ts";

const TASK_COMM_LEN = 16;

/** A u64 of two words that are known. */
const pair = (host: HelperHost, low: number, high: number): number => {
  host.m.i32[host.resultHigh >> 2] = high;
  return low;
};

export const taskHelpers = {
  ktime_get_ns: numeric({
    since: "4.1",
    doc: "Nanoseconds since boot, without time spent suspended.",
    params: [],
    result: "u64",
    make: (host) => () => giveU64(host, host.ports.ktimeNs()),
  }),
  ktime_get_boot_ns: numeric({
    since: "5.8",
    doc: "Nanoseconds since boot, with time spent suspended: this kernel never is.",
    params: [],
    result: "u64",
    make: (host) => () => giveU64(host, host.ports.ktimeNs()),
  }),
  get_prandom_u32: numeric({
    since: "4.1",
    doc: "A random number of 32 bits, from the kernel's seed.",
    params: [],
    result: "u32",
    make:
      ({ ports }) =>
      () =>
        ports.randomU32(),
  }),
  get_smp_processor_id: numeric({
    since: "4.1",
    doc: "Number of the CPU that runs the program.",
    params: [],
    result: "u32",
    make:
      ({ ports }) =>
      () =>
        ports.currentCpu(),
  }),
  get_numa_node_id: numeric({
    since: "4.10",
    doc: "Number of the NUMA node that runs the program: there is one.",
    params: [],
    result: "u32",
    make: () => () => 0,
  }),
  get_current_pid_tgid: numeric({
    since: "4.2",
    doc: "Process id of the current task in the upper 32 bits, thread id in the lower.",
    params: [],
    result: "u64",
    make: (host) => () => pair(host, host.ports.currentPid(), host.ports.currentTgid()),
  }),
  get_current_uid_gid: numeric({
    since: "4.2",
    doc: "Group id of the current task in the upper 32 bits, user id in the lower.",
    params: [],
    result: "u64",
    make: (host) => () => pair(host, host.ports.currentUid(), host.ports.currentGid()),
  }),
  get_current_task: numeric({
    since: "4.8",
    doc: "Address of the current task's `task_struct`, as a number: fields are read with probe_read_kernel.",
    params: [],
    result: "pointer",
    make:
      ({ ports }) =>
      () =>
        ports.currentTask(),
  }),
  get_current_task_btf: numeric({
    since: "5.11",
    doc: "The current task, as a pointer to a `task_struct` whose fields can be read.",
    params: [],
    result: "pointer",
    make:
      ({ ports }) =>
      () =>
        ports.currentTask(),
  }),
  get_current_comm: numeric({
    since: "4.2",
    doc: "Copies the current task's command name, cut and padded with NULs to *size_of_buf* bytes.",
    params: ["u32", "u32"],
    result: "s32",
    make: (host) => (to, size) => copyComm(host, to!, size!),
  }),
} as const satisfies Record<string, HelperRow>;

function copyComm({ ports, m, scratch }: HelperHost, to: number, size: number): number {
  ports.currentComm(scratch);
  const length = Math.min(size - 1, TASK_COMM_LEN - 1);
  m.u8.copyWithin(to, scratch, scratch + length);
  m.u8.fill(0, to + length, to + size);
  return 0;
}
