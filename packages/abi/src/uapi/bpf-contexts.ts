/**
 * What BPF programs get in r1, as they see it, and the opaque objects that live on their stacks and in their maps:
 * include/uapi/linux/bpf.h.
 *
 * Programs never touch these bytes as they stand here: the verifier turns accesses into those of the kernel's own structures.
 */
import { array, named, ptr, s32, u16, u32, u64n, u8 } from "../ctype.ts";
import { abiStruct, anonymousStruct, anonymousUnion } from "../struct.ts";

const __u8 = named("__u8", u8);
const __u16 = named("__u16", u16);
const __be16 = named("__be16", u16);
const __u32 = named("__u32", u32);
const __be32 = named("__be32", u32);
const __s32 = named("__s32", s32);
const __u64 = named("__u64", u64n);
const words = array(__u32, 4);
/** A pointer whose field is 64 bits wide on every machine. */
const SOCK = anonymousUnion({ sk: ptr("bpf_sock") });

export const __sk_buff = abiStruct("__sk_buff", {
  len: __u32,
  pkt_type: __u32,
  mark: __u32,
  queue_mapping: __u32,
  protocol: __u32,
  vlan_present: __u32,
  vlan_tci: __u32,
  vlan_proto: __u32,
  priority: __u32,
  ingress_ifindex: __u32,
  ifindex: __u32,
  tc_index: __u32,
  cb: array(__u32, 5),
  hash: __u32,
  tc_classid: __u32,
  data: __u32,
  data_end: __u32,
  napi_id: __u32,
  family: __u32,
  remote_ip4: __u32,
  local_ip4: __u32,
  remote_ip6: words,
  local_ip6: words,
  remote_port: __u32,
  local_port: __u32,
  data_meta: __u32,
  flow: anonymousUnion({ flow_keys: ptr("bpf_flow_keys") }),
  tstamp: __u64,
  wire_len: __u32,
  gso_segs: __u32,
  socket: SOCK,
  gso_size: __u32,
  tstamp_type: __u8,
  hwtstamp: __u64,
});

export const bpf_flow_keys = abiStruct("bpf_flow_keys", {
  nhoff: __u16,
  thoff: __u16,
  addr_proto: __u16,
  is_frag: __u8,
  is_first_frag: __u8,
  is_encap: __u8,
  ip_proto: __u8,
  n_proto: __be16,
  sport: __be16,
  dport: __be16,
  addresses: anonymousUnion({
    ipv4: anonymousStruct({ ipv4_src: __be32, ipv4_dst: __be32 }),
    ipv6: anonymousStruct({ ipv6_src: words, ipv6_dst: words }),
  }),
  flags: __u32,
  flow_label: __be32,
});

export const xdp_md = abiStruct("xdp_md", {
  data: __u32,
  data_end: __u32,
  data_meta: __u32,
  ingress_ifindex: __u32,
  rx_queue_index: __u32,
  egress_ifindex: __u32,
});

export const bpf_sock = abiStruct("bpf_sock", {
  bound_dev_if: __u32,
  family: __u32,
  type: __u32,
  protocol: __u32,
  mark: __u32,
  priority: __u32,
  src_ip4: __u32,
  src_ip6: words,
  src_port: __u32,
  dst_port: __be16,
  dst_ip4: __u32,
  dst_ip6: words,
  state: __u32,
  rx_queue_mapping: __s32,
});

export const bpf_sock_addr = abiStruct("bpf_sock_addr", {
  user_family: __u32,
  user_ip4: __u32,
  user_ip6: words,
  user_port: __u32,
  family: __u32,
  type: __u32,
  protocol: __u32,
  msg_src_ip4: __u32,
  msg_src_ip6: words,
  socket: SOCK,
});

