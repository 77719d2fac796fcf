/**
 * Prototypes of every helper of Linux 6.18, a row each, in order of ids: id, name, result, arguments. Written from bpf-helpers(7).
 *
 * Words of arguments and results are explained in `call/kinds.ts`, which interprets them. A `!` before the name: only for
 * GPL-compatible programs. `null` stands for helpers whose arguments depend on the program (they have rules of their own).
 * The verifier knows helpers that no kernel of ours implements, so that verification does not wait for implementation.
 */
import type { HelperPrototype, ProgramRules } from "../env.ts";
import { parseArgument, parseReturn } from "../call/kinds.ts";
import { isSleepableHook } from "./hooks.ts";

const ROWS = `
0 unspec int
1 map_lookup_elem mapval? map key
2 map_update_elem int map key val any
3 map_delete_elem int map key
4 !probe_read int umem size0 any
5 ktime_get_ns int
6 !trace_printk int mem size
7 get_prandom_u32 int
8 get_smp_processor_id int
9 skb_store_bytes int ctx any mem size any
10 l3_csum_replace int ctx any any any any
11 l4_csum_replace int ctx any any any any
12 tail_call void ctx map any
13 clone_redirect int ctx any any
14 get_current_pid_tgid int
15 get_current_uid_gid int
16 get_current_comm int umem size
17 get_cgroup_classid int
18 skb_vlan_push int ctx any any
19 skb_vlan_pop int ctx
20 skb_get_tunnel_key int ctx umem size any
21 skb_set_tunnel_key int ctx mem size any
22 !perf_event_read int map any
23 redirect int any any
24 get_route_realm int ctx
25 !perf_event_output int ctx map any mem size0
26 skb_load_bytes int ctx any umem size
27 !get_stackid int ctx map any
28 csum_diff int mem? size0 mem? size0 any
29 skb_get_tunnel_opt int ctx umem size
30 skb_set_tunnel_opt int ctx mem size
31 skb_change_proto int ctx any any
32 skb_change_type int ctx any
33 skb_under_cgroup int ctx map any
34 get_hash_recalc int ctx
35 !get_current_task int
36 !probe_write_user int any mem size
37 current_task_under_cgroup int map any
38 skb_change_tail int ctx any any
39 skb_pull_data int ctx any
40 csum_update int ctx any
41 set_hash_invalid int ctx
42 get_numa_node_id int
43 skb_change_head int ctx any any
44 xdp_adjust_head int ctx any
45 !probe_read_str int umem size0 any
46 get_socket_cookie int ctx
47 get_socket_uid int ctx
48 set_hash int ctx any
49 setsockopt int ctx any any mem size
50 skb_adjust_room int ctx any any any
51 redirect_map int map any any
52 sk_redirect_map int ctx map any any
53 sock_map_update int ctx map key any
54 xdp_adjust_meta int ctx any
55 !perf_event_read_value int map any umem size
56 !perf_prog_read_value int ctx umem size
57 getsockopt int ctx any any umem size
58 !override_return int ctx any
59 sock_ops_cb_flags_set int ctx any
60 msg_redirect_map int ctx map any any
61 msg_apply_bytes int ctx any
62 msg_cork_bytes int ctx any
63 msg_pull_data int ctx any any any
64 bind int ctx mem size
65 xdp_adjust_tail int ctx any
66 skb_get_xfrm_state int ctx any umem size any
67 !get_stack int ctx umem size0 any
68 skb_load_bytes_relative int ctx any umem size any
69 !fib_lookup int ctx wmem size any
70 sock_hash_update int ctx map key any
71 msg_redirect_hash int ctx map key any
72 sk_redirect_hash int ctx map key any
73 lwt_push_encap int ctx any mem size
74 lwt_seg6_store_bytes int ctx any mem size
75 lwt_seg6_adjust_srh int ctx any any
76 lwt_seg6_action int ctx any mem size
77 !rc_repeat int ctx
78 !rc_keydown int ctx any any any
79 skb_cgroup_id int ctx
80 get_current_cgroup_id int
81 get_local_storage mapval map any
82 sk_select_reuseport int ctx map key any
83 skb_ancestor_cgroup_id int ctx any
84 sk_lookup_tcp sock? ctx mem size0 any any
85 sk_lookup_udp sock? ctx mem size0 any any
86 sk_release int sockrel
87 map_push_elem int map val any
88 map_pop_elem int map uval
89 map_peek_elem int map uval
90 msg_push_data int ctx any any any
91 msg_pop_data int ctx any any any
92 !rc_pointer_rel int ctx any any
93 spin_lock void spin
94 spin_unlock void spin
95 sk_fullsock sock? skcommon
96 tcp_sock tcpsock? skcommon
97 skb_ecn_set_ce int ctx
98 get_listener_sock sock? skcommon
99 skc_lookup_tcp skcommon? ctx mem size0 any any
100 !tcp_check_syncookie int sockbtf mem size mem size
101 sysctl_get_name int ctx wmem size any
102 sysctl_get_current_value int ctx umem size
103 sysctl_get_new_value int ctx umem size
104 sysctl_set_new_value int ctx mem size
105 strtol int mem size any long
106 strtoul int mem size any long
107 sk_storage_get mapval? map sockbtf wval? any
108 sk_storage_delete int map sockbtf
109 send_signal int any
110 !tcp_gen_syncookie int sockbtf mem size mem size
111 !skb_output int btf:sk_buff map any mem size0
112 !probe_read_user int umem size0 any
113 !probe_read_kernel int umem size0 any
114 !probe_read_user_str int umem size0 any
115 !probe_read_kernel_str int umem size0 any
116 tcp_send_ack int btf:tcp_sock any
117 send_signal_thread int any
118 jiffies64 int
119 !read_branch_records int ctx wmem? size0 any
120 get_ns_current_pid_tgid int any any umem size
121 !xdp_output int btf:xdp_buff map any mem size0
122 get_netns_cookie int ctx?
123 get_current_ancestor_cgroup_id int any
124 sk_assign int ctx sockbtf any
125 ktime_get_boot_ns int
126 !seq_printf int btf:seq_file mem size mem? size0
127 !seq_write int btf:seq_file mem size0
128 sk_cgroup_id int sockbtf
129 sk_ancestor_cgroup_id int sockbtf any
130 ringbuf_output int map mem size0 any
131 ringbuf_reserve ringmem? map allocsize any
132 ringbuf_submit void ringmem any
133 ringbuf_discard void ringmem any
134 ringbuf_query int map any
135 csum_level int ctx any
136 skc_to_tcp6_sock btf?:tcp6_sock sockbtf
137 skc_to_tcp_sock btf?:tcp_sock sockbtf
138 skc_to_tcp_timewait_sock btf?:tcp_timewait_sock sockbtf
139 skc_to_tcp_request_sock btf?:tcp_request_sock sockbtf
140 skc_to_udp6_sock btf?:udp6_sock sockbtf
141 get_task_stack int btf:task_struct umem size0 any
142 load_hdr_opt int ctx wmem size any
143 store_hdr_opt int ctx mem size any
144 reserve_hdr_opt int ctx any any
145 inode_storage_get mapval? map btf?:inode wval? any
146 inode_storage_delete int map btf?:inode
147 d_path int btf:path umem size0
148 copy_from_user int umem size0 any
149 snprintf_btf int wmem size mem size any
150 !seq_printf_btf int btf:seq_file mem size0 any
151 skb_cgroup_classid int ctx
152 redirect_neigh int any mem? size0 any
153 per_cpu_ptr btfmem? percpu any
154 this_cpu_ptr btfmem percpu
155 redirect_peer int any any
156 task_storage_get mapval? map btf?:task_struct wval? any
157 task_storage_delete int map btf?:task_struct
158 !get_current_task_btf tbtf:task_struct
159 bprm_opts_set int btf:linux_binprm any
160 ktime_get_coarse_ns int
161 ima_inode_hash int btf:inode umem size
162 sock_from_file btf?:socket btf:file
163 !check_mtu int ctx any wu32 any any
164 for_each_map_elem int map func stack? any
165 !snprintf int umem? size0 str mem? size0
166 sys_bpf int any mem size
167 btf_find_by_name_kind int mem size any any
168 sys_close int any
169 !timer_init int timer map any
170 !timer_set_callback int timer func
171 !timer_start int timer any any
172 !timer_cancel int timer
173 !get_func_ip int ctx
174 get_attach_cookie int ctx
175 !task_pt_regs btf:pt_regs btf:task_struct
176 !get_branch_snapshot int umem size0
177 !trace_vprintk int mem size mem? size0
178 skc_to_unix_sock btf?:unix_sock sockbtf
179 kallsyms_lookup_name int mem size0 any wlong
180 find_vma int btf:task_struct any func stack? any
181 loop int any func stack? any
182 strncmp int mem size str
183 get_func_arg int ctx any wlong
184 get_func_ret int ctx wlong
185 get_func_arg_cnt int ctx
186 get_retval int
187 set_retval int any
188 xdp_get_buff_len int ctx
189 xdp_load_bytes int ctx any umem size
190 xdp_store_bytes int ctx any mem size
191 !copy_from_user_task int umem size0 any btf:task_struct any
192 skb_set_tstamp int ctx any any
193 ima_file_hash int btf:file umem size
194 kptr_xchg kptr? kptr kptrrel?
195 map_lookup_percpu_elem mapval? map key any
196 skc_to_mptcp_sock btf?:mptcp_sock skcommon
197 dynptr_from_mem int wmem size0 any udynptr:local
198 ringbuf_reserve_dynptr int map any any udynptr:ringbuf
199 ringbuf_submit_dynptr void dynptrrel:ringbuf any
200 ringbuf_discard_dynptr void dynptrrel:ringbuf any
201 dynptr_read int umem size0 dynptr any any
202 dynptr_write int dynptr any mem size0 any
203 dynptr_data dynmem? dynptr any allocsize
204 !tcp_raw_gen_syncookie_ipv4 int fmem:20 mem size0
205 !tcp_raw_gen_syncookie_ipv6 int fmem:40 mem size0
206 !tcp_raw_check_syncookie_ipv4 int fmem:20 fmem:20
207 !tcp_raw_check_syncookie_ipv6 int fmem:40 fmem:20
208 ktime_get_tai_ns int
209 user_ringbuf_drain int map func stack? any
210 cgrp_storage_get mapval? map btf?:cgroup wval? any
211 cgrp_storage_delete int map btf?:cgroup
`;

