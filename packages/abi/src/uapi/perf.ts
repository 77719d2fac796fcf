/** Numbers and structures of perf_event_open(2) and of its ring buffer (include/uapi/linux/perf_event.h, Linux 6.18). */
import { array, s32, s64n, u16, u32, u64n, u8 } from "../ctype.ts";
import { abiStruct, anonymousUnion, bits } from "../struct.ts";

/** Types of events. kprobe, uprobe and other dynamic PMUs have numbers that sysfs tells. */
export const PERF_TYPE = {
  HARDWARE: 0,
  SOFTWARE: 1,
  TRACEPOINT: 2,
  HW_CACHE: 3,
  RAW: 4,
  BREAKPOINT: 5,
} as const;

/** `config` of PERF_TYPE_SOFTWARE. */
export const PERF_COUNT_SW = {
  CPU_CLOCK: 0,
  TASK_CLOCK: 1,
  PAGE_FAULTS: 2,
  CONTEXT_SWITCHES: 3,
  CPU_MIGRATIONS: 4,
  PAGE_FAULTS_MIN: 5,
  PAGE_FAULTS_MAJ: 6,
  ALIGNMENT_FAULTS: 7,
  EMULATION_FAULTS: 8,
  DUMMY: 9,
  BPF_OUTPUT: 10,
  CGROUP_SWITCHES: 11,
} as const;

/** Bits of `sample_type`. */
export const PERF_SAMPLE = {
  IP: 1 << 0,
  TID: 1 << 1,
  TIME: 1 << 2,
  ADDR: 1 << 3,
  READ: 1 << 4,
  CALLCHAIN: 1 << 5,
  ID: 1 << 6,
  CPU: 1 << 7,
  PERIOD: 1 << 8,
  STREAM_ID: 1 << 9,
  RAW: 1 << 10,
  BRANCH_STACK: 1 << 11,
  REGS_USER: 1 << 12,
  STACK_USER: 1 << 13,
  WEIGHT: 1 << 14,
  DATA_SRC: 1 << 15,
  IDENTIFIER: 1 << 16,
  TRANSACTION: 1 << 17,
  REGS_INTR: 1 << 18,
  PHYS_ADDR: 1 << 19,
  AUX: 1 << 20,
  CGROUP: 1 << 21,
  DATA_PAGE_SIZE: 1 << 22,
  CODE_PAGE_SIZE: 1 << 23,
  WEIGHT_STRUCT: 1 << 24,
  /** Not ABI: the first bit that is not known. */
  MAX: 1 << 25,
} as const;

/** Bits of `read_format`. */
export const PERF_FORMAT = {
  TOTAL_TIME_ENABLED: 1 << 0,
  TOTAL_TIME_RUNNING: 1 << 1,
  ID: 1 << 2,
  GROUP: 1 << 3,
  LOST: 1 << 4,
  /** Not ABI: the first bit that is not known. */
  MAX: 1 << 5,
} as const;

/** ioctl(2) requests of a perf event. */
export const PERF_EVENT_IOC = {
  ENABLE: 0x2400,
  DISABLE: 0x2401,
  REFRESH: 0x2402,
  RESET: 0x2403,
  PERIOD: 0x4008_2404,
  SET_OUTPUT: 0x2405,
  SET_FILTER: 0x4008_2406,
  ID: 0x8008_2407,
  SET_BPF: 0x4004_2408,
  PAUSE_OUTPUT: 0x4004_2409,
  QUERY_BPF: 0xc008_240a,
  MODIFY_ATTRIBUTES: 0x4008_240b,
} as const;
/** Argument of ENABLE, DISABLE, RESET, REFRESH: the whole group. */
export const PERF_IOC_FLAG_GROUP = 1;

/** Flags of perf_event_open(2). */
export const PERF_FLAG = { FD_NO_GROUP: 1, FD_OUTPUT: 2, PID_CGROUP: 4, FD_CLOEXEC: 8 } as const;

/** Sizes of `perf_event_attr` by version: a kernel accepts any, and what lies beyond its own size must be zero. */
export const PERF_ATTR_SIZE = {
  VER0: 64,
  VER1: 72,
  VER2: 80,
  VER3: 96,
  VER4: 104,
  VER5: 112,
  VER6: 120,
  VER7: 128,
  VER8: 136,
} as const;

