/**
 * Helpers for tracing: reads at addresses that may be bad, trace_printk, perf_event_output. Answers to
 * kernel/trace/bpf_trace.c. A read that faults zeroes its destination and answers -EFAULT.
 */
import { BPF_F_CURRENT_CPU, EFAULT, EINVAL, isErr, type KAddr } from "@alien-ts/abi";
import { PerfEventArrayMap } from "../maps/perf-event-array.ts";
import { BpfOutputEvent } from "../perf/bpf-output.ts";
import type { Status } from "../maps/map.ts";
import { type HelperHost, SCRATCH_BYTES, statusOf } from "./host.ts";
import { formatTrace } from "./printk.ts";
import { helper, type HelperRow, numeric, type NumericHelper } from "./row.ts";

/** Addresses below 2^63 are the user's; those of the kernel have the direct map's high word. */
type Space = "user" | "kernel" | "either";

interface ReaderRow {
  readonly since: string;
  readonly doc: string;
  readonly space: Space;
}

const reads = { needs: "CAP_PERFMON", params: ["u32", "u32", "u64"], result: "s32" } as const;

/** Copies bytes from an address that may be bad. */
const reader = ({ space, ...row }: ReaderRow, more: Partial<NumericHelper> = {}): HelperRow =>
  numeric({
    ...reads,
    ...row,
    ...more,
    make: (host) => (to, size, low, high) => {
      if (size === 0 || read(host, space, to!, low!, high!, size!)) return 0;
      host.m.u8.fill(0, to!, to! + size!);
      return -EFAULT.number;
    },
  });

/** Copies a string; the result is its length with the NUL. */
const stringReader = ({ space, ...row }: ReaderRow): HelperRow =>
  numeric({
    ...reads,
    ...row,
    make: (host) => (to, size, low, high) => {
      const length = readString(host, space, to!, low!, high!, size!);
      if (length < 0) host.m.u8.fill(0, to!, to! + size!);
      return length;
    },
  });

export const traceHelpers = {
  probe_read: reader({
    since: "4.1",
    doc: "Reads *size* bytes at *unsafe_ptr*, a kernel or user address; probe_read_kernel and probe_read_user are preferred.",
    space: "either",
  }),
  probe_read_str: stringReader({
    since: "4.11",
    doc: "Reads a string at *unsafe_ptr*, a kernel or user address; the forms for one of them are preferred.",
    space: "either",
  }),
  probe_read_user: reader({
    since: "5.5",
    doc: "Reads *size* bytes at the user address *unsafe_ptr*.",
    space: "user",
  }),
  probe_read_kernel: reader(
    { since: "5.5", doc: "Reads *size* bytes at the kernel address *unsafe_ptr*.", space: "kernel" },
    { inlined: { kind: "probe_read" } },
  ),
  probe_read_user_str: stringReader({
    since: "5.5",
    doc: "Reads a string at the user address *unsafe_ptr*, at most *size* bytes with its NUL; answers its length with the NUL.",
    space: "user",
  }),
  probe_read_kernel_str: stringReader({
    since: "5.5",
    doc: "Reads a string at the kernel address *unsafe_ptr*, at most *size* bytes with its NUL; answers its length with the NUL.",
    space: "kernel",
  }),
  trace_printk: helper({
    since: "4.1",
    needs: "CAP_PERFMON",
    isVariadic: true,
    doc: "Writes a line to trace_pipe; *fmt* takes up to three values.",
    fidelity: "simplified: %pS and %pB print addresses, %pI4 and %pI6 are refused",
    impl: (host, machine) => {
      const values = [3, 4, 5].map((n) => ({ low: machine.argLow(n), high: machine.argHigh(n) }));
      const text = formatTrace(host, machine.argPointer(1), machine.argLow(2) >>> 0, values);
      if (isErr(text)) return machine.setR0Signed(-text.number);
      host.ports.tracePrintk(text);
      machine.setR0Signed(text.length);
    },
  }),
  perf_event_output: numeric({
    since: "4.4",
    needs: "CAP_PERFMON",
    doc: "Writes a sample to the perf event at the index that *flags* gives (BPF_F_CURRENT_CPU: this CPU's) in *map*.",
    params: ["u32", "u32", "u64", "u32", "u32"],
    result: "s32",
    make: (host) => (_context, map, flags, high, data, size) =>
      high === 0 ? statusOf(output(host, map!, flags! >>> 0, data!, size!)) : -EINVAL.number,
  }),
} as const satisfies Record<string, HelperRow>;

function output(host: HelperHost, addr: KAddr, index: number, data: KAddr, sizeBytes: number): Status {
  const map = host.maps.at(addr);
  if (!(map instanceof PerfEventArrayMap)) return EINVAL;
  const event = map.eventAt(index === BPF_F_CURRENT_CPU ? host.ports.currentCpu() : index);
  if (isErr(event)) return event;
  return event instanceof BpfOutputEvent ? event.output(data, sizeBytes) : EINVAL;
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
