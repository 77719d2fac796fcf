/** Which calls run a function of the program. Linux: is_callback_calling_function() and the kinds beside it. */
import { CALL } from "@alien-ts/bpf-isa";
import type { Insn } from "@alien-ts/bpf-isa";
import type { VerifierEnv } from "../env.ts";

export const HELPER = {
  tail_call: 12,
  map_lookup_elem: 1,
  map_update_elem: 2,
  map_delete_elem: 3,
  map_push_elem: 87,
  map_pop_elem: 88,
  get_stackid: 27,
  get_stack: 67,
  get_task_stack: 141,
  probe_read_str: 45,
  probe_read_kernel_str: 115,
  probe_read_user_str: 114,
  get_smp_processor_id: 8,
  get_local_storage: 81,
  sk_release: 86,
  spin_lock: 93,
  spin_unlock: 94,
  ringbuf_reserve: 131,
  ringbuf_submit: 132,
  ringbuf_discard: 133,
  per_cpu_ptr: 153,
  for_each_map_elem: 164,
  snprintf: 165,
  timer_init: 169,
  timer_set_callback: 170,
  get_func_ip: 173,
  find_vma: 180,
  loop: 181,
  kptr_xchg: 194,
  dynptr_from_mem: 197,
  dynptr_write: 202,
  dynptr_data: 203,
  user_ringbuf_drain: 209,
} as const;

const SYNCHRONOUS: readonly number[] = [
  HELPER.for_each_map_elem,
  HELPER.find_vma,
  HELPER.loop,
  HELPER.user_ringbuf_drain,
];

const LATER: readonly string[] = [
  "bpf_wq_set_callback_impl",
  "bpf_task_work_schedule_signal_impl",
  "bpf_task_work_schedule_resume_impl",
];

/** Whether the instruction calls a function that calls back before it returns. */
export function callsCallback(env: VerifierEnv, { opcode, src, imm, off }: Insn): boolean {
  if (opcode !== 0x85) return false;
  if (src === CALL.HELPER) return SYNCHRONOUS.includes(imm);
  return src === CALL.KFUNC && env.kfunc?.(imm, off) === "bpf_rbtree_add_impl";
}

/** Whether the instruction names a function that is called later. */
export function callsLater(env: VerifierEnv, { opcode, src, imm, off }: Insn): boolean {
  if (opcode !== 0x85) return false;
  if (src === CALL.HELPER) return imm === HELPER.timer_set_callback;
  return src === CALL.KFUNC && LATER.includes(env.kfunc?.(imm, off) ?? "");
}
