/**
 * What programs may read and write of their contexts, by program type: rows of equal fields.
 *
 * Linux: the `is_valid_access` functions of `struct bpf_verifier_ops`. Offsets are those of the UAPI structures in
 * include/uapi/linux/bpf.h, which are fixed.
 */
import type { ContextRules, ContextRow } from "../env.ts";

/** Fields of 4 bytes of which any aligned part may be read. */
const narrow = (from: number, to: number, writes: readonly number[] = []): ContextRow => ({
  from,
  to,
  stride: 4,
  reads: [1, 2, 4],
  writes,
  narrowBytes: 4,
});
/** Fields of 4 bytes of which the beginning may be read. */
const head = (from: number, to: number): ContextRow => ({ ...narrow(from, to), narrowBytes: 0 });
/** Fields of 8 bytes of which any aligned part may be read. */
const narrow8 = (from: number, to: number): ContextRow => ({
  from,
  to,
  stride: 8,
  reads: [1, 2, 4, 8],
  writes: [],
  narrowBytes: 8,
});
/** Fields that are read and written whole. */
const whole = (from: number, to: number, size: number, writes: readonly number[] = []): ContextRow => ({
  from,
  to,
  stride: size,
  reads: [size],
  writes,
  narrowBytes: 0,
});
/** A field that reads as a pointer. */
const points = (at: number, size: number, gives: NonNullable<ContextRow["gives"]>): ContextRow => ({
  ...whole(at, at + size, size),
  gives,
});

const packet = (at: number, kind: "pkt" | "pkt_end" | "pkt_meta", size = 4): ContextRow =>
  points(at, size, { kind, isNullable: false });
const socket = (at: number, kind: "sock" | "sock_common", isNullable: boolean): ContextRow =>
  points(at, 8, { kind, isNullable });

/** `cb` of a packet: any aligned piece. */
const controlBlock = (isWritten: boolean): ContextRow => ({
  from: 48,
  to: 68,
  stride: 20,
  reads: [1, 2, 4, 8],
  writes: isWritten ? [1, 2, 4, 8] : [],
  narrowBytes: 20,
});
const SOCKET_OF_PACKET = socket(168, "sock_common", true);
const DATA = [packet(76, "pkt"), packet(80, "pkt_end")];
const ADDRESSES = whole(92, 132, 4);

const context = (
  name: string,
  rows: readonly ContextRow[],
  extra: Partial<ContextRules> = {},
): ContextRules => ({
  name,
  rows,
  isFlat: false,
  ...extra,
});

/** Helpers may be given pointers into it: the kernel's structure is what programs see. */
const FLAT: Partial<ContextRules> = { isFlat: true };

const SOCK_ADDR_COMMON = [whole(0, 4, 4), whole(28, 40, 4), socket(64, "sock", false)];
const PORT = narrow(24, 28, [4]);
const INET4 = narrow(4, 8, [4]);
const INET6: ContextRow = { ...narrow8(8, 24), writes: [4, 8] };
const SOCK_FIELDS = [head(4, 16), { ...narrow(48, 52), narrowBytes: 2 }, narrow(52, 72), head(72, 80)];

const XDP_DATA = [packet(0, "pkt"), packet(4, "pkt_end"), packet(8, "pkt_meta")];

