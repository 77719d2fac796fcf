/**
 * What a program that is loaded will be attached to, by BTF: a function or a tracepoint of the kernel. Answers to
 * `bpf_prog_load_check_attach` in kernel/bpf/syscall.c and `bpf_check_attach_target` in kernel/bpf/verifier.c.
 *
 * `attachRequest` reads what the loader named before anything else is looked at, and has its errnos; `attachTarget` finds it, and
 * the verifier says what is wrong with it. Differs from Linux: functions of loaded programs cannot be targets yet.
 */
import { BPF_PROG_TYPE, EINVAL, ENOTSUPP, isErr, type Result } from "@alien-ts/abi";
import { type AttachTarget, attachTarget as targetOf } from "@alien-ts/bpf-verifier";
import type { BtfObject } from "../btf/btf-object.ts";
import type { BpfEngine } from "../engine.ts";
import type { BpfProgram } from "./program.ts";

/** The attributes that name a target. */
export interface AttachAttributes {
  readonly type: number;
  readonly attachType: number;
  /** `attach_btf_id` */
  readonly id: number;
  /** `attach_prog_fd`, `attach_btf_obj_fd` */
  readonly fd: number;
  readonly isSleepable: boolean;
}

export interface AttachRequest extends AttachAttributes {
  /** Whose type `id` is; neither where no type is named. */
  readonly object: BtfObject | undefined;
  readonly program: BpfProgram | undefined;
}

/** BTF_MAX_TYPE */
const MAX_TYPE = 0xf_ffff;

const { TRACING, LSM, STRUCT_OPS, EXT } = BPF_PROG_TYPE;
const TYPED: readonly number[] = [TRACING, LSM, STRUCT_OPS, EXT];

export function attachRequest(engine: BpfEngine, given: AttachAttributes): Result<AttachRequest> {
  const { type, id, fd } = given;
  let object: BtfObject | undefined;
  let program: BpfProgram | undefined;
  if (fd !== 0) {
    const held = engine.ports.objectOf(fd | 0);
    if (isErr(held)) return EINVAL;
    if (held?.kind === "program") program = held;
    else if (held?.kind === "btf") object = held;
    else return EINVAL;
    if (object?.isKernel === false) return ENOTSUPP;
  } else if (id !== 0) {
    object = engine.kernelBtf;
    if (object === undefined) return EINVAL;
  }
  if (id > MAX_TYPE || (id !== 0 && !TYPED.includes(type))) return EINVAL;
  if (object !== undefined && id === 0) return EINVAL;
  if (program !== undefined && type !== TRACING && type !== EXT) return EINVAL;
  return { ...given, object, program };
}

/** Undefined where the loader named nothing. */
export function attachTarget(request: AttachRequest): AttachTarget | undefined {
  const { id, object, program } = request;
  if (id === 0) return undefined;
  if (program !== undefined) {
    const message = "this kernel attaches to functions of its own only";
    return { id, name: "", prototype: 0, refusal: { errno: ENOTSUPP, message } };
  }
  return object && targetOf(object.btf, request, id);
}
