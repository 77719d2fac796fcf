/**
 * One row per program type of the UAPI. To add one: its row, and what runs it. A type that is not supported answers EINVAL, as
 * a kernel without it.
 */
import { BPF_PROG_TYPE } from "@alien-ts/abi";

export interface SupportedProgramType {
  readonly supported: true;
  /** As bpftool prints it. */
  readonly name: string;
  readonly since: string;
  readonly doc: string;
  /** What r1 points to. */
  readonly context: "pt_regs" | "typed" | "opaque";
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

export const programTypes = {
  SOCKET_FILTER: {
    supported: true,
    name: "socket_filter",
    since: "3.19",
    doc: "Filters packets of a socket. It loads, so that feature probes answer; nothing runs it yet.",
    context: "opaque",
  },
  KPROBE: {
    supported: true,
    name: "kprobe",
    since: "4.1",
    doc: "Runs when a kprobe is hit; its context is the trap frame.",
    context: "pt_regs",
  },
  SCHED_CLS: absent("sched_cls", "4.1", "there are no network devices with queues to classify for"),
  SCHED_ACT: absent("sched_act", "4.1", "there are no network devices with queues to act for"),
  TRACEPOINT: {
    supported: true,
    name: "tracepoint",
    since: "4.7",
    doc: "Runs at a tracepoint. It loads, so that feature probes answer; nothing runs it yet.",
    context: "opaque",
  },
  XDP: absent("xdp", "4.8", "there are no network devices that receive frames"),
  PERF_EVENT: absent(
    "perf_event",
    "4.9",
    "there are no sampling events; use a kprobe on what is to be counted",
  ),
  CGROUP_SKB: absent(
    "cgroup_skb",
    "4.10",
    "control groups have no hooks for programs, and there are no packets",
  ),
  CGROUP_SOCK: absent(
    "cgroup_sock",
    "4.10",
    "control groups have no hooks for programs; use a kprobe on the system call",
  ),
  LWT_IN: absent("lwt_in", "4.10", "there are no routes with tunnels"),
  LWT_OUT: absent("lwt_out", "4.10", "there are no routes with tunnels"),
  LWT_XMIT: absent("lwt_xmit", "4.10", "there are no routes with tunnels"),
  SOCK_OPS: absent("sock_ops", "4.13", "there are no TCP sockets whose events could be told"),
  SK_SKB: absent("sk_skb", "4.14", "there are no sockets of the internet families with streams"),
  CGROUP_DEVICE: absent(
    "cgroup_device",
    "4.15",
    "control groups have no hooks for programs; use a kprobe on the open",
  ),
  SK_MSG: absent("sk_msg", "4.17", "there are no sockets of the internet families that send"),
  RAW_TRACEPOINT: absent(
    "raw_tracepoint",
    "4.17",
    "BPF_RAW_TRACEPOINT_OPEN is missing; use a kprobe on the function that emits the tracepoint",
  ),
  CGROUP_SOCK_ADDR: absent(
    "cgroup_sock_addr",
    "4.17",
    "control groups have no hooks for programs; use a kprobe on connect or bind",
  ),
  LWT_SEG6LOCAL: absent("lwt_seg6local", "4.18", "there are no routes with segments"),
  LIRC_MODE2: absent("lirc_mode2", "4.18", "there are no infrared receivers"),
  SK_REUSEPORT: absent("sk_reuseport", "4.19", "there are no groups of sockets that share a port"),
  FLOW_DISSECTOR: absent("flow_dissector", "4.20", "there are no packets whose flow could be found"),
  CGROUP_SYSCTL: absent(
    "cgroup_sysctl",
    "5.2",
    "control groups have no hooks for programs; use a kprobe on the access",
  ),
  RAW_TRACEPOINT_WRITABLE: absent(
    "raw_tracepoint_writable",
    "5.2",
    "BPF_RAW_TRACEPOINT_OPEN is missing; use a kprobe on the function that emits the tracepoint",
  ),
  CGROUP_SOCKOPT: absent(
    "cgroup_sockopt",
    "5.3",
    "control groups have no hooks for programs; use a kprobe on the system call",
  ),
  TRACING: {
    supported: true,
    name: "tracing",
    since: "5.5",
    doc: "Runs at a function or tracepoint that the kernel's types name. It loads; nothing runs it yet.",
    context: "typed",
  },
  STRUCT_OPS: absent("struct_ops", "5.6", "no table of functions of this kernel takes programs"),
  EXT: absent("ext", "5.6", "functions of loaded programs cannot be replaced; load the changed program"),
  LSM: absent("lsm", "5.7", "security hooks do not call programs; use a kprobe on the function that does it"),
  SK_LOOKUP: absent("sk_lookup", "5.9", "there are no sockets of the internet families to find"),
  SYSCALL: absent("syscall", "5.14", "programs cannot call bpf(2); make the calls from user space"),
  NETFILTER: absent("netfilter", "6.4", "there are no packets for netfilter to judge"),
} as const satisfies Record<ProgramTypeName, ProgramTypeRow>;

const byNumber: readonly (ProgramTypeRow | undefined)[] = (() => {
  const rows: (ProgramTypeRow | undefined)[] = [];
  for (const [name, row] of Object.entries(programTypes)) rows[BPF_PROG_TYPE[name as ProgramTypeName]] = row;
  return rows;
})();

export const programTypeRow = (type: number): ProgramTypeRow | undefined => byNumber[type];
