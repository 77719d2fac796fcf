/**
 * Helpers for tracing: reads at addresses that may be bad, trace_printk, perf_event_output. Answers to
 * kernel/trace/bpf_trace.c. A read that faults zeroes its destination and answers -EFAULT.
 */
import { BPF_F_CURRENT_CPU, EFAULT, EINVAL, isErr, type KAddr } from "@alien-ts/abi";
import type { BpfMachine } from "@alien-ts/bpf-vm";
import { PerfEventArrayMap } from "../maps/perf-event-array.ts";
import { BpfOutputEvent } from "../perf/bpf-output.ts";
import type { Status } from "../maps/map.ts";
import { type HelperHost, SCRATCH_BYTES, setStatus } from "./host.ts";
import { arg, ret } from "./kinds.ts";
import { formatTrace } from "./printk.ts";
import { helper, type HelperRow } from "./row.ts";

/** Addresses below 2^63 are the user's; those of the kernel have the direct map's high word. */
type Space = "user" | "kernel" | "either";

const readArgs = [arg.uninitMem, arg.sizeOrZero, arg.unsafePointer] as const;

const reader =
  (space: Space): HelperRow["impl"] =>
  (host, machine) => {
    const size = machine.argLow(2) >>> 0;
    const to = machine.argPointer(1);
    const isRead = size === 0 || read(host, space, to, machine.argLow(3), machine.argHigh(3), size);
    if (!isRead) host.m.u8.fill(0, to, to + size);
    machine.setR0Signed(isRead ? 0 : -EFAULT.number);
  };

const stringReader =
  (space: Space): HelperRow["impl"] =>
  (host, machine) => {
    const size = machine.argLow(2) >>> 0;
    const to = machine.argPointer(1);
    const length = readString(host, space, to, machine.argLow(3), machine.argHigh(3), size);
    if (length < 0) host.m.u8.fill(0, to, to + size);
    machine.setR0Signed(length);
  };

export const traceHelpers = {
  probe_read: helper({
    since: "4.1",
    gplOnly: true,
    scope: "tracing",
    needs: "CAP_PERFMON",
    args: readArgs,
    ret: ret.integer,
    doc: "Reads *size* bytes at *unsafe_ptr*, a kernel or user address; probe_read_kernel and probe_read_user are preferred.",
    impl: reader("either"),
  }),
  probe_read_user: helper({
    since: "5.5",
    gplOnly: true,
    needs: "CAP_PERFMON",
    args: readArgs,
    ret: ret.integer,
    doc: "Reads *size* bytes at the user address *unsafe_ptr*.",
    impl: reader("user"),
  }),
  probe_read_kernel: helper({
    since: "5.5",
    gplOnly: true,
    needs: "CAP_PERFMON",
    args: readArgs,
    ret: ret.integer,
    doc: "Reads *size* bytes at the kernel address *unsafe_ptr*.",
    impl: reader("kernel"),
  }),
  probe_read_user_str: helper({
    since: "5.5",
    gplOnly: true,
    needs: "CAP_PERFMON",
    args: readArgs,
    ret: ret.integer,
    doc: "Reads a string at the user address *unsafe_ptr*, at most *size* bytes with its NUL; answers its length with the NUL.",
    impl: stringReader("user"),
  }),
  probe_read_kernel_str: helper({
    since: "5.5",
    gplOnly: true,
    needs: "CAP_PERFMON",
    args: readArgs,
    ret: ret.integer,
    doc: "Reads a string at the kernel address *unsafe_ptr*, at most *size* bytes with its NUL; answers its length with the NUL.",
    impl: stringReader("kernel"),
  }),
  trace_printk: helper({
    since: "4.1",
    gplOnly: true,
    needs: "CAP_PERFMON",
    args: [arg.mem, arg.size, arg.any, arg.any, arg.any],
    ret: ret.integer,
    doc: "Writes a line to trace_pipe; *fmt* takes up to three values.",
    fidelity: "simplified: %pS and %pB print addresses, %pI4 and %pI6 are refused",
    impl: (host, machine) => {
      const values = [3, 4, 5].map((n) => ({ low: machine.argLow(n), high: machine.argHigh(n) }));
      const text = formatTrace(host, machine.argPointer(1), machine.argLow(2) >>> 0, values);
      if (isErr(text)) return setStatus(machine, text);
      host.ports.tracePrintk(text);
      machine.setR0Signed(text.length);
    },
  }),
  perf_event_output: helper({
    since: "4.4",
    gplOnly: true,
    scope: "tracing",
    needs: "CAP_PERFMON",
    args: [arg.context, arg.map, arg.any, arg.mem, arg.sizeOrZero],
    ret: ret.integer,
    doc: "Writes a sample to the perf event at the index that *flags* gives (BPF_F_CURRENT_CPU: this CPU's) in *map*.",
    impl: (host, machine) => setStatus(machine, perfEventOutput(host, machine)),
  }),
} as const satisfies Record<string, HelperRow>;

function perfEventOutput(host: HelperHost, machine: BpfMachine): Status {
  const map = host.maps.at(machine.argPointer(2));
  if (!(map instanceof PerfEventArrayMap) || machine.argHigh(3) !== 0) return EINVAL;
  const index = machine.argLow(3) >>> 0;
  const event = map.eventAt(index === BPF_F_CURRENT_CPU ? host.ports.currentCpu() : index);
  if (isErr(event)) return event;
  if (!(event instanceof BpfOutputEvent)) return EINVAL;
  return event.output(machine.argPointer(4), machine.argLow(5) >>> 0);
}

/** Copies bytes; false on a fault. Addresses come as the two words of a register. */
function read(host: HelperHost, space: Space, to: KAddr, low: number, high: number, size: number): boolean {
  const isKernel = space === "kernel" || (space === "either" && high < 0);
  if (isKernel) return high === (host.m.baseHi | 0) && host.ports.readKernelNofault(to, low >>> 0, size);
  return high >= 0 && host.ports.readUserNofault(to, high * 0x1_0000_0000 + (low >>> 0), size);
}

const PAGE_BYTES = 4096;

/** Copies a string of at most `size` bytes, NUL included; its length with the NUL, or -EFAULT. */
export function readString(
  host: HelperHost,
  space: Space,
  to: KAddr,
  low: number,
  high: number,
  size: number,
): number {
  const { u8 } = host.m;
  let done = 0;
  while (done < size) {
    const from = (low >>> 0) + done;
    const chunk = Math.min(size - done, SCRATCH_BYTES, PAGE_BYTES - (from % PAGE_BYTES));
    const carry = from >= 0x1_0000_0000 ? 1 : 0;
    if (!read(host, space, host.scratch, from | 0, high + carry, chunk)) return -EFAULT.number;
    const nul = u8.subarray(host.scratch, host.scratch + chunk).indexOf(0);
    const length = nul < 0 ? chunk : nul + 1;
    u8.copyWithin(to + done, host.scratch, host.scratch + length);
    done += length;
    if (nul >= 0) return done;
  }
  if (size > 0) u8[to + size - 1] = 0;
  return size;
}
