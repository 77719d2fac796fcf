/**
 * Contexts that BTF describes: an array of 64-bit arguments of the traced function, hook or operation. Linux: btf_ctx_access().
 */
import { EACCES } from "@alien-ts/abi";
import type { Btf, BtfFuncProto, BtfParam, BtfType } from "@alien-ts/btf";
import type { Analysis } from "../analysis.ts";
import type { AttachTarget } from "../env.ts";
import { PROBE_PREFIX } from "../linux/attach-target.ts";
import { isUntrustedHook } from "../linux/hooks.ts";
import { iteratorArgument } from "../linux/iterator-arguments.ts";
import { tracepointArgument } from "../linux/trusted-fields.ts";
import { FLAG, UNKNOWN, pointer } from "../state/register.ts";
import type { Register } from "../state/register.ts";
import { reject } from "../verdict.ts";
import type { Check } from "../verdict.ts";
import { structsMatch } from "./struct-walk.ts";
import type { ContextAccess } from "./context.ts";

const TRACING = 26;
const STRUCT_OPS = 27;
const LSM = 29;
const RAW_TP = 23;
const FEXIT = 25;
const MODIFY_RETURN = 26;
const LSM_MAC = 27;
const ITERATOR = 28;
const LSM_CGROUP = 43;
/** Programs that run when the function is done see what it returns. */
const WITH_RESULT: readonly number[] = [FEXIT, MODIFY_RETURN, LSM_MAC, LSM_CGROUP];
const MAX_ARGUMENTS = 12;

type Answer = Register | undefined | Check;

export function accessTypedContext(analysis: Analysis, { off, size, isWrite }: ContextAccess): Answer {
  const { attach, kernelBtf: btf } = analysis.env;
  const { attachType } = analysis.env.programType;
  const { message } = invalid(off, size);
  if (attach === undefined || btf === undefined || isWrite) return invalid(off, size);
  if (off < 0 || off >= MAX_ARGUMENTS * 8 || off % size !== 0) return invalid(off, size);
  const refuse = (why: string): Check => reject(EACCES, `func '${targetName(attach)}' ${why}\n${message}`);
  if (off % 8 !== 0) return refuse(`offset ${off} is not multiple of 8`);
  const prototype = btf.type(attach.prototype);
  if (prototype?.kind !== "func_proto") return invalid(off, size);
  // A tracepoint's first argument is the data of its probe, which is counted but not seen.
  const params = attachType === RAW_TP ? prototype.params.slice(1) : prototype.params;
  const index = argumentAt(btf, prototype, off);
  const param = params[index];
  if (param === undefined && (index > params.length || !WITH_RESULT.includes(attachType)))
    return refuse(`doesn't have ${index + 1}-th argument`);
  const type = btf.type(btf.resolve(param === undefined ? prototype.type : param.type));
  if (type === undefined) return invalid(off, size);
  if (param === undefined && attachType === MODIFY_RETURN && type.kind !== "int")
    return reject(EACCES, `ret type ${type.kind.toUpperCase()} not allowed for fmod_ret\n${message}`);
  if (isNumber(type)) return UNKNOWN;
  if (type.kind !== "ptr")
    return refuse(
      `arg${index} '${type.name}' has type ${type.kind.toUpperCase()}. Only pointer access is allowed`,
    );
  if (size !== 8) return refuse(`size ${size} must be 8`);
  const made = pointerArgument(analysis, btf, { target: type.type, param, index });
  return typeof made === "string" ? refuse(made) : made;
}

/** Probes of tracepoints go by the tracepoint's name. */
const targetName = ({ name }: AttachTarget): string => name.replace(PROBE_PREFIX, "");

const invalid = (off: number, size: number): NonNullable<Check> =>
  reject(EACCES, `invalid bpf_context access off=${off} size=${size}`);

/** The argument at an offset: structures take as many words as they need. What is behind the last one is the result. */
function argumentAt(btf: Btf, { params, type: result }: BtfFuncProto, off: number): number {
  let end = 0;
  for (const [index, { type }] of [...params, { type: result }].entries()) {
    end += Math.ceil((btf.sizeOf(type) ?? 0) / 8) * 8;
    if (off < end) return index;
  }
  return params.length + 1;
}