export const CONTEXTS = {
  socket_filter: context("__sk_buff", [
    narrow(0, 48),
    controlBlock(true),
    narrow(68, 72),
    narrow(84, 88),
    narrow(164, 168),
    SOCKET_OF_PACKET,
    narrow(176, 180),
  ]),
  sched_cls: context("__sk_buff", [
    narrow(0, 8),
    narrow(8, 16, [4]),
    narrow(16, 32),
    narrow(32, 36, [4]),
    narrow(36, 44),
    narrow(44, 48, [4]),
    controlBlock(true),
    narrow(68, 72),
    narrow(72, 76, [4]),
    ...DATA,
    narrow(84, 88),
    packet(140, "pkt_meta"),
    whole(152, 160, 8, [8]),
    narrow(160, 168),
    SOCKET_OF_PACKET,
    narrow(176, 180),
    whole(180, 181, 1),
    whole(184, 192, 8),
  ]),
  cgroup_skb: context("__sk_buff", [
    narrow(0, 8),
    narrow(8, 12, [4]),
    narrow(12, 32),
    narrow(32, 36, [4]),
    narrow(36, 48),
    controlBlock(true),
    narrow(68, 72),
    ...DATA.map((row): ContextRow => ({ ...row, needs: { capability: "hasCapBpf", of: "read" } })),
    narrow(84, 92),
    ADDRESSES,
    narrow(132, 140),
    { ...whole(152, 160, 8, [8]), needs: { capability: "hasCapBpf", of: "write" } },
    narrow(164, 168),
    SOCKET_OF_PACKET,
    narrow(176, 180),
    whole(184, 192, 8),
  ]),
  lwt: context("__sk_buff", [
    narrow(0, 8),
    narrow(8, 12, [4]),
    narrow(12, 32),
    narrow(32, 36, [4]),
    narrow(36, 48),
    controlBlock(true),
    narrow(68, 72),
    ...DATA,
    narrow(84, 88),
    narrow(164, 168),
    SOCKET_OF_PACKET,
    narrow(176, 180),
  ]),
  sk_skb: context("__sk_buff", [
    narrow(0, 8),
    narrow(12, 32),
    narrow(32, 36, [4]),
    narrow(36, 44),
    narrow(44, 48, [4]),
    controlBlock(false),
    narrow(68, 72),
    ...DATA,
    narrow(84, 92),
    ADDRESSES,
    narrow(132, 140),
    narrow(164, 168),
    SOCKET_OF_PACKET,
    narrow(176, 180),
  ]),
  flow_dissector: context("__sk_buff", [...DATA, points(144, 8, { kind: "flow_keys", isNullable: false })]),
  pt_regs: context("pt_regs", [narrow8(0, 168)], FLAT),
  tracepoint: context("tracepoint", [narrow8(8, 8192)], FLAT),
  perf_event: context("bpf_perf_event_data", [whole(0, 168, 8), narrow8(168, 184)]),
  xdp: context("xdp_md", [...XDP_DATA, whole(12, 20, 4)]),
  /** Run on redirected packets, which have a device to leave by. */
  xdp_devmap: context("xdp_md", [...XDP_DATA, whole(12, 24, 4)]),
  cgroup_sock: context("bpf_sock", [whole(0, 4, 4, [4]), ...SOCK_FIELDS, whole(16, 24, 4, [4])]),
  cgroup_post_bind4: context("bpf_sock", [...SOCK_FIELDS, narrow(24, 28), head(44, 48)]),
  cgroup_post_bind6: context("bpf_sock", [...SOCK_FIELDS, narrow(28, 44), head(44, 48)]),
  sock_ops: context("bpf_sock_ops", [
    whole(0, 4, 4),
    whole(4, 8, 4, [4]),
    whole(8, 164, 4),
    whole(164, 168, 4, [4]),
    whole(168, 184, 8),
    socket(184, "sock", true),
    packet(192, "pkt", 8),
    packet(200, "pkt_end", 8),
    whole(208, 212, 4),
    head(212, 216),
    whole(216, 224, 8),
  ]),
  cgroup_device: context("bpf_cgroup_dev_ctx", [narrow(0, 4), whole(4, 12, 4)], FLAT),
  sk_msg: context("sk_msg_md", [
    packet(0, "pkt", 8),
    packet(8, "pkt_end", 8),
    whole(16, 72, 4),
    socket(72, "sock", false),
  ]),
  raw_tracepoint: context("bpf_raw_tracepoint_args", [narrow8(0, 96)], FLAT),
  raw_tracepoint_writable: context(
    "bpf_raw_tracepoint_args",
    [
      points(0, 8, { kind: "tp_buffer", isNullable: false }),
      // Parts of the first word, but not from its beginning, which is a pointer.
      { ...narrow(1, 4), stride: 3, reads: [1, 2], narrowBytes: 3 },
      narrow(4, 8),
      narrow8(8, 96),
    ],
    FLAT,
  ),
  sock_addr_inet4: context("bpf_sock_addr", [...SOCK_ADDR_COMMON, INET4, PORT]),
  sock_addr_inet6: context("bpf_sock_addr", [...SOCK_ADDR_COMMON, INET6, PORT]),
  sock_addr_unix: context("bpf_sock_addr", [...SOCK_ADDR_COMMON, PORT]),
  sock_addr_sendmsg4: context("bpf_sock_addr", [...SOCK_ADDR_COMMON, INET4, PORT, narrow(40, 44, [4])]),
  sock_addr_sendmsg6: context("bpf_sock_addr", [
    ...SOCK_ADDR_COMMON,
    INET6,
    PORT,
    narrow(44, 48, [4]),
    { ...narrow8(48, 56), writes: [4, 8] },
    narrow(56, 60, [4]),
  ]),
  lirc_mode2: context("__u32", [whole(0, 4, 4)], FLAT),
  sk_reuseport: context("sk_reuseport_md", [
    packet(0, "pkt", 8),
    packet(8, "pkt_end", 8),
    narrow(16, 20),
    { ...narrow(20, 24), reads: [2, 4] },
    narrow(24, 32),
    whole(32, 36, 4),
    socket(40, "sock", false),
    socket(48, "sock_common", true),
  ]),
  cgroup_sysctl: context("bpf_sysctl", [narrow(0, 4), narrow(4, 8, [4])]),
  cgroup_getsockopt: context("bpf_sockopt", [
    socket(0, "sock", false),
    packet(8, "pkt", 8),
    packet(16, "pkt_end", 8),
    whole(24, 32, 4),
    whole(32, 40, 4, [4]),
  ]),
  cgroup_setsockopt: context("bpf_sockopt", [
    socket(0, "sock", false),
    packet(8, "pkt", 8),
    packet(16, "pkt_end", 8),
    whole(24, 36, 4, [4]),
  ]),
  sk_lookup: context("bpf_sk_lookup", [socket(0, "sock", true), narrow(8, 68)]),
  /** Any offset: the caller's buffer, whose size is known when it runs. */
  syscall: context(
    "__u8",
    [{ ...narrow8(0, 65_535), stride: 65_536, narrowBytes: 65_536, writes: [1, 2, 4, 8] }],
    FLAT,
  ),
  netfilter: context(
    "bpf_nf_ctx",
    [
      points(0, 8, { kind: "ptr_", isNullable: false, type: "nf_hook_state" }),
      points(8, 8, { kind: "ptr_", isNullable: false, type: "sk_buff" }),
    ],
    FLAT,
  ),
} as const satisfies Record<string, ContextRules>;

export type ContextName = keyof typeof CONTEXTS;