/** Helpers after which packet pointers are no longer valid. Linux: bpf_helper_changes_pkt_data() */
const CHANGES_PACKET = new Set([
  9, 10, 11, 12, 18, 19, 31, 38, 39, 43, 44, 50, 54, 63, 65, 73, 74, 75, 76, 90, 91, 143, 144, 13,
]);
/** Helpers whose callers may be put to sleep. */
const MIGHT_SLEEP = new Set([148, 161, 191, 193]);

/** Helpers that only loaders with the capability may use. Linux: bpf_base_func_proto(), bpf_sk_base_func_proto() */
const NEEDS_BPF: ReadonlySet<number> = new Set([
  17, 37, 80, 93, 94, 118, 123, 153, 154, 156, 157, 164, 169, 170, 171, 172, 181, 194, 197, 198, 199, 200,
  201, 202, 203, 209, 210, 211,
]);
const NEEDS_PERFMON: ReadonlySet<number> = new Set([
  6, 16, 22, 35, 55, 109, 112, 113, 114, 115, 117, 136, 137, 138, 139, 140, 141, 148, 149, 158, 165, 166, 175,
  176, 177, 178, 180, 191, 196,
]);
function needsOf(id: number): Pick<HelperPrototype, "needs"> {
  if (NEEDS_PERFMON.has(id)) return { needs: "hasCapPerfmon" };
  return NEEDS_BPF.has(id) ? { needs: "hasCapBpf" } : {};
}

