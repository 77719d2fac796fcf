/** What programs that BTF describes are attached to, and which may sleep. Linux: check_attach_btf_id(). */
import { EINVAL, ENOTSUPP } from "@alien-ts/abi";
import type { Errno } from "@alien-ts/abi";
import { isGplCompatible } from "../env.ts";
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

/** Operations that programs may not be. */
const UNSUPPORTED: Record<string, readonly string[]> = { tcp_congestion_ops: ["get_info"] };
/** The operations of a structure that may sleep, where not all of them may. */
const MAY_SLEEP: Record<string, readonly string[]> = { bpf_dummy_ops: ["test_sleepable"] };

export function checkAttach(env: ProgramEnv): Check {
  const { type, attachType } = env.programType;
  const { isSleepable, attach } = env;
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
  if (type === STRUCT_OPS) return checkOperation(env);
  const isTyped = type === TRACING || type === LSM || type === EXT;
  if (!isTyped) return undefined;
  if (attach === undefined) return reject(EINVAL, "Tracing programs must provide btf_id");
  return attach.refusal === undefined ? undefined : reject(attach.refusal.errno, attach.refusal.message);
}

/** Linux: check_struct_ops_btf_id() */
function checkOperation({ license, attach, kernelBtf, programType, isSleepable }: ProgramEnv): Check {
  if (!isGplCompatible(license))
    return reject(EINVAL, "struct ops programs must have a GPL compatible license");
  const structure = attach?.structure;
  const id = structure === undefined ? undefined : kernelBtf?.find(structure, "struct");
  if (structure === undefined || id === undefined) return reject(ENOTSUPP, "");
  if (kernelBtf!.find(`bpf_struct_ops_${structure}`, "struct") === undefined)
    return reject(ENOTSUPP, `attach_btf_id ${id} is not a supported struct`);
  const index = programType.attachType;
  const member = kernelBtf!.members(id)?.[index];
  if (member === undefined)
    return reject(EINVAL, `attach to invalid member idx ${index} of struct ${structure}`);
  if (attach?.prototype === 0) {
    return reject(EINVAL, `attach to invalid member ${member.name}(@idx ${index}) of struct ${structure}`);
  }
  const refuse = (errno: Errno): Check =>
    reject(errno, `attach to unsupported member ${member.name} of struct ${structure}`);
  if (UNSUPPORTED[structure]?.includes(member.name) === true) return refuse(ENOTSUPP);
  const sleepable = MAY_SLEEP[structure];
  const isRefused = isSleepable && sleepable !== undefined && !sleepable.includes(member.name);
  return isRefused ? refuse(EINVAL) : undefined;
}
