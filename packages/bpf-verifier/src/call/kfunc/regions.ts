/** Regions that functions of the kernel begin and end: RCU, without preemption. What may be called inside. */
import { EACCES, EINVAL } from "@alien-ts/abi";
import { isInRcu } from "../../access/btf-pointer.ts";
import type { Analysis } from "../../analysis.ts";
import { FLAG } from "../../state/register.ts";
import type { Register } from "../../state/register.ts";
import { reject } from "../../verdict.ts";
import type { Check } from "../../verdict.ts";
import { has } from "./facts.ts";
import type { Kfunc } from "./facts.ts";

export function changeRegions(analysis: Analysis, kfunc: Kfunc): Check {
  const { state } = analysis;
  const { name } = kfunc;
  const isSleepable = has(kfunc, "sleepable");
  const bad = changeRcu(analysis, kfunc) ?? changePreemption(analysis, kfunc);
  if (bad !== undefined) return bad;
  if (state.activeIrqId !== 0 && isSleepable)
    return reject(EACCES, `kernel func ${name} is sleepable within IRQ-disabled region`);
  if (has(kfunc, "rcu_protected") && !isInRcu(analysis))
    return reject(EACCES, `kernel func ${name} requires RCU critical section protection`);
  return undefined;
}

function changeRcu(analysis: Analysis, kfunc: Kfunc): Check {
  const { state } = analysis;
  const { name } = kfunc;
  const isLock = name === "bpf_rcu_read_lock";
  const isUnlock = name === "bpf_rcu_read_unlock";
  if (state.activeRcuLocks === 0) {
    if (isLock) state.activeRcuLocks = 1;
    return isUnlock ? reject(EINVAL, `unmatched rcu read unlock (kernel function ${name})`) : undefined;
  }
  if (isLock) return reject(EINVAL, `nested rcu read lock (kernel function ${name})`);
  if (isUnlock) {
    state.activeRcuLocks = 0;
    distrust(analysis);
  } else if (has(kfunc, "sleepable"))
    return reject(EACCES, `kernel func ${name} is sleepable within rcu_read_lock region`);
  return undefined;
}

/** Outside of the section nobody keeps what its pointers point to. */
function distrust({ state }: Analysis): void {
  const change = (register: Register): Register =>
    register.has(FLAG.RCU)
      ? register.with({ flags: (register.flags & ~(FLAG.RCU | FLAG.MAYBE_NULL)) | FLAG.UNTRUSTED })
      : register;
  state.replaceAll(change);
  for (const { stack } of state.frames) {
    stack.forEach((slot, i) => {
      if (slot.types[7] === "i") stack[i] = { ...slot, spilled: change(slot.spilled) };
    });
  }
}

function changePreemption({ state }: Analysis, kfunc: Kfunc): Check {
  const { name } = kfunc;
  if (name === "bpf_preempt_disable") state.activePreemptLocks += 1;
  else if (name === "bpf_preempt_enable") {
    if (state.activePreemptLocks === 0)
      return reject(EINVAL, `unmatched attempt to enable preemption (kernel function ${name})`);
    state.activePreemptLocks -= 1;
  } else if (state.activePreemptLocks > 0 && has(kfunc, "sleepable"))
    return reject(EACCES, `kernel func ${name} is sleepable within non-preemptible region`);
  return undefined;
}
