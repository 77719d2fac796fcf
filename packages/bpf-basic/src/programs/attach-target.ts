/**
 * What a program that is loaded will be attached to, by BTF: a function or a tracepoint of the kernel. Answers to
 * `bpf_prog_load_check_attach` in kernel/bpf/syscall.c and `bpf_check_attach_target` in kernel/bpf/verifier.c.
 *
 * `attachRequest` reads what the loader named before anything else is looked at, and has its errnos; `attachTarget` finds it, and
 * what is wrong with it is for the verifier's log. Differs from Linux: functions of loaded programs cannot be targets yet.
 */
import {
  BPF_ATTACH_TYPE,
  BPF_PROG_TYPE,
  EINVAL,
  ENOENT,
  ENOTSUPP,
  isErr,
  type Errno,
  type Result,
} from "@alien-ts/abi";
import type { AttachTarget } from "@alien-ts/bpf-verifier";
import type { Btf, BtfType } from "@alien-ts/btf";
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

const { TRACE_RAW_TP, TRACE_FENTRY, TRACE_FEXIT, MODIFY_RETURN, TRACE_ITER } = BPF_ATTACH_TYPE;
const FUNCTIONS: readonly number[] = [TRACE_FENTRY, TRACE_FEXIT, MODIFY_RETURN];
const PROBE_PREFIX = "btf_trace_";
/** Functions that do not return. Linux: noreturn_deny */
const NO_RETURN: readonly string[] = [
  "do_exit",
  "do_group_exit",
  "kthread_complete_and_exit",
  "kthread_exit",
  "make_task_dead",
];

/** Undefined where the loader named nothing. */
export function attachTarget(engine: BpfEngine, request: AttachRequest): AttachTarget | undefined {
  const { id, object, program } = request;
  if (id === 0) return undefined;
  if (program !== undefined) return refuse("", ENOTSUPP, "this kernel attaches to functions of its own only");
  if (object === undefined) return undefined;
  const { btf } = object;
  const type = btf.type(id);
  if (type === undefined) return refuse("", EINVAL, `attach_btf_id ${id} is invalid`);
  if (request.attachType === TRACE_RAW_TP) return tracepointTarget(btf, id, type);
  if (FUNCTIONS.includes(request.attachType)) return functionTarget(engine, request, btf, type);
  if (request.attachType !== TRACE_ITER) return refuse(type.name, EINVAL, "");
  if (type.kind !== "func") return refuse(type.name, EINVAL, `attach_btf_id ${id} is not a function`);
  // Nothing here can be iterated over by programs.
  return refuse(type.name, EINVAL, "");
}

const refuse = (name: string, errno: Errno, message: string): AttachTarget => ({
  name,
  prototype: 0,
  refusal: { errno, message },
});

function tracepointTarget(btf: Btf, id: number, type: BtfType): AttachTarget {
  const { name } = type;
  if (type.kind !== "typedef") return refuse(name, EINVAL, `attach_btf_id ${id} is not a typedef`);
  if (!name.startsWith(PROBE_PREFIX))
    return refuse(name, EINVAL, `attach_btf_id ${id} points to wrong type name ${name}`);
  const pointer = btf.type(type.type);
  const isProbe = pointer?.kind === "ptr" && btf.type(pointer.type)?.kind === "func_proto";
  return isProbe ? { name, prototype: pointer.type } : refuse(name, EINVAL, "");
}

function functionTarget(
  { ports }: BpfEngine,
  { id, attachType, isSleepable }: AttachRequest,
  btf: Btf,
  type: BtfType,
): AttachTarget {
  const { name } = type;
  if (type.kind !== "func") return refuse(name, EINVAL, `attach_btf_id ${id} is not a function`);
  if (btf.type(type.type)?.kind !== "func_proto") return refuse(name, EINVAL, "");
  if (ports.symbolAddress(name) === undefined)
    return refuse(name, ENOENT, `The address of function ${name} cannot be found`);
  const mayChange = ports.isErrorInjectable(name);
  if (isSleepable && !mayChange) return refuse(name, EINVAL, `${name} is not sleepable`);
  if (attachType === MODIFY_RETURN && !isSleepable && !mayChange && !name.startsWith("security_"))
    return refuse(name, EINVAL, `${name}() is not modifiable`);
  if (attachType !== TRACE_FENTRY && NO_RETURN.includes(name)) {
    const message = `Attaching fexit/fmod_ret to __noreturn function '${name}' is rejected.`;
    return refuse(name, EINVAL, message);
  }
  return { name, prototype: type.type };
}
