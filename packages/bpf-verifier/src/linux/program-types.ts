/**
 * Rules of every program type of Linux 6.18 as rows: helpers, context, results, packet access.
 *
 * `linuxProgramType(type, attachType)` finds the row. Helpers are lists of ids beside those that every type may call; contexts
 * are rows of `contexts.ts`. Linux: the `*_verifier_ops` of net/core/filter.c, kernel/trace/bpf_trace.c, kernel/bpf/cgroup.c …
 */
import type { ProgramRules, ReturnRange } from "../env.ts";
import { CONTEXTS } from "./contexts.ts";
import type { Capabilities } from "../privileges.ts";
import type { ContextName } from "./contexts.ts";
import { hasSocketOptions } from "./hooks.ts";

const COMMON = ids(
  "1-3 5-8 12 14-17 22 35 37 42 55 80 87-89 93-94 105-106 109 112-115 117-118 120 123 125 130-134 141 148-149 153-154 156-158 " +
    "164-165 169-172 175-177 180-182 191 194-195 197-203 208-211",
);
const SKC = "136-140 160 178 196";
const SCHED = `9-11 13 18-21 23-26 28-34 38-41 43 46-48 50 66 68-69 79 83-86 95-100 107-108 110 122 124 135-140 151-152 155 160 163 178 192 196 204-207`;
const TRACEPOINT = "4 25 27 45 67 173-174";
const LWT = `24-26 28 33-34 39 ${SKC}`;
const TRACING = `4 25 27 45-46 67 107-108 111 121 136-140 178 196 147 162 173-174 188`;
const LSM = `${TRACING} 145-146 159 161 193`;
const SOCK_ADDR = `25 46 49 57 81 84-86 99 107-108 122 ${SKC}`;

/** The result of a system call, which some attach types have none of: get_retval, set_retval. */
const RETURN_VALUE = ids("186-187");
const WITHOUT_VALUE = ids("0-1 3 19-20 29-32 51-53");

interface Row {
  readonly name: string;
  readonly helpers: string;
  readonly context: ContextName | undefined;
  readonly hasPacketLoads?: boolean;
  /** Packets may be read through helpers and directly; written directly. */
  readonly packet?: "none" | "read" | "write";
  readonly returns?: ReturnRange;
  readonly isTracing?: boolean;
  /** The helpers that nearly every type may call. */
  readonly hasCommon?: boolean;
}

const BOOL: ReturnRange = { min: 0n, max: 1n };
const ZERO: ReturnRange = { min: 0n, max: 0n };

const ROWS: readonly (Row | undefined)[] = [
  undefined,
  {
    name: "socket_filter",
    helpers: `25-26 46-47 68 122 ${SKC}`,
    context: "socket_filter",
    hasPacketLoads: true,
  },
  { name: "kprobe", helpers: TRACEPOINT, context: "pt_regs", isTracing: true },
  { name: "sched_cls", helpers: SCHED, context: "sched_cls", hasPacketLoads: true, packet: "write" },
  { name: "sched_act", helpers: SCHED, context: "sched_cls", hasPacketLoads: true, packet: "write" },
  { name: "tracepoint", helpers: TRACEPOINT, context: "tracepoint", isTracing: true },
  {
    name: "xdp",
    helpers: `23 25 28 44 51 54 65 69 84-86 99-100 110 ${SKC} 163 188-190 204-207`,
    context: "xdp",
    packet: "write",
  },
  { name: "perf_event", helpers: "4 25 27 45 56 67 119 173-174", context: "perf_event", isTracing: true },
  {
    name: "cgroup_skb",
    helpers: `25-26 46-47 68 79 81 83-86 95-99 107-108 122 128-129 ${SKC}`,
    context: "cgroup_skb",
    packet: "read",
    returns: BOOL,
  },
  { name: "cgroup_sock", helpers: "25 46 81 107 122 160 186-187", context: "cgroup_sock", returns: BOOL },
  { name: "lwt_in", helpers: `${LWT} 73`, context: "lwt", packet: "read" },
  { name: "lwt_out", helpers: LWT, context: "lwt", packet: "read" },
  {
    name: "lwt_xmit",
    helpers: `9-11 13 20-21 23-26 28-30 33-34 38-41 43 73 135-140 160 178 196`,
    context: "lwt",
    packet: "write",
  },
  {
    name: "sock_ops",
    helpers: `25 46 49 53 57 59 70 81 96 107-108 122 136-140 142-144 160 178 196`,
    context: "sock_ops",
    returns: BOOL,
    packet: "read",
  },
  {
    name: "sk_skb",
    helpers: `9 25-26 38-39 43 46-47 50 52 72 84-86 99 ${SKC}`,
    context: "sk_skb",
    packet: "write",
  },
  { name: "cgroup_device", helpers: "25 81 186-187", context: "cgroup_device", returns: BOOL },
  { name: "sk_msg", helpers: `25 60-63 71 90-91 107-108 122 ${SKC}`, context: "sk_msg", packet: "write" },
  { name: "raw_tracepoint", helpers: TRACEPOINT, context: "raw_tracepoint", isTracing: true },
  { name: "cgroup_sock_addr", helpers: SOCK_ADDR, context: "sock_addr_inet4", returns: BOOL },
  { name: "lwt_seg6local", helpers: `${LWT} 74-76`, context: "lwt", packet: "read" },
  { name: "lirc_mode2", helpers: "25 77-78 92", context: "lirc_mode2" },
  { name: "sk_reuseport", helpers: "26 46 68 82 160", context: "sk_reuseport", packet: "read" },
  { name: "flow_dissector", helpers: `26 ${SKC}`, context: "flow_dissector", packet: "read" },
  { name: "cgroup_sysctl", helpers: "25 81 101-104 160 186-187", context: "cgroup_sysctl", returns: BOOL },
  {
    name: "raw_tracepoint_writable",
    helpers: TRACEPOINT,
    context: "raw_tracepoint_writable",
    isTracing: true,
  },
  {
    name: "cgroup_sockopt",
    helpers: "25 81 96 107-108 122 186-187",
    context: "cgroup_getsockopt",
    returns: BOOL,
    packet: "write",
  },
  { name: "tracing", helpers: TRACING, context: undefined, isTracing: true },
  { name: "struct_ops", helpers: "", context: undefined },
  { name: "ext", helpers: "", context: undefined },
  { name: "lsm", helpers: LSM, context: undefined, isTracing: true },
  { name: "sk_lookup", helpers: `25 86 124 ${SKC}`, context: "sk_lookup", returns: BOOL },
  {
    name: "syscall",
    helpers: `4 25 27 45-46 67 107-108 111 121 136-140 147 162 166-168 173 178-179 188 196`,
    context: "syscall",
    isTracing: true,
  },
  { name: "netfilter", helpers: "", context: "netfilter", returns: BOOL },
];

