/** Helpers about time, the CPU and the current task. Answers to kernel/bpf/helpers.c. */
import { arg, ret } from "./kinds.ts";
import { setU64 } from "./host.ts";
import { helper, type HelperRow } from "./row.ts";

const TASK_COMM_LEN = 16;

export const taskHelpers = {
  ktime_get_ns: helper({
    since: "4.1",
    args: [],
    ret: ret.u64,
    doc: "Nanoseconds since boot, without time spent suspended.",
    impl: (host, machine) => setU64(machine, host.ports.ktimeNs()),
  }),
  get_smp_processor_id: helper({
    since: "4.1",
    args: [],
    ret: ret.integer,
    doc: "Number of the CPU that runs the program.",
    impl: (host, machine) => machine.setR0Signed(host.ports.currentCpu()),
  }),
  get_current_pid_tgid: helper({
    since: "4.2",
    args: [],
    ret: ret.u64,
    doc: "Process id of the current task in the upper 32 bits, thread id in the lower.",
    impl: ({ ports }, machine) => machine.setR0(ports.currentPid(), ports.currentTgid()),
  }),
  get_current_uid_gid: helper({
    since: "4.2",
    args: [],
    ret: ret.u64,
    doc: "Group id of the current task in the upper 32 bits, user id in the lower.",
    impl: ({ ports }, machine) => machine.setR0(ports.currentUid(), ports.currentGid()),
  }),
  get_current_comm: helper({
    since: "4.2",
    args: [arg.uninitMem, arg.size],
    ret: ret.integer,
    doc: "Copies the current task's command name, cut and padded with NULs to *size_of_buf* bytes.",
    impl: (host, machine) => {
      const to = machine.argPointer(1);
      const size = machine.argLow(2) >>> 0;
      host.ports.currentComm(host.scratch);
      const { u8 } = host.m;
      const length = Math.min(size - 1, TASK_COMM_LEN - 1);
      u8.copyWithin(to, host.scratch, host.scratch + length);
      u8.fill(0, to + length, to + size);
      machine.setR0Signed(0);
    },
  }),
} as const satisfies Record<string, HelperRow>;
