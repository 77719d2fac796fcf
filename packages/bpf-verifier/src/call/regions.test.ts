/** Locks, saved interrupt flags, and what may be called while they are held. */
import { testPairs } from "../../test/judge.ts";

const TYPES = `
  struct bpf_spin_lock { u32 val; }; struct bpf_res_spin_lock { u32 val; };
  struct first { u64 data; struct bpf_spin_lock lock; }; struct second { u64 data; struct bpf_spin_lock lock; };
  struct a { u64 data; struct bpf_res_spin_lock lock; }; struct b { u64 data; struct bpf_res_spin_lock lock; };
`;
const helper = (map: string, what: string): string => `r1 = value ${map}+8\ncall bpf_spin_${what}`;
const resilient = (map: string, what: string): string => `r1 = value ${map}+8\ncall @bpf_res_spin_${what}`;
const flags = (at: number): string => `r1 = r10\nr1 += ${at}`;
const SAVE = "call @bpf_local_irq_save";
const RESTORE = "call @bpf_local_irq_restore";

testPairs({ section: "tc", types: TYPES }, [
  {
    rule: "one lock is held at a time",
    accepted: `${helper("first", "lock")}\n${helper("first", "unlock")}\n${helper("second", "lock")}\n${helper("second", "unlock")}`,
    rejected: `${helper("first", "lock")}\n${helper("second", "lock")}\n${helper("second", "unlock")}\n${helper("first", "unlock")}`,
    errno: "EINVAL",
    message: "function calls are not allowed while holding a lock",
  },
  {
    rule: "resilient locks are held together, each once",
    code: `${resilient("a", "lock")}\nif r0 != 0x0 goto out\n…\nif r0 != 0x0 goto end\n${resilient("b", "unlock")}\nend:\n${resilient("a", "unlock")}`,
    accepted: resilient("b", "lock"),
    rejected: resilient("a", "lock"),
    errno: "EINVAL",
    message: "Acquiring the same lock again, AA deadlock detected",
  },
  {
    rule: "and given back in the opposite order",
    code: `${resilient("a", "lock")}\nif r0 != 0x0 goto out\n${resilient("b", "lock")}\nif r0 != 0x0 goto end\n…\nend:\n${resilient("a", "unlock")}`,
    accepted: resilient("b", "unlock"),
    rejected: resilient("a", "unlock"),
    errno: "EINVAL",
    message: "bpf_res_spin_unlock cannot be out of order",
  },
  {
    rule: "global functions are not called with a lock held",
    code: `${helper("first", "lock")}\ncall f\n${helper("first", "unlock")}\nr0 = 0\nexit\nf: r0 = 0\nexit`,
    accepted: { types: `${TYPES} int f(void);` },
    rejected: { types: `${TYPES} global int f(void);` },
    errno: "EINVAL",
    message: "global function calls are not allowed while holding a lock,\nuse static function instead",
  },
  {
    rule: "global functions that sleep are not called where nobody may",
    section: "syscall",
    types: `${TYPES} global int f(void);`,
    code: `…\ncall f\nr0 = 0\nexit\nf: r1 = r10\nr1 += -8\nr2 = 8\nr3 = 0\ncall bpf_copy_from_user\nr0 = 0\nexit`,
    accepted: "call @bpf_preempt_disable\ncall @bpf_preempt_enable",
    rejected: "call @bpf_preempt_disable",
    errno: "EINVAL",
    message:
      "global functions that may sleep are not allowed in non-sleepable context,\n" +
      "i.e., in a RCU/IRQ/preempt-disabled section, or in\na non-sleepable BPF program context",
  },
  {
    rule: "flags are saved where none are",
    code: `${flags(-8)}\n${SAVE}\n${flags(-16)}\n${SAVE}\n${flags(-16)}\n${RESTORE}\n${flags(-8)}\n${RESTORE}`,
    accepted: {},
    rejected: `${flags(-8)}\n${SAVE}\n${flags(-8)}\n${SAVE}`,
    errno: "EINVAL",
    message: "expected uninitialized irq flag as arg#0",
  },
  {
    rule: "flags are saved on the stack",
    types: `${TYPES} struct word { u64 data; };`,
    code: `…\n${SAVE}\n${flags(-8)}\n${RESTORE}`,
    accepted: flags(-8),
    rejected: "r1 = value word",
    errno: "EINVAL",
    message: "arg#0 doesn't point to an irq flag on stack",
  },
  {
    rule: "flags are saved at a place that is known",
    code: `call bpf_get_prandom_u32\nr0 &= 8\n${flags(-16)}\n…\n${SAVE}\n${flags(-16)}\n${RESTORE}`,
    accepted: "",
    rejected: "r1 += r0",
    errno: "EINVAL",
    message: "irq_flag has to be at a constant offset\nexpected uninitialized irq flag as arg#0",
  },
  {
    rule: "locks are in values of maps and in objects",
    code: `…\ncall @bpf_res_spin_lock\nif r0 != 0x0 goto out\n${resilient("a", "unlock")}`,
    accepted: "r1 = value a+8",
    rejected: flags(-8),
    errno: "EINVAL",
    message: "arg#0 doesn't point to map value or allocated object",
  },
  {
    rule: "flags are restored from a place that is known",
    code: `call bpf_get_prandom_u32\nr6 = r0\nr6 &= 8\n${flags(-16)}\n${SAVE}\n${flags(-16)}\n…\n${RESTORE}`,
    accepted: "",
    rejected: "r1 += r6",
    errno: "EINVAL",
    message: "irq_flag has to be at a constant offset\nexpected an initialized irq flag as arg#0",
  },
]);