type Variant = Partial<Row>;
const inet6: Variant = { context: "sock_addr_inet6" };
const unix: Variant = { context: "sock_addr_unix" };
const ONE: ReturnRange = { min: 1n, max: 1n };

const CONGESTION = "107-108 116 160";
/** Operations of structures: "structure", or "structure.operation". */
const OPERATIONS: Record<string, Variant> = {
  tcp_congestion_ops: { helpers: `${CONGESTION} 49 57` },
  bpf_dummy_ops: { hasCommon: false },
  "tcp_congestion_ops.release": { helpers: CONGESTION },
};

const SOCKET_OPTIONS = "49 57";
const WITH_SOCKETS: readonly string[] = ["bpf_iter_tcp", "bpf_iter_unix"];
const [LSM_TYPE, LSM_CGROUP] = [29, 43];

/** Iterators and hooks that may call getsockopt() and setsockopt(). Linux: bpf_iter_get_func_proto(), bpf_lsm_func_proto() */
function hasOptions(type: number, attachType: number, operation: string | undefined): boolean {
  const isOfHook = type === LSM_TYPE && attachType === LSM_CGROUP && hasSocketOptions(operation);
  return isOfHook || WITH_SOCKETS.includes(operation ?? "");
}

/** Where the attach type changes the rules: "program type/attach type". */
const VARIANTS: Record<string, Variant> = {
  // Sessions of kprobes and uprobes: whether the return is wanted too.
  "2/56": { returns: BOOL },
  "2/57": { returns: BOOL },
  "6/33": { context: "xdp_devmap" },
  "8/1": { returns: { min: 0n, max: 3n } },
  "9/12": { context: "cgroup_post_bind4" },
  "9/13": { context: "cgroup_post_bind6" },
  "18/8": { helpers: `${SOCK_ADDR} 186-187`, returns: { min: 0n, max: 3n } },
  "18/9": { ...inet6, helpers: `${SOCK_ADDR} 186-187`, returns: { min: 0n, max: 3n } },
  "18/10": { helpers: `${SOCK_ADDR} 64 186-187` },
  "18/11": { ...inet6, helpers: `${SOCK_ADDR} 64 186-187` },
  "18/14": { context: "sock_addr_sendmsg4", helpers: `${SOCK_ADDR} 186-187` },
  "18/15": { context: "sock_addr_sendmsg6", helpers: `${SOCK_ADDR} 186-187` },
  "18/19": { returns: ONE },
  "18/20": { ...inet6, returns: ONE },
  "18/29": { returns: ONE },
  "18/30": { ...inet6, returns: ONE },
  "18/31": { returns: ONE },
  "18/32": { ...inet6, returns: ONE },
  "18/49": { ...unix, helpers: `${SOCK_ADDR} 186-187` },
  "18/50": { ...unix, helpers: `${SOCK_ADDR} 186-187` },
  "18/51": { ...unix, returns: ONE },
  "18/52": { ...unix, returns: ONE },
  "18/53": { ...unix, returns: ONE },
  "25/22": { helpers: "25 49 57 81 96 107-108 122 186-187", context: "cgroup_setsockopt" },
  "26/24": { helpers: `${TRACING} 183-185`, returns: ZERO },
  "26/25": { helpers: `${TRACING} 183-185`, returns: ZERO },
  "26/26": { helpers: `${TRACING} 183-185` },
  "29/27": { helpers: `${LSM} 183-185` },
  "29/43": { helpers: `${LSM} 81 186-187` },
  "26/28": {
    helpers: `4 25 27 45-46 67 107-108 111 121 126-127 136-140 178 196 147 150 162 173 188`,
    returns: BOOL,
  },
};

