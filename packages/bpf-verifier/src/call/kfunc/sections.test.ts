/** Sections in which a program must not sleep, or which something else needs: RCU, interrupts, preemption. */
import { testPairs } from "../../../test/judge.ts";

const COPY = "r1 = r10\nr1 += -8\nr2 = 8\nr3 = 0\ncall bpf_copy_from_user#148";
const COPY_TEXT = COPY.replace("bpf_copy_from_user#148", "@bpf_copy_from_user_str").replace(
  "call",
  "r4 = 0\ncall",
);
const RCU = "call @bpf_rcu_read_lock\n…\ncall @bpf_rcu_read_unlock";
const PREEMPT = "call @bpf_preempt_disable\n…\ncall @bpf_preempt_enable";
const SAVE = (at: number): string => `r1 = r10\nr1 += ${at}\ncall @bpf_local_irq_save`;
const RESTORE = (at: number): string => `r1 = r10\nr1 += ${at}\ncall @bpf_local_irq_restore`;
const IRQ = `${SAVE(-16)}\n…\n${RESTORE(-16)}`;
const QUICK = "call bpf_ktime_get_ns#5";

testPairs({ section: "syscall" }, [
  {
    rule: "helpers do not sleep where RCU is read",
    code: RCU,
    accepted: QUICK,
    rejected: COPY,
    message: "sleepable helper bpf_copy_from_user#148 in rcu_read_lock region",
    errno: "EINVAL",
  },
  {
    rule: "helpers do not sleep where the processor must not be given up",
    code: PREEMPT,
    accepted: QUICK,
    rejected: COPY,
    message: "sleepable helper bpf_copy_from_user#148 in non-preemptible region",
    errno: "EINVAL",
  },
  {
    rule: "helpers do not sleep where nothing may interrupt",
    code: IRQ,
    accepted: QUICK,
    rejected: COPY,
    message: "sleepable helper bpf_copy_from_user#148 in IRQ-disabled region",
    errno: "EINVAL",
  },
  {
    rule: "functions of the kernel do not sleep where the processor must not be given up",
    accepted: PREEMPT.replace("…", `call @bpf_preempt_enable\n${COPY_TEXT}\ncall @bpf_preempt_disable`),
    rejected: PREEMPT.replace("…", COPY_TEXT),
    message: "kernel func bpf_copy_from_user_str is sleepable within non-preemptible region",
    errno: "EACCES",
  },
  {
    rule: "functions of the kernel do not sleep where nothing may interrupt",
    accepted: `${IRQ.replace("…", QUICK)}\n${COPY_TEXT}`,
    rejected: IRQ.replace("…", COPY_TEXT),
    message: "kernel func bpf_copy_from_user_str is sleepable within IRQ-disabled region",
    errno: "EACCES",
  },
  {
    rule: "RCU is read once at a time",
    accepted: "call @bpf_rcu_read_lock\ncall @bpf_rcu_read_unlock",
    rejected: "call @bpf_rcu_read_lock\ncall @bpf_rcu_read_lock",
    message: "nested rcu read lock (kernel function bpf_rcu_read_lock)",
    errno: "EINVAL",
  },
  {
    rule: "reading ends where it began",
    accepted: "call @bpf_rcu_read_lock\ncall @bpf_rcu_read_unlock",
    rejected: "call @bpf_rcu_read_unlock",
    message: "unmatched rcu read unlock (kernel function bpf_rcu_read_unlock)",
    errno: "EINVAL",
  },
  {
    rule: "interrupts are let in again in the opposite order",
    code: `${SAVE(-8)}\n${SAVE(-16)}\n…`,
    accepted: `${RESTORE(-16)}\n${RESTORE(-8)}`,
    rejected: `${RESTORE(-8)}\n${RESTORE(-16)}`,
    message: "cannot restore irq state out of order, expected id=2 acquired at insn_idx=5",
    errno: "EACCES",
  },
]);

const LOCKED = `
${SAVE(-16)}
r1 = value locks
r1 += 8
r2 = r10
r2 += -8
call @bpf_res_spin_lock_irqsave
if r0 != 0x0 goto failed
r1 = value locks
r1 += 8
r2 = r10
…
call @bpf_res_spin_unlock_irqrestore
failed:
${RESTORE(-16)}`;

testPairs(
  {
    section: "tc",
    types: "struct bpf_res_spin_lock { u32 val; }; struct locks { u64 a; struct bpf_res_spin_lock lock; };",
  },
  [
    {
      rule: "interrupts that a lock keeps out are let in with the lock, and no others",
      code: LOCKED,
      accepted: "r2 += -8",
      rejected: "r2 += -16",
      message: "irq flag acquired by native kfuncs cannot be restored with lock kfuncs",
      errno: "EINVAL",
    },
  ],
);

const TASKS = `
call @bpf_rcu_read_lock
r1 = r10
r1 += -24
r2 = 0
r3 = 0
call @bpf_iter_task_new
…
r1 = r10
r1 += -24
call @bpf_iter_task_next
r1 = r10
r1 += -24
call @bpf_iter_task_destroy
call @bpf_rcu_read_unlock`;
const MEMBERS = `
r1 = 1
call @bpf_cgroup_from_id
if r0 == 0x0 goto out
r6 = r0
r1 = r10
r1 += -8
r2 = r6
r3 = 0
call @bpf_iter_css_task_new
r1 = r10
r1 += -8
call @bpf_iter_css_task_destroy
r1 = r6
call @bpf_cgroup_release`;
const NUMBERS = `
r1 = r10
r1 += -8
r2 = 0
r3 = 4
call @bpf_iter_num_new
r1 = r10
r1 += -8
…
r1 = r10
r1 += -8
call @bpf_iter_num_destroy`;

testPairs(
  {
    section: "syscall",
    kernel: `
      struct bpf_iter_css_task { u64 opaque[1]; };
      int bpf_iter_css_task_new(struct bpf_iter_css_task *it, struct cgroup *css, u32 flags);
      void bpf_iter_css_task_destroy(struct bpf_iter_css_task *it);
      struct cgroup *bpf_cgroup_from_id(u64 id);
      struct numbers { u64 opaque[1]; };
      int turn(struct bpf_iter_num *it__iter); int other(struct numbers *it__iter);
    `,
    kfuncs: { turn: [], other: [] },
  },
  [
    {
      rule: "tasks are gone through while RCU is read",
      code: TASKS,
      accepted: QUICK,
      rejected: "call @bpf_rcu_read_unlock\ncall @bpf_rcu_read_lock",
      message: "expected an RCU CS when using bpf_iter_task_next",
      errno: "EPROTO",
    },
    {
      rule: "tasks of a control group are gone through where the program may wait for them",
      code: MEMBERS,
      accepted: {},
      rejected: { section: "tc" },
      message: "css_task_iter is only allowed in bpf_lsm, bpf_iter and sleepable progs",
      errno: "EINVAL",
    },
    {
      rule: "what a function calls an iterator is one",
      code: NUMBERS,
      accepted: "call @turn",
      rejected: "call @other",
      message: "expected valid iter pointer as arg #0",
      errno: "EINVAL",
    },
  ],
);
