/**
 * Numbers and structures of bpf(2) (include/uapi/linux/bpf.h), as of Linux 6.18.
 *
 * `union bpf_attr` is declared as one struct per command (a *slice*); `bpf_attr_slices` names the slice of each command and
 * its last field. A kernel refuses bytes that are not zero between the end of that field and `BPF_ATTR_SIZE`, and beyond.
 * Helper ids are rows of bpf-basic; opcodes and pseudo sources are bpf-isa's.
 */
import { array, chars, s16, s32, u32, u64n, u8 } from "../ctype.ts";
import { abiStruct, anonymousUnion, bits, type StructDecl } from "../struct.ts";

/** Commands of bpf(2) (`enum bpf_cmd`, Linux 6.18). */
export const BPF_CMD = {
  MAP_CREATE: 0,
  MAP_LOOKUP_ELEM: 1,
  MAP_UPDATE_ELEM: 2,
  MAP_DELETE_ELEM: 3,
  MAP_GET_NEXT_KEY: 4,
  PROG_LOAD: 5,
  OBJ_PIN: 6,
  OBJ_GET: 7,
  PROG_ATTACH: 8,
  PROG_DETACH: 9,
  PROG_TEST_RUN: 10,
  PROG_GET_NEXT_ID: 11,
  MAP_GET_NEXT_ID: 12,
  PROG_GET_FD_BY_ID: 13,
  MAP_GET_FD_BY_ID: 14,
  OBJ_GET_INFO_BY_FD: 15,
  PROG_QUERY: 16,
  RAW_TRACEPOINT_OPEN: 17,
  BTF_LOAD: 18,
  BTF_GET_FD_BY_ID: 19,
  TASK_FD_QUERY: 20,
  MAP_LOOKUP_AND_DELETE_ELEM: 21,
  MAP_FREEZE: 22,
  BTF_GET_NEXT_ID: 23,
  MAP_LOOKUP_BATCH: 24,
  MAP_LOOKUP_AND_DELETE_BATCH: 25,
  MAP_UPDATE_BATCH: 26,
  MAP_DELETE_BATCH: 27,
  LINK_CREATE: 28,
  LINK_UPDATE: 29,
  LINK_GET_FD_BY_ID: 30,
  LINK_GET_NEXT_ID: 31,
  ENABLE_STATS: 32,
  ITER_CREATE: 33,
  LINK_DETACH: 34,
  PROG_BIND_MAP: 35,
  TOKEN_CREATE: 36,
  PROG_STREAM_READ_BY_FD: 37,
} as const;

/** Map types (`enum bpf_map_type`). */
export const BPF_MAP_TYPE = {
  UNSPEC: 0,
  HASH: 1,
  ARRAY: 2,
  PROG_ARRAY: 3,
  PERF_EVENT_ARRAY: 4,
  PERCPU_HASH: 5,
  PERCPU_ARRAY: 6,
  STACK_TRACE: 7,
  CGROUP_ARRAY: 8,
  LRU_HASH: 9,
  LRU_PERCPU_HASH: 10,
  LPM_TRIE: 11,
  ARRAY_OF_MAPS: 12,
  HASH_OF_MAPS: 13,
  DEVMAP: 14,
  SOCKMAP: 15,
  CPUMAP: 16,
  XSKMAP: 17,
  SOCKHASH: 18,
  CGROUP_STORAGE: 19,
  REUSEPORT_SOCKARRAY: 20,
  PERCPU_CGROUP_STORAGE: 21,
  QUEUE: 22,
  STACK: 23,
  SK_STORAGE: 24,
  DEVMAP_HASH: 25,
  STRUCT_OPS: 26,
  RINGBUF: 27,
  INODE_STORAGE: 28,
  TASK_STORAGE: 29,
  BLOOM_FILTER: 30,
  USER_RINGBUF: 31,
  CGRP_STORAGE: 32,
  ARENA: 33,
} as const;