export const bpf_sock_ops = abiStruct("bpf_sock_ops", {
  op: __u32,
  answer: anonymousUnion({ args: words, reply: __u32, replylong: words }),
  family: __u32,
  remote_ip4: __u32,
  local_ip4: __u32,
  remote_ip6: words,
  local_ip6: words,
  remote_port: __u32,
  local_port: __u32,
  is_fullsock: __u32,
  snd_cwnd: __u32,
  srtt_us: __u32,
  bpf_sock_ops_cb_flags: __u32,
  state: __u32,
  rtt_min: __u32,
  snd_ssthresh: __u32,
  rcv_nxt: __u32,
  snd_nxt: __u32,
  snd_una: __u32,
  mss_cache: __u32,
  ecn_flags: __u32,
  rate_delivered: __u32,
  rate_interval_us: __u32,
  packets_out: __u32,
  retrans_out: __u32,
  total_retrans: __u32,
  segs_in: __u32,
  data_segs_in: __u32,
  segs_out: __u32,
  data_segs_out: __u32,
  lost_out: __u32,
  sacked_out: __u32,
  sk_txhash: __u32,
  bytes_received: __u64,
  bytes_acked: __u64,
  socket: SOCK,
  begin: anonymousUnion({ skb_data: ptr("void") }),
  end: anonymousUnion({ skb_data_end: ptr("void") }),
  skb_len: __u32,
  skb_tcp_flags: __u32,
  skb_hwtstamp: __u64,
});

export const sk_msg_md = abiStruct("sk_msg_md", {
  begin: anonymousUnion({ data: ptr("void") }),
  end: anonymousUnion({ data_end: ptr("void") }),
  family: __u32,
  remote_ip4: __u32,
  local_ip4: __u32,
  remote_ip6: words,
  local_ip6: words,
  remote_port: __u32,
  local_port: __u32,
  size: __u32,
  socket: SOCK,
});

export const sk_reuseport_md = abiStruct("sk_reuseport_md", {
  begin: anonymousUnion({ data: ptr("void") }),
  end: anonymousUnion({ data_end: ptr("void") }),
  len: __u32,
  eth_protocol: __u32,
  ip_protocol: __u32,
  bind_inany: __u32,
  hash: __u32,
  socket: SOCK,
  migrating: anonymousUnion({ migrating_sk: ptr("bpf_sock") }),
});

export const bpf_sk_lookup = abiStruct("bpf_sk_lookup", {
  selected: anonymousUnion({ socket: SOCK, cookie: __u64 }),
  family: __u32,
  protocol: __u32,
  remote_ip4: __u32,
  remote_ip6: words,
  remote_port: __be16,
  local_ip4: __u32,
  local_ip6: words,
  local_port: __u32,
  ingress_ifindex: __u32,
});

export const bpf_raw_tracepoint_args = abiStruct("bpf_raw_tracepoint_args", { args: array(__u64, 0) });

export const bpf_cgroup_dev_ctx = abiStruct("bpf_cgroup_dev_ctx", {
  access_type: __u32,
  major: __u32,
  minor: __u32,
});

export const bpf_sysctl = abiStruct("bpf_sysctl", { write: __u32, file_pos: __u32 });

export const bpf_sockopt = abiStruct("bpf_sockopt", {
  socket: SOCK,
  begin: anonymousUnion({ optval: ptr("void") }),
  end: anonymousUnion({ optval_end: ptr("void") }),
  level: __s32,
  optname: __s32,
  optlen: __s32,
  retval: __s32,
});

export const bpf_nf_ctx = abiStruct("bpf_nf_ctx", {
  state: ptr("const struct nf_hook_state"),
  skb: ptr("sk_buff"),
});

export const bpf_dynptr = abiStruct("bpf_dynptr", { __opaque: array(__u64, 2) });
export const bpf_timer = abiStruct("bpf_timer", { __opaque: array(__u64, 2) });
export const bpf_iter_num = abiStruct("bpf_iter_num", { __opaque: array(__u64, 1) });
export const bpf_spin_lock = abiStruct("bpf_spin_lock", { val: __u32 });