export const perf_event_attr = abiStruct("perf_event_attr", {
  type: u32,
  size: u32,
  config: u64n,
  period: anonymousUnion({ sample_period: u64n, sample_freq: u64n }),
  sample_type: u64n,
  read_format: u64n,
  disabled: bits(1),
  inherit: bits(1),
  pinned: bits(1),
  exclusive: bits(1),
  exclude_user: bits(1),
  exclude_kernel: bits(1),
  exclude_hv: bits(1),
  exclude_idle: bits(1),
  mmap: bits(1),
  comm: bits(1),
  freq: bits(1),
  inherit_stat: bits(1),
  enable_on_exec: bits(1),
  task: bits(1),
  watermark: bits(1),
  precise_ip: bits(2),
  mmap_data: bits(1),
  sample_id_all: bits(1),
  exclude_host: bits(1),
  exclude_guest: bits(1),
  exclude_callchain_kernel: bits(1),
  exclude_callchain_user: bits(1),
  mmap2: bits(1),
  comm_exec: bits(1),
  use_clockid: bits(1),
  context_switch: bits(1),
  write_backward: bits(1),
  namespaces: bits(1),
  ksymbol: bits(1),
  bpf_event: bits(1),
  aux_output: bits(1),
  cgroup: bits(1),
  text_poke: bits(1),
  build_id: bits(1),
  inherit_thread: bits(1),
  remove_on_exec: bits(1),
  sigtrap: bits(1),
  __reserved_1: bits(26),
  wakeup: anonymousUnion({ wakeup_events: u32, wakeup_watermark: u32 }),
  bp_type: u32,
  extension1: anonymousUnion({ bp_addr: u64n, kprobe_func: u64n, uprobe_path: u64n, config1: u64n }),
  extension2: anonymousUnion({ bp_len: u64n, kprobe_addr: u64n, probe_offset: u64n, config2: u64n }),
  branch_sample_type: u64n,
  sample_regs_user: u64n,
  sample_stack_user: u32,
  clockid: s32,
  sample_regs_intr: u64n,
  aux_watermark: u32,
  sample_max_stack: u16,
  __reserved_2: u16,
  aux_sample_size: u32,
  aux_action: u32,
  sig_data: u64n,
  config3: u64n,
});

/** The first page of a mapping of a perf event. The reader writes `data_tail`, the kernel everything else. */
export const perf_event_mmap_page = abiStruct("perf_event_mmap_page", {
  version: u32,
  compat_version: u32,
  lock: u32,
  index: u32,
  offset: s64n,
  time_enabled: u64n,
  time_running: u64n,
  capabilities: u64n,
  pmc_width: u16,
  time_shift: u16,
  time_mult: u32,
  time_offset: u64n,
  time_zero: u64n,
  size: u32,
  __reserved_1: u32,
  time_cycles: u64n,
  time_mask: u64n,
  __reserved: array(u8, 116 * 8),
  data_head: u64n,
  data_tail: u64n,
  data_offset: u64n,
  data_size: u64n,
  aux_head: u64n,
  aux_tail: u64n,
  aux_offset: u64n,
  aux_size: u64n,
});

export const perf_event_header = abiStruct("perf_event_header", { type: u32, misc: u16, size: u16 });
export const PERF_EVENT_HEADER_SIZE = 8;

/** `type` of a record. */
export const PERF_RECORD = {
  MMAP: 1,
  LOST: 2,
  COMM: 3,
  EXIT: 4,
  THROTTLE: 5,
  UNTHROTTLE: 6,
  FORK: 7,
  READ: 8,
  SAMPLE: 9,
  MMAP2: 10,
  AUX: 11,
  ITRACE_START: 12,
  LOST_SAMPLES: 13,
  SWITCH: 14,
  SWITCH_CPU_WIDE: 15,
  NAMESPACES: 16,
  KSYMBOL: 17,
  BPF_EVENT: 18,
  CGROUP: 19,
  TEXT_POKE: 20,
  AUX_OUTPUT_HW_ID: 21,
} as const;

/** `misc` of a record: the mode in which the sample was taken. */
export const PERF_RECORD_MISC = { CPUMODE_UNKNOWN: 0, KERNEL: 1, USER: 2 } as const;