/** Program types (`enum bpf_prog_type`). */
export const BPF_PROG_TYPE = {
  UNSPEC: 0,
  SOCKET_FILTER: 1,
  KPROBE: 2,
  SCHED_CLS: 3,
  SCHED_ACT: 4,
  TRACEPOINT: 5,
  XDP: 6,
  PERF_EVENT: 7,
  CGROUP_SKB: 8,
  CGROUP_SOCK: 9,
  LWT_IN: 10,
  LWT_OUT: 11,
  LWT_XMIT: 12,
  SOCK_OPS: 13,
  SK_SKB: 14,
  CGROUP_DEVICE: 15,
  SK_MSG: 16,
  RAW_TRACEPOINT: 17,
  CGROUP_SOCK_ADDR: 18,
  LWT_SEG6LOCAL: 19,
  LIRC_MODE2: 20,
  SK_REUSEPORT: 21,
  FLOW_DISSECTOR: 22,
  CGROUP_SYSCTL: 23,
  RAW_TRACEPOINT_WRITABLE: 24,
  CGROUP_SOCKOPT: 25,
  TRACING: 26,
  STRUCT_OPS: 27,
  EXT: 28,
  LSM: 29,
  SK_LOOKUP: 30,
  SYSCALL: 31,
  NETFILTER: 32,
} as const;

/** Attach types (`enum bpf_attach_type`). */
export const BPF_ATTACH_TYPE = {
  CGROUP_INET_INGRESS: 0,
  CGROUP_INET_EGRESS: 1,
  CGROUP_INET_SOCK_CREATE: 2,
  CGROUP_SOCK_OPS: 3,
  SK_SKB_STREAM_PARSER: 4,
  SK_SKB_STREAM_VERDICT: 5,
  CGROUP_DEVICE: 6,
  SK_MSG_VERDICT: 7,
  CGROUP_INET4_BIND: 8,
  CGROUP_INET6_BIND: 9,
  CGROUP_INET4_CONNECT: 10,
  CGROUP_INET6_CONNECT: 11,
  CGROUP_INET4_POST_BIND: 12,
  CGROUP_INET6_POST_BIND: 13,
  CGROUP_UDP4_SENDMSG: 14,
  CGROUP_UDP6_SENDMSG: 15,
  LIRC_MODE2: 16,
  FLOW_DISSECTOR: 17,
  CGROUP_SYSCTL: 18,
  CGROUP_UDP4_RECVMSG: 19,
  CGROUP_UDP6_RECVMSG: 20,
  CGROUP_GETSOCKOPT: 21,
  CGROUP_SETSOCKOPT: 22,
  TRACE_RAW_TP: 23,
  TRACE_FENTRY: 24,
  TRACE_FEXIT: 25,
  MODIFY_RETURN: 26,
  LSM_MAC: 27,
  TRACE_ITER: 28,
  CGROUP_INET4_GETPEERNAME: 29,
  CGROUP_INET6_GETPEERNAME: 30,
  CGROUP_INET4_GETSOCKNAME: 31,
  CGROUP_INET6_GETSOCKNAME: 32,
  XDP_DEVMAP: 33,
  CGROUP_INET_SOCK_RELEASE: 34,
  XDP_CPUMAP: 35,
  SK_LOOKUP: 36,
  XDP: 37,
  SK_SKB_VERDICT: 38,
  SK_REUSEPORT_SELECT: 39,
  SK_REUSEPORT_SELECT_OR_MIGRATE: 40,
  PERF_EVENT: 41,
  TRACE_KPROBE_MULTI: 42,
  LSM_CGROUP: 43,
  STRUCT_OPS: 44,
  NETFILTER: 45,
  TCX_INGRESS: 46,
  TCX_EGRESS: 47,
  TRACE_UPROBE_MULTI: 48,
  CGROUP_UNIX_CONNECT: 49,
  CGROUP_UNIX_SENDMSG: 50,
  CGROUP_UNIX_RECVMSG: 51,
  CGROUP_UNIX_GETPEERNAME: 52,
  CGROUP_UNIX_GETSOCKNAME: 53,
  NETKIT_PRIMARY: 54,
  NETKIT_PEER: 55,
  TRACE_KPROBE_SESSION: 56,
  TRACE_UPROBE_SESSION: 57,
} as const;

