/** What may not be held where the program ends, or leaves what holds it. Linux: check_resource_leak(). */
import { EINVAL } from "@alien-ts/abi";
import { REG } from "@alien-ts/bpf-isa";
import type { Analysis } from "../analysis.ts";
import { reject } from "../verdict.ts";
import type { Check } from "../verdict.ts";

/** What is still held at a place where nothing may be. Linux: check_resource_leak() */
export function checkLeaks(
  analysis: Analysis,
  place: string,
  withLocks: boolean,
  isException = false,
): Check {
  const { state } = analysis;
  if (withLocks && state.hasLocks)
    return reject(EINVAL, `${place} cannot be used inside bpf_spin_lock-ed region`);
  const isMain = state.frames.length === 1 || isException;
  const returned = returnedReference(analysis, isException);
  const lingering = state.references.filter(({ id, kind }) => kind === "object" && id !== returned);
  if ((isMain || place !== "BPF_EXIT instruction in main prog") && lingering.length > 0) {
    const lines = lingering.map(({ id, insn }) => `Unreleased reference id=${id} alloc_insn=${insn}`);
    return reject(EINVAL, [...lines, `${place} would lead to reference leak`].join("\n"));
  }
  if (!withLocks) return undefined;
  if (state.activeIrqId !== 0)
    return reject(EINVAL, `${place} cannot be used inside bpf_local_irq_save-ed region`);
  if (state.activeRcuLocks > 0)
    return reject(EINVAL, `${place} cannot be used inside bpf_rcu_read_lock-ed region`);
  if (state.activePreemptLocks > 0)
    return reject(EINVAL, `${place} cannot be used inside bpf_preempt_disable-ed region`);
  return undefined;
}

const STRUCT_OPS = 27;

/** Operations may give a reference to the kernel; whether it is what they are to give is looked at later. */
function returnedReference(analysis: Analysis, isException: boolean): number | undefined {
  const mayReturn = analysis.env.programType.type === STRUCT_OPS && !isException;
  return mayReturn ? analysis.register(REG.R0).refId : undefined;
}