/** What fits a register, and structures, which are seen as words. Linux: btf_type_is_small_int() */
const isNumber = (type: BtfType): boolean =>
  (type.kind === "int" && type.size <= 8) ||
  type.kind === "enum" ||
  type.kind === "enum64" ||
  type.kind === "struct" ||
  type.kind === "union";

interface Argument {
  readonly target: number;
  readonly param: BtfParam | undefined;
  readonly index: number;
}

/** The register, or why there is none. */
function pointerArgument(analysis: Analysis, btf: Btf, argument: Argument): Register | string {
  const { index, param, target } = argument;
  const attach = analysis.env.attach!;
  const id = btf.resolve(target);
  const type = btf.type(id);
  const isIterator =
    analysis.env.programType.attachType === ITERATOR && analysis.env.programType.type === TRACING;
  const given = isIterator ? iteratorArgument(attach.name, index) : undefined;
  if (given?.kind === "buf") return pointer("buf", { flags: given.flags, id: analysis.newId() });
  if (type === undefined || type.kind === "void" || type.kind === "int") return UNKNOWN;
  if (type.kind !== "struct" && type.kind !== "union")
    return `arg${index} type ${type.kind.toUpperCase()} is not a struct`;
  if (given !== undefined) return made(analysis, btf, id, given.flags);
  if (isNullableOperation(analysis, btf, index))
    return made(analysis, btf, id, FLAG.TRUSTED | FLAG.MAYBE_NULL);
  let flags = isTrusted(analysis) ? FLAG.TRUSTED : 0;
  if (param?.name.endsWith("__nullable") === true) flags |= FLAG.MAYBE_NULL;
  let isError = false;
  if (attach.name.startsWith(PROBE_PREFIX)) {
    const known = tracepointArgument(attach.name.slice(PROBE_PREFIX.length), index);
    if (known.isNullable) flags |= FLAG.MAYBE_NULL;
    ({ isError } = known);
  }
  const tag = btf.type(target);
  if (tag?.kind === "type_tag")
    flags |= tag.name === "user" ? FLAG.USER : tag.name === "percpu" ? FLAG.PERCPU : 0;
  const { log } = analysis;
  if (log.isNeeded) {
    log.line(
      `func '${targetName(attach)}' arg${index} has btf_id ${id} type ${type.kind.toUpperCase()} '${type.name}'`,
    );
    if (isError) log.write(`marking pointer arg${index} as scalar as it may encode error`);
  }
  return isError ? UNKNOWN : made(analysis, btf, promoted(analysis, btf, id, flags), flags);
}

function made(analysis: Analysis, btf: Btf, btfId: number, flags: number): Register {
  const isMaybeNull = (flags & FLAG.MAYBE_NULL) !== 0;
  return pointer("ptr_", { flags, btf, btfId, id: isMaybeNull ? analysis.newId() : 0 });
}

/** Linux: prog_args_trusted() */
function isTrusted({ env: { programType, attach } }: Analysis): boolean {
  const { type, attachType } = programType;
  if (type === STRUCT_OPS) return true;
  if (type === LSM) return !isUntrustedHook(attach!.name);
  return type === TRACING && (attachType === RAW_TP || attachType === ITERATOR);
}

/** Operations say in the names of their stubs' parameters what may be NULL. */
function isNullableOperation({ env: { attach } }: Analysis, btf: Btf, index: number): boolean {
  if (attach?.structure === undefined) return false;
  const id = btf.find(`${attach.structure}__${attach.name}`, "func");
  const func = id === undefined ? undefined : btf.type(id);
  const prototype = func?.kind === "func" ? btf.type(func.type) : undefined;
  return prototype?.kind === "func_proto" && prototype.params[index]?.name.endsWith("__nullable") === true;
}

/** Congestion control is given sockets that are known to be TCP's. Linux: bpf_tcp_ca_is_valid_access() */
function promoted({ env: { attach } }: Analysis, btf: Btf, id: number, flags: number): number {
  if (attach?.structure !== "tcp_congestion_ops" || (flags & ~FLAG.TRUSTED) !== 0) return id;
  const sock = btf.find("sock", "struct");
  const isSock = sock !== undefined && structsMatch({ btf, id }, 0, { btf, id: sock }, true);
  return isSock ? (btf.find("tcp_sock", "struct") ?? id) : id;
}