/** Flags of MAP_UPDATE_ELEM and of the update and push helpers. */
export const BPF_ELEM = { ANY: 0, NOEXIST: 1, EXIST: 2, F_LOCK: 4 } as const;

/** Flags of MAP_CREATE. */
export const BPF_F = {
  NO_PREALLOC: 1 << 0,
  NO_COMMON_LRU: 1 << 1,
  NUMA_NODE: 1 << 2,
  RDONLY: 1 << 3,
  WRONLY: 1 << 4,
  STACK_BUILD_ID: 1 << 5,
  ZERO_SEED: 1 << 6,
  RDONLY_PROG: 1 << 7,
  WRONLY_PROG: 1 << 8,
  CLONE: 1 << 9,
  MMAPABLE: 1 << 10,
  PRESERVE_ELEMS: 1 << 11,
  INNER_MAP: 1 << 12,
  LINK: 1 << 13,
  PATH_FD: 1 << 14,
  VTYPE_BTF_OBJ_FD: 1 << 15,
  TOKEN_FD: 1 << 16,
  SEGV_ON_FAULT: 1 << 17,
  NO_USER_CONV: 1 << 18,
} as const;

/** Flags of PROG_LOAD. */
export const BPF_PROG_F = {
  STRICT_ALIGNMENT: 1 << 0,
  ANY_ALIGNMENT: 1 << 1,
  TEST_RND_HI32: 1 << 2,
  TEST_STATE_FREQ: 1 << 3,
  SLEEPABLE: 1 << 4,
  XDP_HAS_FRAGS: 1 << 5,
  XDP_DEV_BOUND_ONLY: 1 << 6,
  TEST_REG_INVARIANTS: 1 << 7,
  TOKEN_FD: 1 << 16,
} as const;

/** Low word of the flags of perf_event_output: an index into the array, or this for the current CPU. */
export const BPF_F_CURRENT_CPU = 0xffff_ffff;
/** High word of the flags of perf_event_output: bytes of the context to append. */
export const BPF_F_CTXLEN_HI_MASK = 0x000f_ffff;

export const BPF_OBJ_NAME_LEN = 16;
export const BPF_TAG_SIZE = 8;
/** Instructions of a program loaded without CAP_BPF, and with it. */
export const BPF_MAXINSNS = 4096;
export const BPF_COMPLEXITY_LIMIT_INSNS = 1_000_000;
/** include/linux/filter.h */
export const MAX_BPF_STACK = 512;

/** `struct bpf_insn`. */
export const bpf_insn = abiStruct("bpf_insn", {
  code: u8,
  dst_reg: bits(4, u8),
  src_reg: bits(4, u8),
  off: s16,
  imm: s32,
});
export const BPF_INSN_SIZE = 8;

export const bpf_attr_map_create = abiStruct("bpf_attr_map_create", {
  map_type: u32,
  key_size: u32,
  value_size: u32,
  max_entries: u32,
  map_flags: u32,
  inner_map_fd: u32,
  numa_node: u32,
  map_name: chars(BPF_OBJ_NAME_LEN),
  map_ifindex: u32,
  btf_fd: u32,
  btf_key_type_id: u32,
  btf_value_type_id: u32,
  btf_vmlinux_value_type_id: u32,
  map_extra: u64n,
  value_type_btf_obj_fd: s32,
  map_token_fd: s32,
});

/** MAP_{LOOKUP,UPDATE,DELETE,LOOKUP_AND_DELETE}_ELEM, MAP_GET_NEXT_KEY, MAP_FREEZE. */
export const bpf_attr_map_elem = abiStruct("bpf_attr_map_elem", {
  map_fd: u32,
  key: u64n,
  value_or_next: anonymousUnion({ value: u64n, next_key: u64n }),
  flags: u64n,
});

export const bpf_attr_map_batch = abiStruct("bpf_attr_map_batch", {
  in_batch: u64n,
  out_batch: u64n,
  keys: u64n,
  values: u64n,
  count: u32,
  map_fd: u32,
  elem_flags: u64n,
  flags: u64n,
});

