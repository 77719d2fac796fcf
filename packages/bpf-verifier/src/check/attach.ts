/** What programs that BTF describes are attached to, and which may sleep. Linux: check_attach_btf_id(). */
import { EINVAL, ENOENT, ENOTSUPP } from "@alien-ts/abi";
import type { Errno } from "@alien-ts/abi";
import type { Btf, BtfType } from "@alien-ts/btf";
import { assert } from "../assert.ts";
import { kindText, typeOf } from "../call/kfunc/parameters.ts";
import { isGplCompatible } from "../env.ts";
import type { AttachTarget, ProgramEnv } from "../env.ts";
import { PROBE_PREFIX } from "../linux/attach-target.ts";
import { isDisabledHook, isHook, isSleepableHook } from "../linux/hooks.ts";
import {
  hasSleepingPrograms,
  isDenied,
  isModifiable,
  isNoReturn,
  isSystemCall,
} from "../linux/traced-functions.ts";
import { isIterator } from "../linux/iterator-arguments.ts";
import { reject } from "../verdict.ts";
import type { Check } from "../verdict.ts";

const KPROBE = 2;
const TRACING = 26;
const STRUCT_OPS = 27;
const EXT = 28;
const LSM = 29;
const SYSCALL = 31;

const RAW_TP = 23;
const FEXIT = 25;
const MODIFY_RETURN = 26;
const ITERATOR = 28;
/** fentry, fexit, fmod_ret, and those of hooks. */
const FUNCTIONS: readonly number[] = [24, FEXIT, MODIFY_RETURN, 27, 43];
const SLEEPABLE_TRACING: readonly number[] = [24, FEXIT, MODIFY_RETURN, ITERATOR];

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
  if (type !== TRACING && type !== LSM && type !== EXT) return undefined;
  const { kernelBtf } = env;
  if (attach === undefined || kernelBtf === undefined)
    return reject(EINVAL, "Tracing programs must provide btf_id");
  return checkTarget(env, kernelBtf, attach);
}

/** Linux: bpf_check_attach_target() */
function checkTarget(env: ProgramEnv, btf: Btf, target: AttachTarget): Check {
  const { id, name, refusal } = target;
  const { type, attachType } = env.programType;
  if (refusal !== undefined) return reject(refusal.errno, refusal.message);
  const found = btf.type(id);
  if (found === undefined) return reject(EINVAL, `attach_btf_id ${id} is invalid`);
  if (type === EXT) return reject(EINVAL, "Cannot replace kernel functions");
  if (attachType === RAW_TP) return checkTracepoint(found, target);
  if (attachType !== ITERATOR && !FUNCTIONS.includes(attachType)) return reject(EINVAL, "");
  if (found.kind !== "func") return reject(EINVAL, `attach_btf_id ${id} is not a function`);
  const bad = checkPrototype(btf, target);
  if (bad !== undefined) return bad;
  if (attachType === ITERATOR) return isIterator(name) ? undefined : reject(EINVAL, "");
  return checkFunction(env, target);
}

function checkTracepoint(type: BtfType, { id, name, prototype }: AttachTarget): Check {
  if (type.kind !== "typedef") return reject(EINVAL, `attach_btf_id ${id} is not a typedef`);
  if (!name.startsWith(PROBE_PREFIX))
    return reject(EINVAL, `attach_btf_id ${id} points to wrong type name ${name}`);
  return prototype === 0 ? reject(EINVAL, "") : undefined;
}

