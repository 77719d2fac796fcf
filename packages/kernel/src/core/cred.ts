/** Credentials: `struct cred` and its owner. Shared between tasks, never changed once shared: a change makes a copy (task/cred). */
import {
  CAP_LAST_CAP,
  type KAddr,
  nested,
  s32,
  s64,
  struct,
  typedefStruct,
  u32,
  u64,
  type ViewOf,
} from "@alien-ts/abi";
import type { Cx } from "./cx.ts";
import type { Kernel } from "./kernel.ts";
import type { Task } from "./task.ts";

export const kuid_t = typedefStruct("kuid_t", { val: u32 });
export const kgid_t = typedefStruct("kgid_t", { val: u32 });
export const kernel_cap_t = typedefStruct("kernel_cap_t", { val: u64 });

export const cred = struct("cred", {
  usage: s64,
  uid: nested(kuid_t),
  gid: nested(kgid_t),
  suid: nested(kuid_t),
  sgid: nested(kgid_t),
  euid: nested(kuid_t),
  egid: nested(kgid_t),
  fsuid: nested(kuid_t),
  fsgid: nested(kgid_t),
  securebits: u32,
  cap_inheritable: nested(kernel_cap_t),
  cap_permitted: nested(kernel_cap_t),
  cap_effective: nested(kernel_cap_t),
  cap_bset: nested(kernel_cap_t),
  cap_ambient: nested(kernel_cap_t),
  non_rcu: s32,
});

declare module "./task.ts" {
  interface Task {
    cred: Cred;
  }
}

export const FULL_CAPABILITIES = (1n << BigInt(CAP_LAST_CAP + 1)) - 1n;

export class Cred {
  readonly addr: KAddr;
  readonly t: ViewOf<typeof cred>;
  /** Supplementary groups. */
  groups: readonly number[] = [];
  users = 1;

  constructor(kernel: Kernel, addr: KAddr) {
    this.addr = addr;
    this.t = new (kernel.layout.view(cred))(kernel.mem, addr);
  }

  get uid(): number {
    return this.t.uid.val;
  }
  get euid(): number {
    return this.t.euid.val;
  }
  get gid(): number {
    return this.t.gid.val;
  }
  get egid(): number {
    return this.t.egid.val;
  }
  get fsuid(): number {
    return this.t.fsuid.val;
  }
  get fsgid(): number {
    return this.t.fsgid.val;
  }

  has(capability: number): boolean {
    return ((this.t.cap_effective.val >> BigInt(capability)) & 1n) === 1n;
  }

  inGroup(gid: number): boolean {
    return this.fsgid === gid || this.groups.includes(gid);
  }
}

/** Whether the current task has `capability` (CAP.*) effective. Linux: capable(). */
export const capable = (cx: Cx, capability: number): boolean => cx.task.cred.has(capability);

/** Whether `task` may act on `target` as its owner would (ptrace_may_access, without ptrace's own rules). */
export const sameOwner = (task: Task, target: Task): boolean =>
  task.cred.euid === target.cred.euid || task.cred.euid === target.cred.uid;
