/** What a program may give at its end. Linux: check_return_code(). */
import { ENOTSUPP } from "@alien-ts/abi";
import type { ProgramEnv, ReturnRange } from "../env.ts";
import { isBooleanHook } from "../linux/hooks.ts";
import type { Register } from "../state/register.ts";
import { reject } from "../verdict.ts";
import type { Reject } from "../verdict.ts";

const TRACING = 26;
const STRUCT_OPS = 27;
const LSM = 29;
/** tp_btf, fentry, fexit, fmod_ret, iter */
const TRACING_ATTACH: readonly number[] = [23, 24, 25, 26, 28];
const LSM_CGROUP = 43;
const MAX_ERRNO = 4095n;

const BOOL: ReturnRange = { min: 0n, max: 1n };
const ZERO: ReturnRange = { min: 0n, max: 0n };
const ONE: ReturnRange = { min: 1n, max: 1n };
/** Zero, or an error; hooks give 32 bits. */
const ERROR: ReturnRange = { min: -MAX_ERRNO, max: 0n, is32: true };

/** The range of the result; undefined for anything. */
export function resultRange(env: ProgramEnv): ReturnRange | Reject | undefined {
  const { type, attachType, returns } = env.programType;
  switch (type) {
    case TRACING:
      return TRACING_ATTACH.includes(attachType) ? returns : reject(ENOTSUPP, "");
    case LSM: {
      const isVoid = givesNothing(env);
      if (attachType === LSM_CGROUP) return isVoid ? ONE : BOOL;
      return isBooleanHook(env.attach?.name ?? "") ? { ...BOOL, is32: true } : ERROR;
    }
    case STRUCT_OPS:
      return resultPointer(env) === undefined ? undefined : ZERO;
    default:
      return returns;
  }
}

/** An operation or hook without result: its programs need not set one. */
export function hasNoResult(env: ProgramEnv): boolean {
  const { type, attachType } = env.programType;
  return (type === STRUCT_OPS || (type === LSM && attachType !== LSM_CGROUP)) && givesNothing(env);
}

/** Whether hooks that give nothing let programs of control groups decide. */
export const isVoidHookOfCgroup = (env: ProgramEnv): boolean =>
  env.programType.type === LSM && env.programType.attachType === LSM_CGROUP && givesNothing(env);

/** An operation that gives a pointer is given what the program holds a reference to, as it got it. */
export function isReturnedReference(env: ProgramEnv, register: Register): boolean {
  if (env.programType.type !== STRUCT_OPS || register.kind !== "ptr_" || register.refId === 0) return false;
  const wanted = resultPointer(env);
  return wanted !== undefined && register.btf === env.kernelBtf && register.btfId === wanted;
}

function prototypeResult(env: ProgramEnv): number | undefined {
  const { attach } = env;
  const prototype = attach === undefined ? undefined : env.kernelBtf?.type(attach.prototype);
  return prototype?.kind === "func_proto" ? prototype.type : undefined;
}

const givesNothing = (env: ProgramEnv): boolean => prototypeResult(env) === 0;

/** The type that the operation's result points to. */
function resultPointer(env: ProgramEnv): number | undefined {
  const { kernelBtf } = env;
  const type = kernelBtf?.type(kernelBtf.resolve(prototypeResult(env) ?? 0));
  return type?.kind === "ptr" ? kernelBtf!.resolve(type.type) : undefined;
}