/** Classifiers and tunnels. */
const WITH_CLASSES: readonly number[] = [3, 4, 10, 11, 12, 19];
const SK_REUSEPORT = 21;
const CGROUP_SOCK = 9;
const SOCKOPT = 25;
const TRACING = 26;
const STRUCT_OPS = 27;
const LSM = 29;
const SK_LOOKUP = 30;
const SYSCALL = 31;
/**
 * Helpers that take something else from programs of some types: ids, types, arguments. Linux: the types' get_func_proto().
 */
const OTHER_ARGUMENTS: readonly (readonly [readonly number[], readonly number[], string])[] = [
  [[107], [CGROUP_SOCK], "map ctx wval? any"],
  [[107], [TRACING, SYSCALL], "map btf?:sock_common wval? any"],
  [[108], [TRACING, SYSCALL], "map btf?:sock_common"],
  [[17], WITH_CLASSES, "ctx"],
  [[46], [SK_REUSEPORT, TRACING, LSM, SYSCALL], "sockbtf?"],
  [[188], [TRACING, LSM, SYSCALL], "btf:xdp_buff"],
  [[49], [SOCKOPT, TRACING, STRUCT_OPS, LSM], "sockbtf any any mem size"],
  [[57], [SOCKOPT, TRACING, STRUCT_OPS, LSM], "sockbtf any any umem size"],
  [[124], [SK_LOOKUP], "ctx fullsock? any"],
];
/** Sockets are nothing new to those who may make system calls. */
const FREE_FOR_SYSCALLS: readonly number[] = [136, 137, 138, 139, 140, 178, 196];
/** Programs of perf events may ask for stacks whatever their license is. */
const PERF_EVENT = 7;
const GET_STACKID = 27;
/** Programs at many probes may ask where they are. Linux: bpf_get_func_ip_proto_kprobe_multi */
const KPROBE = 2;
const MANY_PROBES: readonly number[] = [42, 48, 56, 57];
const GET_FUNC_IP = 173;

