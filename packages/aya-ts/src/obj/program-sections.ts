/**
 * Section name → program type: one row per name that Aya or libbpf knows (aya-obj `ProgramSection::from_str`, libbpf
 * `section_defs`).
 *
 * The name up to the first `/` decides, unless a row names the part after it too; the longest row wins. What follows (an
 * attach target) is kept and may be used as a default. A leading `?` (libbpf: not loaded unless asked for) is left out.
 */
import { BPF_ATTACH_TYPE as ATTACH, BPF_PROG_F, BPF_PROG_TYPE } from "@alien-ts/abi";
import { ParseError } from "../errors.ts";

export interface ProgramSection {
  /** Name of the row. */
  readonly kind: string;
  readonly type: number;
  /** enum bpf_attach_type. */
  readonly expectedAttachType: number;
  /** BPF_F_SLEEPABLE, BPF_F_XDP_HAS_FRAGS. */
  readonly flags: number;
  /** Text after the row's name and a `/`, "" when there is none. */
  readonly target: string;
}

/** Program types that have no attach type pass 0. */
const NONE = 0;

type Row = readonly [type: keyof typeof BPF_PROG_TYPE, expectedAttachType: number, flags?: number];

const ROWS = {
  kprobe: ["KPROBE", NONE],
  kretprobe: ["KPROBE", NONE],
  uprobe: ["KPROBE", NONE],
  "uprobe.s": ["KPROBE", NONE, BPF_PROG_F.SLEEPABLE],
  uretprobe: ["KPROBE", NONE],
  "uretprobe.s": ["KPROBE", NONE, BPF_PROG_F.SLEEPABLE],
  "uprobe.multi": ["KPROBE", ATTACH.TRACE_UPROBE_MULTI],
  "uprobe.multi.s": ["KPROBE", ATTACH.TRACE_UPROBE_MULTI, BPF_PROG_F.SLEEPABLE],
  "uretprobe.multi": ["KPROBE", ATTACH.TRACE_UPROBE_MULTI],
  "uretprobe.multi.s": ["KPROBE", ATTACH.TRACE_UPROBE_MULTI, BPF_PROG_F.SLEEPABLE],
  "uprobe.session": ["KPROBE", ATTACH.TRACE_UPROBE_SESSION],
  "uprobe.session.s": ["KPROBE", ATTACH.TRACE_UPROBE_SESSION, BPF_PROG_F.SLEEPABLE],
  "kprobe.multi": ["KPROBE", ATTACH.TRACE_KPROBE_MULTI],
  "kretprobe.multi": ["KPROBE", ATTACH.TRACE_KPROBE_MULTI],
  "kprobe.session": ["KPROBE", ATTACH.TRACE_KPROBE_SESSION],
  ksyscall: ["KPROBE", NONE],
  kretsyscall: ["KPROBE", NONE],
  usdt: ["KPROBE", NONE],
  "usdt.s": ["KPROBE", NONE, BPF_PROG_F.SLEEPABLE],
  xdp: ["XDP", ATTACH.XDP],
  "xdp/cpumap": ["XDP", ATTACH.XDP_CPUMAP],
  "xdp/devmap": ["XDP", ATTACH.XDP_DEVMAP],
  "xdp.frags": ["XDP", ATTACH.XDP, BPF_PROG_F.XDP_HAS_FRAGS],
  "xdp.frags/cpumap": ["XDP", ATTACH.XDP_CPUMAP, BPF_PROG_F.XDP_HAS_FRAGS],
  "xdp.frags/devmap": ["XDP", ATTACH.XDP_DEVMAP, BPF_PROG_F.XDP_HAS_FRAGS],
  tp_btf: ["TRACING", ATTACH.TRACE_RAW_TP],
  tracepoint: ["TRACEPOINT", NONE],
  tp: ["TRACEPOINT", NONE],
  syscall: ["SYSCALL", NONE, BPF_PROG_F.SLEEPABLE],
  socket: ["SOCKET_FILTER", NONE],
  sk_msg: ["SK_MSG", ATTACH.SK_MSG_VERDICT],
  "sk_skb/stream_parser": ["SK_SKB", ATTACH.SK_SKB_STREAM_PARSER],
  "sk_skb/stream_verdict": ["SK_SKB", ATTACH.SK_SKB_STREAM_VERDICT],
  "sk_skb/verdict": ["SK_SKB", ATTACH.SK_SKB_VERDICT],
  sk_skb: ["SK_SKB", NONE],
  sockops: ["SOCK_OPS", ATTACH.CGROUP_SOCK_OPS],
  classifier: ["SCHED_CLS", NONE],
  tc: ["SCHED_CLS", NONE],
  "tc/ingress": ["SCHED_CLS", ATTACH.TCX_INGRESS],
  "tc/egress": ["SCHED_CLS", ATTACH.TCX_EGRESS],
  "tcx/ingress": ["SCHED_CLS", ATTACH.TCX_INGRESS],
  "tcx/egress": ["SCHED_CLS", ATTACH.TCX_EGRESS],
  "netkit/primary": ["SCHED_CLS", ATTACH.NETKIT_PRIMARY],
  "netkit/peer": ["SCHED_CLS", ATTACH.NETKIT_PEER],
  action: ["SCHED_ACT", NONE],
  netfilter: ["NETFILTER", ATTACH.NETFILTER],
  lwt_in: ["LWT_IN", NONE],
  lwt_out: ["LWT_OUT", NONE],
  lwt_xmit: ["LWT_XMIT", NONE],
  lwt_seg6local: ["LWT_SEG6LOCAL", NONE],
  "cgroup_skb/ingress": ["CGROUP_SKB", ATTACH.CGROUP_INET_INGRESS],
  "cgroup_skb/egress": ["CGROUP_SKB", ATTACH.CGROUP_INET_EGRESS],
  "cgroup/skb": ["CGROUP_SKB", ATTACH.CGROUP_INET_INGRESS],
  "cgroup/sysctl": ["CGROUP_SYSCTL", ATTACH.CGROUP_SYSCTL],
  "cgroup/dev": ["CGROUP_DEVICE", ATTACH.CGROUP_DEVICE],
  "cgroup/getsockopt": ["CGROUP_SOCKOPT", ATTACH.CGROUP_GETSOCKOPT],
  "cgroup/setsockopt": ["CGROUP_SOCKOPT", ATTACH.CGROUP_SETSOCKOPT],
  "cgroup/sock": ["CGROUP_SOCK", ATTACH.CGROUP_INET_SOCK_CREATE],
  "cgroup/sock_create": ["CGROUP_SOCK", ATTACH.CGROUP_INET_SOCK_CREATE],
  "cgroup/sock_release": ["CGROUP_SOCK", ATTACH.CGROUP_INET_SOCK_RELEASE],
  "cgroup/post_bind4": ["CGROUP_SOCK", ATTACH.CGROUP_INET4_POST_BIND],
  "cgroup/post_bind6": ["CGROUP_SOCK", ATTACH.CGROUP_INET6_POST_BIND],
  "cgroup/bind4": ["CGROUP_SOCK_ADDR", ATTACH.CGROUP_INET4_BIND],
  "cgroup/bind6": ["CGROUP_SOCK_ADDR", ATTACH.CGROUP_INET6_BIND],
  "cgroup/connect4": ["CGROUP_SOCK_ADDR", ATTACH.CGROUP_INET4_CONNECT],
  "cgroup/connect6": ["CGROUP_SOCK_ADDR", ATTACH.CGROUP_INET6_CONNECT],
  "cgroup/connect_unix": ["CGROUP_SOCK_ADDR", ATTACH.CGROUP_UNIX_CONNECT],
  "cgroup/getpeername_unix": ["CGROUP_SOCK_ADDR", ATTACH.CGROUP_UNIX_GETPEERNAME],
  "cgroup/getsockname_unix": ["CGROUP_SOCK_ADDR", ATTACH.CGROUP_UNIX_GETSOCKNAME],
  "cgroup/sendmsg_unix": ["CGROUP_SOCK_ADDR", ATTACH.CGROUP_UNIX_SENDMSG],
  "cgroup/recvmsg_unix": ["CGROUP_SOCK_ADDR", ATTACH.CGROUP_UNIX_RECVMSG],
  "cgroup/getpeername4": ["CGROUP_SOCK_ADDR", ATTACH.CGROUP_INET4_GETPEERNAME],
  "cgroup/getpeername6": ["CGROUP_SOCK_ADDR", ATTACH.CGROUP_INET6_GETPEERNAME],
  "cgroup/getsockname4": ["CGROUP_SOCK_ADDR", ATTACH.CGROUP_INET4_GETSOCKNAME],
  "cgroup/getsockname6": ["CGROUP_SOCK_ADDR", ATTACH.CGROUP_INET6_GETSOCKNAME],
  "cgroup/sendmsg4": ["CGROUP_SOCK_ADDR", ATTACH.CGROUP_UDP4_SENDMSG],
  "cgroup/sendmsg6": ["CGROUP_SOCK_ADDR", ATTACH.CGROUP_UDP6_SENDMSG],
  "cgroup/recvmsg4": ["CGROUP_SOCK_ADDR", ATTACH.CGROUP_UDP4_RECVMSG],
  "cgroup/recvmsg6": ["CGROUP_SOCK_ADDR", ATTACH.CGROUP_UDP6_RECVMSG],
  lirc_mode2: ["LIRC_MODE2", ATTACH.FLOW_DISSECTOR],
  perf_event: ["PERF_EVENT", NONE],
  raw_tp: ["RAW_TRACEPOINT", NONE],
  raw_tracepoint: ["RAW_TRACEPOINT", NONE],
  "raw_tp.w": ["RAW_TRACEPOINT_WRITABLE", NONE],
  "raw_tracepoint.w": ["RAW_TRACEPOINT_WRITABLE", NONE],
  lsm: ["LSM", ATTACH.LSM_MAC],
  "lsm.s": ["LSM", ATTACH.LSM_MAC, BPF_PROG_F.SLEEPABLE],
  lsm_cgroup: ["LSM", ATTACH.LSM_CGROUP],
  fentry: ["TRACING", ATTACH.TRACE_FENTRY],
  "fentry.s": ["TRACING", ATTACH.TRACE_FENTRY, BPF_PROG_F.SLEEPABLE],
  fexit: ["TRACING", ATTACH.TRACE_FEXIT],
  "fexit.s": ["TRACING", ATTACH.TRACE_FEXIT, BPF_PROG_F.SLEEPABLE],
  fmod_ret: ["TRACING", ATTACH.MODIFY_RETURN],
  "fmod_ret.s": ["TRACING", ATTACH.MODIFY_RETURN, BPF_PROG_F.SLEEPABLE],
  flow_dissector: ["FLOW_DISSECTOR", NONE],
  freplace: ["EXT", NONE],
  sk_lookup: ["SK_LOOKUP", ATTACH.SK_LOOKUP],
  sk_reuseport: ["SK_REUSEPORT", ATTACH.SK_REUSEPORT_SELECT],
  "sk_reuseport/migrate": ["SK_REUSEPORT", ATTACH.SK_REUSEPORT_SELECT_OR_MIGRATE],
  iter: ["TRACING", ATTACH.TRACE_ITER],
  "iter.s": ["TRACING", ATTACH.TRACE_ITER, BPF_PROG_F.SLEEPABLE],
  struct_ops: ["STRUCT_OPS", NONE],
  "struct_ops.s": ["STRUCT_OPS", NONE, BPF_PROG_F.SLEEPABLE],
} as const satisfies Record<string, Row>;

/** Names of rows. */
export type ProgramSectionKind = keyof typeof ROWS;

const rowOf = (name: string): Row | undefined =>
  Object.hasOwn(ROWS, name) ? ROWS[name as ProgramSectionKind] : undefined;

/** Throws a `ParseError` that names the section and what is known. */
export function programSection(sectionName: string): ProgramSection {
  const name = sectionName.replace(/^\?/, "");
  const [first = "", second] = name.split("/");
  const long = second === undefined ? "" : `${first}/${second}`;
  const kind = rowOf(long) === undefined ? first : long;
  const row = rowOf(kind);
  if (row === undefined)
    throw new ParseError(name, `unknown program section; known are ${Object.keys(ROWS).join(", ")}`);
  const [type, expectedAttachType, flags = 0] = row;
  return { kind, type: BPF_PROG_TYPE[type], expectedAttachType, flags, target: name.slice(kind.length + 1) };
}