/** Attach types that a load may expect, of the types that ask for one. Zero stands for a default of some. */
const ATTACH_TYPES: Record<number, string> = {
  8: "0-1",
  9: "0 2 12-13 34",
  18: "8-11 14-15 19-20 29-32 49-53",
  21: "0 39-40",
  25: "21-22",
  28: "0",
  30: "36",
  31: "0",
  32: "45",
};

/** Linux: bpf_prog_load_check_attach() */
export function allowsAttachType(type: number, attachType: number): boolean {
  const allowed = ATTACH_TYPES[type];
  return allowed === undefined || ids(allowed).has(attachType);
}

/** Of programs of sockets of control groups, and of reuseport groups, where none is given. Linux: bpf_prog_load_fixup_attach_type() */
const DEFAULT_ATTACH_TYPES: Record<number, number> = { 9: 2, 21: 39 };

/** Types for everyone, where the machine lets everyone load: socket_filter, cgroup_skb. */
const FOR_EVERYONE: readonly number[] = [1, 8];
/** Types that see into the kernel: kprobe, tracepoint, perf_event, raw_tracepoint (also writable), tracing, struct_ops, ext, lsm. */
const SEEING: readonly number[] = [2, 5, 7, 17, 24, 26, 27, 28, 29];

/**
 * Types that change what networks do, and those that judge for a control group: sched_cls, sched_act, xdp, cgroup_sock, lwt_in, lwt_out,
 * lwt_xmit, sock_ops, sk_skb, cgroup_device, sk_msg, cgroup_sock_addr, lwt_seg6local, flow_dissector, cgroup_sysctl, cgroup_sockopt,
 * ext, netfilter.
 */
const NETWORKS: readonly number[] = [3, 4, 6, 9, 10, 11, 12, 13, 14, 15, 16, 18, 19, 22, 23, 25, 28, 32];

/** Whether a loader may load programs of this type. Linux: bpf_prog_load(), is_net_admin_prog_type(), is_perfmon_prog_type() */
export function mayLoadType(
  type: number,
  { hasCapBpf, hasCapPerfmon, hasCapNetAdmin }: Capabilities,
): boolean {
  if (FOR_EVERYONE.includes(type)) return true;
  const seesOrMay = hasCapPerfmon || !SEEING.includes(type);
  return hasCapBpf && seesOrMay && (hasCapNetAdmin || !NETWORKS.includes(type));
}

/**
 * The rules of a program type with an attach type; undefined for a number that is no type.
 * @param operation of a structure of operations: "structure.operation"; of an iterator or hook: its function.
 */
export function linuxProgramType(
  type: number,
  givenAttachType: number,
  operation?: string,
): ProgramRules | undefined {
  const attachType = givenAttachType === 0 ? (DEFAULT_ATTACH_TYPES[type] ?? 0) : givenAttachType;
  const base = ROWS[type];
  if (base === undefined) return undefined;
  const variant = VARIANTS[`${type}/${attachType}`] ?? operationOf(operation ?? "");
  const row: Row = { ...base, ...variant };
  const helpers = ids(
    hasOptions(type, attachType, operation) ? `${row.helpers} ${SOCKET_OPTIONS}` : row.helpers,
  );
  const hasCommon = row.hasCommon ?? true;
  const mayCall = (id: number): boolean => (hasCommon && COMMON.has(id)) || helpers.has(id);
  return {
    type,
    attachType,
    name: row.name,
    allowsHelper: (id) => mayCall(id) && !(RETURN_VALUE.has(id) && WITHOUT_VALUE.has(attachType)),
    hasPacketLoads: row.hasPacketLoads ?? false,
    packet: row.packet ?? "none",
    context: row.context === undefined ? undefined : CONTEXTS[row.context],
    returns: row.returns,
    isTracing: row.isTracing ?? false,
  };
}

const operationOf = (name: string): Variant | undefined =>
  OPERATIONS[name] ?? OPERATIONS[name.split(".")[0]!];

function ids(ranges: string): ReadonlySet<number> {
  const found = new Set<number>();
  for (const range of ranges.split(" ").filter((text) => text !== "")) {
    const [first = 0, last = first] = range.split("-").map(Number);
    for (let id = first; id <= last; id++) found.add(id);
  }
  return found;
}