const RAW_TP = 23;
const FENTRY = 24;
const FEXIT = 25;
const ITERATOR = 28;
/** Functions that may be asked for paths of what they are given. Linux: btf_allowlist_d_path */
const WITH_PATHS: readonly string[] = [
  "security_file_permission",
  "security_inode_getattr",
  "security_file_open",
  "security_path_truncate",
  "vfs_truncate",
  "vfs_fallocate",
  "dentry_open",
  "vfs_getattr",
  "filp_close",
];
/** Linux: bpf_sk_storage_tracing_allowed(), bpf_d_path_allowed(), bpf_ima_inode_hash_allowed() */
const storage: HelperPrototype["allowedIn"] = ({ type, attachType }) =>
  (type !== TRACING && type !== SYSCALL) || [RAW_TP, FENTRY, FEXIT, ITERATOR].includes(attachType);
const hooks: HelperPrototype["allowedIn"] = (_, attach) => isSleepableHook(attach?.name);
const paths: HelperPrototype["allowedIn"] = ({ type, attachType }, attach) => {
  if (type === LSM) return isSleepableHook(attach?.name);
  return type === TRACING && (attachType === ITERATOR || WITH_PATHS.includes(attach?.name ?? ""));
};
const ALLOWED: readonly (readonly [number, HelperPrototype["allowedIn"]])[] = [
  [107, storage],
  [108, storage],
  [147, paths],
  [161, hooks],
  [193, hooks],
];
const isOfManyProbes = ({ attachType }: ProgramRules): boolean => MANY_PROBES.includes(attachType);
const MOST_TYPES = 256;

/** Rows by id, and prototypes by id and type of program: made when they are asked for, since neither a boot nor a load needs many. */
let rows: readonly string[] | undefined;
const prototypes = new Map<number, HelperPrototype>();

/**
 * The helper with this id; undefined for numbers without one.
 * @param type of the programs that call it; without it, what most types are given.
 */
export function linuxHelper(id: number, type = 0): HelperPrototype | undefined {
  const key = id * MOST_TYPES + type;
  const known = prototypes.get(key);
  if (known !== undefined) return known;
  rows ??= ROWS.trim().split("\n");
  const row = rows[id];
  if (row === undefined) return undefined;
  const prototype = prototypeOf(row, id, type);
  prototypes.set(key, prototype);
  return prototype;
}

function prototypeOf(row: string, id: number, type: number): HelperPrototype {
  const [, title = "", result = "", ...words] = row.split(" ");
  const other = OTHER_ARGUMENTS.find(([ids, types]) => ids.includes(id) && types.includes(type));
  const allowed = ALLOWED.find(([limited]) => limited === id);
  const isFree = type === SYSCALL && FREE_FOR_SYSCALLS.includes(id);
  return {
    name: `bpf_${title.replace("!", "")}`,
    gplOnly: title.startsWith("!") && !(id === GET_STACKID && type === PERF_EVENT),
    args: (other?.[2].split(" ") ?? words).map(parseArgument),
    ret: parseReturn(result),
    changesPacket: CHANGES_PACKET.has(id),
    mightSleep: MIGHT_SLEEP.has(id),
    ...(isFree ? {} : needsOf(id)),
    ...(allowed === undefined ? {} : { allowedIn: allowed[1]! }),
    ...(id === GET_FUNC_IP && type === KPROBE ? { isFreeIn: isOfManyProbes } : {}),
  };
}
