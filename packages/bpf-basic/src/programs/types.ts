/**
 * One row per program type of the UAPI. To add one: its row, and what runs it. A type that is not supported answers EINVAL, as
 * a kernel without it.
 */
import { BPF_PROG_TYPE } from "@alien-ts/abi";
import type { HelperRow, HelperScope } from "../helpers/row.ts";

export interface SupportedProgramType {
  readonly supported: true;
  /** As bpftool prints it. */
  readonly name: string;
  readonly since: string;
  readonly doc: string;
  /** Helpers beyond those that all programs may call. */
  readonly scope: HelperScope;
  /** What a loader must have beyond CAP_BPF. */
  readonly needs: "none" | "CAP_PERFMON";
  readonly hasPacketLoads: boolean;
  /** What r1 points to. */
  readonly context: "pt_regs" | "opaque";
}

export interface UnsupportedProgramType {
  readonly supported: false;
  readonly name: string;
  readonly since: string;
  readonly note: string;
}

export type ProgramTypeRow = SupportedProgramType | UnsupportedProgramType;
type ProgramTypeName = Exclude<keyof typeof BPF_PROG_TYPE, "UNSPEC">;

const absent = (name: string, since: string, note: string): UnsupportedProgramType => ({
  supported: false,
  name,
  since,
  note,
});
const NETWORK = "comes with network hooks";
const CGROUP = "comes with cgroup programs";
const BTF = "needs BTF of the kernel";

export const programTypes = {
  SOCKET_FILTER: {
    supported: true,
    name: "socket_filter",
    since: "3.19",
    doc: "Filters packets of a socket. It loads, so that feature probes answer; nothing runs it yet.",
    scope: "all",
    needs: "none",
    hasPacketLoads: true,
    context: "opaque",
  },
  KPROBE: {
    supported: true,
    name: "kprobe",
    since: "4.1",
    doc: "Runs when a kprobe is hit; its context is the trap frame.",
    scope: "tracing",
    needs: "CAP_PERFMON",
    hasPacketLoads: false,
    context: "pt_regs",
  },
  SCHED_CLS: absent("sched_cls", "4.1", NETWORK),
  SCHED_ACT: absent("sched_act", "4.1", NETWORK),
  TRACEPOINT: {
    supported: true,
    name: "tracepoint",
    since: "4.7",
    doc: "Runs at a tracepoint. It loads, so that feature probes answer; nothing runs it yet.",
    scope: "tracing",
    needs: "CAP_PERFMON",
    hasPacketLoads: false,
    context: "opaque",
  },
  XDP: absent("xdp", "4.8", NETWORK),
  PERF_EVENT: absent("perf_event", "4.9", "comes with sampling events"),
  CGROUP_SKB: absent("cgroup_skb", "4.10", CGROUP),
  CGROUP_SOCK: absent("cgroup_sock", "4.10", CGROUP),
  LWT_IN: absent("lwt_in", "4.10", NETWORK),
  LWT_OUT: absent("lwt_out", "4.10", NETWORK),
  LWT_XMIT: absent("lwt_xmit", "4.10", NETWORK),
  SOCK_OPS: absent("sock_ops", "4.13", NETWORK),
  SK_SKB: absent("sk_skb", "4.14", NETWORK),
  CGROUP_DEVICE: absent("cgroup_device", "4.15", CGROUP),
  SK_MSG: absent("sk_msg", "4.17", NETWORK),
  RAW_TRACEPOINT: absent("raw_tracepoint", "4.17", "comes with tracepoints"),
  CGROUP_SOCK_ADDR: absent("cgroup_sock_addr", "4.17", CGROUP),
  LWT_SEG6LOCAL: absent("lwt_seg6local", "4.18", NETWORK),
  LIRC_MODE2: absent("lirc_mode2", "4.18", "there are no infrared receivers"),
  SK_REUSEPORT: absent("sk_reuseport", "4.19", NETWORK),
  FLOW_DISSECTOR: absent("flow_dissector", "4.20", NETWORK),
  CGROUP_SYSCTL: absent("cgroup_sysctl", "5.2", CGROUP),
  RAW_TRACEPOINT_WRITABLE: absent("raw_tracepoint_writable", "5.2", "comes with tracepoints"),
  CGROUP_SOCKOPT: absent("cgroup_sockopt", "5.3", CGROUP),
  TRACING: absent("tracing", "5.5", BTF),
  STRUCT_OPS: absent("struct_ops", "5.6", BTF),
  EXT: absent("ext", "5.6", BTF),
  LSM: absent("lsm", "5.7", BTF),
  SK_LOOKUP: absent("sk_lookup", "5.9", NETWORK),
  SYSCALL: absent("syscall", "5.14", BTF),
  NETFILTER: absent("netfilter", "6.4", NETWORK),
} as const satisfies Record<ProgramTypeName, ProgramTypeRow>;

const byNumber: readonly (ProgramTypeRow | undefined)[] = (() => {
  const rows: (ProgramTypeRow | undefined)[] = [];
  for (const [name, row] of Object.entries(programTypes)) rows[BPF_PROG_TYPE[name as ProgramTypeName]] = row;
  return rows;
})();

export const programTypeRow = (type: number): ProgramTypeRow | undefined => byNumber[type];

/** Whether a program of this type may call a helper, given what its loader may do. */
export function mayCall(
  type: SupportedProgramType,
  row: HelperRow,
  loader: { readonly hasCapBpf: boolean; readonly hasCapPerfmon: boolean },
): boolean {
  if (row.scope === "tracing" && type.scope !== "tracing") return false;
  if (row.needs === "CAP_BPF") return loader.hasCapBpf;
  return row.needs === "none" || loader.hasCapPerfmon;
}