/** Programs, hooks and functions meet in a function of the kernel. */
function checkFunction(env: ProgramEnv, { id, name }: AttachTarget): Check {
  const { type, attachType } = env.programType;
  const isInjectable = env.isErrorInjectable ?? isSystemCall;
  if (env.symbol !== undefined && env.symbol(name, "func") === undefined)
    return reject(ENOENT, `The address of function ${name} cannot be found`);
  if (env.isSleepable) {
    const maySleep = type === LSM ? isSleepableHook(name) : isInjectable(name) || hasSleepingPrograms(name);
    if (!maySleep) return reject(EINVAL, `${name} is not sleepable`);
  } else if (attachType === MODIFY_RETURN && !isInjectable(name) && !isModifiable(name)) {
    return reject(EINVAL, `${name}() is not modifiable`);
  }
  if (type === LSM) {
    if (!isGplCompatible(env.license))
      return reject(EINVAL, "LSM programs must have a GPL compatible license");
    if (isDisabledHook(name)) return reject(EINVAL, `attach_btf_id ${id} points to disabled hook ${name}`);
    return isHook(name) ? undefined : reject(EINVAL, `attach_btf_id ${id} points to wrong type name ${name}`);
  }
  if (isDenied(name)) return reject(EINVAL, `Attaching tracing programs to function '${name}' is rejected.`);
  if ((attachType === FEXIT || attachType === MODIFY_RETURN) && isNoReturn(name))
    return reject(EINVAL, `Attaching fexit/fmod_ret to __noreturn function '${name}' is rejected.`);
  return undefined;
}

const MAX_ARGUMENTS = 12;
const MAX_ARGUMENT_BYTES = 16;

/** Whether the machine can pass such arguments on. Linux: btf_distill_func_proto() */
export function checkPrototype(
  btf: Btf,
  { name, prototype }: Pick<AttachTarget, "name" | "prototype">,
): Check {
  const refuse = (what: string): Check => reject(EINVAL, `The function ${name} ${what}`);
  const type = btf.type(prototype);
  assert(type?.kind === "func_proto", "functions of the kernel are of types of functions");
  const { params } = type;
  if (params.length > MAX_ARGUMENTS) return refuse(`has ${params.length} arguments. Too many.`);
  const result = typeOf(btf, type.type);
  if (passedBytes(result) === undefined || result?.kind === "struct" || result?.kind === "union")
    return refuse(`return type ${kindText(result)} is unsupported.`);
  for (const [i, param] of params.entries()) {
    if (i === params.length - 1 && param.type === 0) return refuse("with variable args is unsupported.");
    const argument = typeOf(btf, param.type);
    const bytes = passedBytes(argument);
    if (bytes === undefined || bytes > MAX_ARGUMENT_BYTES)
      return refuse(`arg${i} type ${kindText(argument)} is unsupported.`);
    if (bytes === 0) return refuse("has malformed void argument.");
  }
  return undefined;
}

/** Linux: __get_type_size() */
function passedBytes(type: BtfType | undefined): number | undefined {
  switch (type?.kind) {
    case undefined:
    case "void":
      return 0;
    case "ptr":
      return 8;
    case "int":
    case "enum":
    case "enum64":
    case "struct":
    case "union":
      return type.size;
    default:
      return undefined;
  }
}

/** Linux: check_struct_ops_btf_id() */
function checkOperation({ license, attach, kernelBtf, programType, isSleepable }: ProgramEnv): Check {
  if (!isGplCompatible(license))
    return reject(EINVAL, "struct ops programs must have a GPL compatible license");
  if (attach === undefined || kernelBtf === undefined) return reject(ENOTSUPP, "");
  const { id, structure = "" } = attach;
  const isStructure = kernelBtf.type(id)?.kind === "struct";
  if (!isStructure || kernelBtf.find(`bpf_struct_ops_${structure}`, "struct") === undefined)
    return reject(ENOTSUPP, `attach_btf_id ${id} is not a supported struct`);
  const index = programType.attachType;
  const member = kernelBtf.members(id)?.[index];
  if (member === undefined)
    return reject(EINVAL, `attach to invalid member idx ${index} of struct ${structure}`);
  if (attach.prototype === 0) {
    return reject(EINVAL, `attach to invalid member ${member.name}(@idx ${index}) of struct ${structure}`);
  }
  const refuse = (errno: Errno): Check =>
    reject(errno, `attach to unsupported member ${member.name} of struct ${structure}`);
  if (UNSUPPORTED[structure]?.includes(member.name) === true) return refuse(ENOTSUPP);
  const sleepable = MAY_SLEEP[structure];
  const isRefused = isSleepable && sleepable !== undefined && !sleepable.includes(member.name);
  return isRefused ? refuse(EINVAL) : undefined;
}
