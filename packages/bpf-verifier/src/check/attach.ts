/** What programs that BTF describes are attached to, and which may sleep. Linux: check_attach_btf_id(). */
import { EINVAL } from "@alien-ts/abi";
import type { ProgramEnv } from "../env.ts";
import { reject } from "../verdict.ts";
import type { Check } from "../verdict.ts";

const KPROBE = 2;
const TRACING = 26;
const STRUCT_OPS = 27;
const EXT = 28;
const LSM = 29;
const SYSCALL = 31;
/** fentry, fexit, fmod_ret, iter */
const SLEEPABLE_TRACING: readonly number[] = [24, 25, 26, 28];

/** Differs from Linux: operations of the kernel's structures are not known yet, so that programs for them are refused. */
export function checkAttach({ programType: { type, attachType }, isSleepable, attach }: ProgramEnv): Check {
  if (type === SYSCALL)
    return isSleepable ? undefined : reject(EINVAL, "Syscall programs can only be sleepable");
  const maySleep =
    (type === TRACING && SLEEPABLE_TRACING.includes(attachType)) ||
    type === LSM ||
    type === KPROBE ||
    type === STRUCT_OPS;
  if (isSleepable && !maySleep) {
    return reject(
      EINVAL,
      "Only fentry/fexit/fmod_ret, lsm, iter, uprobe, and struct_ops programs can be sleepable",
    );
  }
  if (type === STRUCT_OPS) return reject(EINVAL, "attach_btf_id 0 is not a supported struct");
  const isTyped = type === TRACING || type === LSM || type === EXT;
  return isTyped && attach === undefined ? reject(EINVAL, "Tracing programs must provide btf_id") : undefined;
}
