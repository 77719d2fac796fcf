/**
 * `struct task_struct` and the class that owns one. What a guest can see of a task lives in the struct, and only there;
 * the rest are plain fields, added by the layers that own them (see kernel.ts).
 */
import {
  chars,
  type KAddr,
  nested,
  ptr,
  s32,
  struct,
  typedefStruct,
  u32,
  u64n,
  ulong,
  type ViewOf,
} from "@alien-ts/abi";
import type { Cx } from "./cx.ts";
import type { Kernel } from "./kernel.ts";

export const thread_info = struct("thread_info", {
  flags: ulong,
  preempt_count: s32,
  kernel_sp: ulong,
  user_sp: ulong,
  cpu: s32,
});

export const list_head = struct("list_head", { next: ptr("list_head"), prev: ptr("list_head") });

export const sched_entity = struct("sched_entity", {
  exec_start: u64n,
  sum_exec_runtime: u64n,
  vruntime: u64n,
  nr_migrations: u64n,
});

export const refcount_t = typedefStruct("refcount_t", { refs: s32 });

/** include/linux/sched.h, with Linux's names and nesting. */
export const task_struct = struct("task_struct", {
  thread_info: nested(thread_info),
  __state: u32,
  stack: ptr("void"),
  flags: u32,
  on_cpu: s32,
  prio: s32,
  static_prio: s32,
  normal_prio: s32,
  rt_priority: u32,
  se: nested(sched_entity),
  policy: u32,
  nr_cpus_allowed: s32,
  mm: ptr("mm_struct"),
  active_mm: ptr("mm_struct"),
  exit_state: s32,
  exit_code: s32,
  exit_signal: s32,
  pdeath_signal: s32,
  personality: u32,
  pid: s32,
  tgid: s32,
  real_parent: ptr("task_struct", "rcu"),
  parent: ptr("task_struct", "rcu"),
  children: nested(list_head),
  sibling: nested(list_head),
  group_leader: ptr("task_struct"),
  utime: u64n,
  stime: u64n,
  nvcsw: ulong,
  nivcsw: ulong,
  start_time: u64n,
  start_boottime: u64n,
  min_flt: ulong,
  maj_flt: ulong,
  real_cred: ptr("const struct cred", "rcu"),
  cred: ptr("const struct cred", "rcu"),
  comm: chars(16),
  fs: ptr("fs_struct"),
  files: ptr("files_struct"),
  signal: ptr("signal_struct"),
  nsproxy: ptr("nsproxy"),
  cgroups: ptr("css_set", "rcu"),
  rcu_users: nested(refcount_t),
});

/** Values of `__state` (include/linux/sched.h). */
export const TASK = {
  RUNNING: 0,
  INTERRUPTIBLE: 1,
  UNINTERRUPTIBLE: 2,
  STOPPED: 4,
  TRACED: 8,
  DEAD: 0x80,
  WAKEKILL: 0x100,
  NOLOAD: 0x400,
  NEW: 0x800,
  KILLABLE: 0x102,
  IDLE: 0x402,
} as const;

/** Values of `exit_state`. */
export const EXIT_ZOMBIE = 0x20;
export const EXIT_DEAD = 0x10;

export const PF = { IDLE: 2, EXITING: 4, FORKNOEXEC: 0x40, SIGNALED: 0x400, KTHREAD: 0x20_0000 } as const;

export class Task {
  readonly kernel: Kernel;
  readonly addr: KAddr;
  /** The struct. Made once: a held view costs a tenth of a fresh one. */
  readonly t: ViewOf<typeof task_struct>;
  cx!: Cx;

  constructor(kernel: Kernel, addr: KAddr) {
    this.kernel = kernel;
    this.addr = addr;
    this.t = new (kernel.layout.view(task_struct))(kernel.mem, addr);
  }

  get pid(): number {
    return this.t.pid;
  }
  get tgid(): number {
    return this.t.tgid;
  }
}
