/**
 * Kernel functions that BPF programs may call (Linux: kernel/bpf/helpers.c, kernel/bpf/bpf_iter.c). A row with `kfunc` is one,
 * wherever it is; its flags are those of Linux. Names of parameters are part of the prototype: the verifier goes by `__k`, `__ign`.
 */
import { E2BIG, EINVAL, type KAddr, named, ptr, s32, u32, u64 } from "@alien-ts/abi";
import type { Cx } from "../core/cx.ts";
import { ownerPtrOrNull, voidType } from "../core/owner.ts";
import { kernelFn } from "../core/row.ts";
import type { Task } from "../core/task.ts";
import { putTask } from "../task/create.ts";

/** Whatever a program has in a register: C calls it a pointer, and it may point anywhere. */
const anything = named("void *", u64);
const constAnything = named("const void *", u64);

export const bpf_cast_to_kern_ctx = kernelFn(
  "bpf_cast_to_kern_ctx",
  [["obj", anything]],
  anything,
  (_cx, obj) => obj,
  { kfunc: ["fastcall"], doc: "The context as the kernel's own structure." },
);

export const bpf_rdonly_cast = kernelFn(
  "bpf_rdonly_cast",
  [
    ["obj__ign", constAnything],
    ["btf_id__k", u32],
  ],
  anything,
  (_cx, obj) => obj,
  {
    kfunc: ["fastcall"],
    doc: "A number as a pointer to a structure of the kernel, which may be read and no more.",
  },
);

/** Programs run to their end, so that nothing is freed while they do: a section needs no more than its proof. */
export const bpf_rcu_read_lock = kernelFn("bpf_rcu_read_lock", [], voidType, () => undefined, { kfunc: [] });
export const bpf_rcu_read_unlock = kernelFn("bpf_rcu_read_unlock", [], voidType, () => undefined, {
  kfunc: [],
});

function countPreemption(cx: Cx, by: number): undefined {
  cx.task.t.thread_info.preempt_count += by;
}

export const bpf_preempt_disable = kernelFn(
  "bpf_preempt_disable",
  [],
  voidType,
  (cx) => countPreemption(cx, 1),
  {
    kfunc: [],
  },
);
export const bpf_preempt_enable = kernelFn(
  "bpf_preempt_enable",
  [],
  voidType,
  (cx) => countPreemption(cx, -1),
  {
    kfunc: [],
  },
);

const iterator = ptr("bpf_iter_num");
/** BPF_MAX_LOOPS */
const LOOPS_MAX = 8 * 1024 * 1024;

/** `struct bpf_iter_num_kern`: the number that was given last, and where to stop. */
function setIterator({ kernel }: Cx, it: KAddr, current: number, end: number): undefined {
  kernel.mem.dv.setInt32(it, current, true);
  kernel.mem.dv.setInt32(it + 4, end, true);
}

export const bpf_iter_num_new = kernelFn(
  "bpf_iter_num_new",
  [
    ["it", iterator],
    ["start", s32],
    ["end", s32],
  ],
  s32,
  (cx, it, start, end) => {
    const problem = start > end ? EINVAL : end - start > LOOPS_MAX ? E2BIG : undefined;
    if (problem === undefined) setIterator(cx, it, (start - 1) | 0, end);
    else setIterator(cx, it, 0, 0);
    return problem ?? 0;
  },
  { kfunc: ["iter_new"], doc: "Begins a walk over the numbers from *start* to before *end*." },
);

export const bpf_iter_num_next = kernelFn(
  "bpf_iter_num_next",
  [["it", iterator]],
  ptr("int"),
  (cx, it): KAddr => {
    const { dv } = cx.kernel.mem;
    const next = (dv.getInt32(it, true) + 1) | 0;
    if (next >= dv.getInt32(it + 4, true)) {
      setIterator(cx, it, 0, 0);
      return 0;
    }
    dv.setInt32(it, next, true);
    return it;
  },
  { kfunc: ["iter_next", "ret_null"], doc: "The address of the next number; NULL behind the last." },
);

export const bpf_iter_num_destroy = kernelFn(
  "bpf_iter_num_destroy",
  [["it", iterator]],
  voidType,
  (cx, it) => setIterator(cx, it, 0, 0),
  { kfunc: ["iter_destroy"] },
);

const task = ownerPtrOrNull<Task>("task_struct");

/** A task that was reaped stays for those who hold it, but nobody takes hold of it any more. */
function hold(held: Task | null | undefined): Task | null {
  const users = held?.t.rcu_users;
  if (held === null || held === undefined || users === undefined || users.refs === 0) return null;
  users.refs += 1;
  return held;
}

export const bpf_task_acquire = kernelFn("bpf_task_acquire", [["p", task]], task, (_cx, p) => hold(p), {
  kfunc: ["acquire", "rcu", "ret_null"],
});

export const bpf_task_release = kernelFn(
  "bpf_task_release",
  [["p", task]],
  voidType,
  (_cx, p) => {
    if (p !== null) putTask(p);
    return undefined;
  },
  { kfunc: ["release"] },
);

export const bpf_task_from_pid = kernelFn(
  "bpf_task_from_pid",
  [["pid", s32]],
  task,
  (cx, pid) => hold(cx.kernel.pids.find(pid)),
  { kfunc: ["acquire", "ret_null"], doc: "The task with this id, held; NULL where there is none." },
);

export const bpf_task_from_vpid = kernelFn(
  "bpf_task_from_vpid",
  [["vpid", s32]],
  task,
  (cx, vpid) => hold(cx.kernel.pids.find(vpid)),
  { kfunc: ["acquire", "ret_null"], doc: "As bpf_task_from_pid: there is one namespace of ids." },
);