export const bpf_attr_prog_load = abiStruct("bpf_attr_prog_load", {
  prog_type: u32,
  insn_cnt: u32,
  insns: u64n,
  license: u64n,
  log_level: u32,
  log_size: u32,
  log_buf: u64n,
  kern_version: u32,
  prog_flags: u32,
  prog_name: chars(BPF_OBJ_NAME_LEN),
  prog_ifindex: u32,
  expected_attach_type: u32,
  prog_btf_fd: u32,
  func_info_rec_size: u32,
  func_info: u64n,
  func_info_cnt: u32,
  line_info_rec_size: u32,
  line_info: u64n,
  line_info_cnt: u32,
  attach_btf_id: u32,
  attach_to: anonymousUnion({ attach_prog_fd: u32, attach_btf_obj_fd: u32 }),
  core_relo_cnt: u32,
  fd_array: u64n,
  core_relos: u64n,
  core_relo_rec_size: u32,
  log_true_size: u32,
  prog_token_fd: s32,
  fd_array_cnt: u32,
});

/** OBJ_PIN, OBJ_GET. */
export const bpf_attr_obj = abiStruct("bpf_attr_obj", {
  pathname: u64n,
  bpf_fd: u32,
  file_flags: u32,
  path_fd: s32,
});

/** PROG_ATTACH, PROG_DETACH. */
export const bpf_attr_prog_attach = abiStruct("bpf_attr_prog_attach", {
  target: anonymousUnion({ target_fd: u32, target_ifindex: u32 }),
  attach_bpf_fd: u32,
  attach_type: u32,
  attach_flags: u32,
  replace_bpf_fd: u32,
  relative: anonymousUnion({ relative_fd: u32, relative_id: u32 }),
  expected_revision: u64n,
});

export const bpf_attr_test_run = abiStruct("bpf_attr_test_run", {
  prog_fd: u32,
  retval: u32,
  data_size_in: u32,
  data_size_out: u32,
  data_in: u64n,
  data_out: u64n,
  repeat: u32,
  duration: u32,
  ctx_size_in: u32,
  ctx_size_out: u32,
  ctx_in: u64n,
  ctx_out: u64n,
  flags: u32,
  cpu: u32,
  batch_size: u32,
});

/** *_GET_NEXT_ID, *_GET_FD_BY_ID. */
export const bpf_attr_get_id = abiStruct("bpf_attr_get_id", {
  id: anonymousUnion({ start_id: u32, prog_id: u32, map_id: u32, btf_id: u32, link_id: u32 }),
  next_id: u32,
  open_flags: u32,
  fd_by_id_token_fd: s32,
});

export const bpf_attr_info = abiStruct("bpf_attr_info", { bpf_fd: u32, info_len: u32, info: u64n });

export const bpf_attr_prog_query = abiStruct("bpf_attr_prog_query", {
  target: anonymousUnion({ target_fd: u32, target_ifindex: u32 }),
  attach_type: u32,
  query_flags: u32,
  attach_flags: u32,
  prog_ids: u64n,
  prog_cnt: u32,
  pad: u32,
  prog_attach_flags: u64n,
  link_ids: u64n,
  link_attach_flags: u64n,
  revision: u64n,
});

export const bpf_attr_raw_tracepoint = abiStruct("bpf_attr_raw_tracepoint", {
  name: u64n,
  prog_fd: u32,
  cookie: u64n,
});

export const bpf_attr_btf_load = abiStruct("bpf_attr_btf_load", {
  btf: u64n,
  btf_log_buf: u64n,
  btf_size: u32,
  btf_log_size: u32,
  btf_log_level: u32,
  btf_log_true_size: u32,
  btf_flags: u32,
  btf_token_fd: s32,
});

export const bpf_attr_task_fd_query = abiStruct("bpf_attr_task_fd_query", {
  pid: u32,
  fd: u32,
  flags: u32,
  buf_len: u32,
  buf: u64n,
  prog_id: u32,
  fd_type: u32,
  probe_offset: u64n,
  probe_addr: u64n,
});

/** LINK_CREATE, with the fields of perf-event links; those of other links start at the same offset. */
export const bpf_attr_link_create = abiStruct("bpf_attr_link_create", {
  prog: anonymousUnion({ prog_fd: u32, map_fd: u32 }),
  target: anonymousUnion({ target_fd: u32, target_ifindex: u32 }),
  attach_type: u32,
  flags: u32,
  bpf_cookie: u64n,
  link_specific: array(u64n, 5),
});

export const bpf_attr_link_update = abiStruct("bpf_attr_link_update", {
  link_fd: u32,
  new_fd: anonymousUnion({ new_prog_fd: u32, new_map_fd: u32 }),
  flags: u32,
  old_fd: anonymousUnion({ old_prog_fd: u32, old_map_fd: u32 }),
});

export const bpf_attr_link_detach = abiStruct("bpf_attr_link_detach", { link_fd: u32 });
export const bpf_attr_enable_stats = abiStruct("bpf_attr_enable_stats", { type: u32 });
export const bpf_attr_iter_create = abiStruct("bpf_attr_iter_create", { link_fd: u32, flags: u32 });
export const bpf_attr_prog_bind_map = abiStruct("bpf_attr_prog_bind_map", {
  prog_fd: u32,
  map_fd: u32,
  flags: u32,
});
export const bpf_attr_token_create = abiStruct("bpf_attr_token_create", { flags: u32, bpffs_fd: u32 });
export const bpf_attr_stream_read = abiStruct("bpf_attr_stream_read", {
  stream_buf: u64n,
  stream_buf_len: u32,
  stream_id: u32,
  prog_fd: u32,
});

/** What OBJ_GET_INFO_BY_FD tells of a program. A count beside an address is the caller's room, then how many there are. */
export const bpf_prog_info = abiStruct("bpf_prog_info", {
  type: u32,
  id: u32,
  tag: array(u8, BPF_TAG_SIZE),
  jited_prog_len: u32,
  xlated_prog_len: u32,
  jited_prog_insns: u64n,
  xlated_prog_insns: u64n,
  load_time: u64n,
  created_by_uid: u32,
  nr_map_ids: u32,
  map_ids: u64n,
  name: chars(BPF_OBJ_NAME_LEN),
  ifindex: u32,
  gpl_compatible: u32,
  netns_dev: u64n,
  netns_ino: u64n,
  nr_jited_ksyms: u32,
  nr_jited_func_lens: u32,
  jited_ksyms: u64n,
  jited_func_lens: u64n,
  btf_id: u32,
  func_info_rec_size: u32,
  func_info: u64n,
  nr_func_info: u32,
  nr_line_info: u32,
  line_info: u64n,
  jited_line_info: u64n,
  nr_jited_line_info: u32,
  line_info_rec_size: u32,
  jited_line_info_rec_size: u32,
  nr_prog_tags: u32,
  prog_tags: u64n,
  run_time_ns: u64n,
  run_cnt: u64n,
  recursion_misses: u64n,
  verified_insns: u32,
  attach_btf_obj_id: u32,
  attach_btf_id: u32,
});

/** Differs from Linux: 6.18 adds the hash of a map's contents behind `map_extra`, which this kernel does not know. */
export const bpf_map_info = abiStruct("bpf_map_info", {
  type: u32,
  id: u32,
  key_size: u32,
  value_size: u32,
  max_entries: u32,
  map_flags: u32,
  name: chars(BPF_OBJ_NAME_LEN),
  ifindex: u32,
  btf_vmlinux_value_type_id: u32,
  netns_dev: u64n,
  netns_ino: u64n,
  btf_id: u32,
  btf_key_type_id: u32,
  btf_value_type_id: u32,
  btf_vmlinux_id: u32,
  map_extra: u64n,
});

export const bpf_btf_info = abiStruct("bpf_btf_info", {
  btf: u64n,
  btf_size: u32,
  id: u32,
  name: u64n,
  name_len: u32,
  kernel_btf: u32,
});

export interface BpfAttrSlice {
  readonly decl: StructDecl;
  /** Last field that the command reads (the kernel's `*_LAST_FIELD`). */
  readonly last: string;
}

const slice = (decl: StructDecl, last: string): BpfAttrSlice => ({ decl, last });

/**
 * sizeof(union bpf_attr). Differs from Linux: 6.18's union ends in the fields of program signatures (168 bytes), which this
 * kernel does not know; it answers E2BIG to them, as a kernel without them.
 */
export const BPF_ATTR_SIZE = 152;

/** The slice of `union bpf_attr` of each command. */
export const bpf_attr_slices = {
  MAP_CREATE: slice(bpf_attr_map_create, "map_token_fd"),
  MAP_LOOKUP_ELEM: slice(bpf_attr_map_elem, "flags"),
  MAP_UPDATE_ELEM: slice(bpf_attr_map_elem, "flags"),
  MAP_DELETE_ELEM: slice(bpf_attr_map_elem, "key"),
  MAP_GET_NEXT_KEY: slice(bpf_attr_map_elem, "next_key"),
  PROG_LOAD: slice(bpf_attr_prog_load, "fd_array_cnt"),
  OBJ_PIN: slice(bpf_attr_obj, "path_fd"),
  OBJ_GET: slice(bpf_attr_obj, "path_fd"),
  PROG_ATTACH: slice(bpf_attr_prog_attach, "expected_revision"),
  PROG_DETACH: slice(bpf_attr_prog_attach, "expected_revision"),
  PROG_TEST_RUN: slice(bpf_attr_test_run, "batch_size"),
  PROG_GET_NEXT_ID: slice(bpf_attr_get_id, "next_id"),
  MAP_GET_NEXT_ID: slice(bpf_attr_get_id, "next_id"),
  PROG_GET_FD_BY_ID: slice(bpf_attr_get_id, "prog_id"),
  MAP_GET_FD_BY_ID: slice(bpf_attr_get_id, "open_flags"),
  OBJ_GET_INFO_BY_FD: slice(bpf_attr_info, "info"),
  PROG_QUERY: slice(bpf_attr_prog_query, "revision"),
  RAW_TRACEPOINT_OPEN: slice(bpf_attr_raw_tracepoint, "cookie"),
  BTF_LOAD: slice(bpf_attr_btf_load, "btf_token_fd"),
  BTF_GET_FD_BY_ID: slice(bpf_attr_get_id, "fd_by_id_token_fd"),
  TASK_FD_QUERY: slice(bpf_attr_task_fd_query, "probe_addr"),
  MAP_LOOKUP_AND_DELETE_ELEM: slice(bpf_attr_map_elem, "flags"),
  MAP_FREEZE: slice(bpf_attr_map_elem, "map_fd"),
  BTF_GET_NEXT_ID: slice(bpf_attr_get_id, "next_id"),
  MAP_LOOKUP_BATCH: slice(bpf_attr_map_batch, "flags"),
  MAP_LOOKUP_AND_DELETE_BATCH: slice(bpf_attr_map_batch, "flags"),
  MAP_UPDATE_BATCH: slice(bpf_attr_map_batch, "flags"),
  MAP_DELETE_BATCH: slice(bpf_attr_map_batch, "flags"),
  LINK_CREATE: slice(bpf_attr_link_create, "link_specific"),
  LINK_UPDATE: slice(bpf_attr_link_update, "old_prog_fd"),
  LINK_GET_FD_BY_ID: slice(bpf_attr_get_id, "link_id"),
  LINK_GET_NEXT_ID: slice(bpf_attr_get_id, "next_id"),
  ENABLE_STATS: slice(bpf_attr_enable_stats, "type"),
  ITER_CREATE: slice(bpf_attr_iter_create, "flags"),
  LINK_DETACH: slice(bpf_attr_link_detach, "link_fd"),
  PROG_BIND_MAP: slice(bpf_attr_prog_bind_map, "flags"),
  TOKEN_CREATE: slice(bpf_attr_token_create, "bpffs_fd"),
  PROG_STREAM_READ_BY_FD: slice(bpf_attr_stream_read, "prog_fd"),
} as const satisfies Record<keyof typeof BPF_CMD, BpfAttrSlice>;
