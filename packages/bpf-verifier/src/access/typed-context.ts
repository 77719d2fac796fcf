/** Contexts that BTF describes: an array of 64-bit arguments of the traced function. Linux: btf_ctx_access(). */
import { EACCES } from "@alien-ts/abi";
import type { Btf, BtfType } from "@alien-ts/btf";
import type { Analysis } from "../analysis.ts";
import { FLAG, UNKNOWN, pointer } from "../state/register.ts";
import type { Register } from "../state/register.ts";
import { reject } from "../verdict.ts";
import type { Check } from "../verdict.ts";
import type { ContextAccess } from "./context.ts";

const RAW_TP = 23;
const FEXIT = 25;
const ITERATOR = 28;

export function accessTypedContext(
  analysis: Analysis,
  { off, size, isWrite }: ContextAccess,
): Register | undefined | Check {
  const { attach, kernelBtf: btf, programType } = analysis.env;
  const invalid = reject(EACCES, `invalid bpf_context access off=${off} size=${size}`);
  if (attach === undefined || btf === undefined || isWrite) return invalid;
  if (off < 0 || off % size !== 0) return invalid;
  if (off % 8 !== 0) {
    return reject(EACCES, `func '${attach.name}' offset ${off} is not multiple of 8\n${invalid.message}`);
  }
  const prototype = btf.type(attach.prototype);
  if (prototype?.kind !== "func_proto") return invalid;
  // A tracepoint's first argument is the data of its probe.
  const params = programType.attachType === RAW_TP ? prototype.params.slice(1) : prototype.params;
  const index = off / 8;
  const param = params[index];
  const isResult = param === undefined && programType.attachType === FEXIT && index === params.length;
  if (param === undefined && !isResult) {
    return reject(EACCES, `func '${attach.name}' doesn't have ${index + 1}-th argument\n${invalid.message}`);
  }
  const typeId = btf.resolve(param === undefined ? prototype.type : param.type);
  const type = btf.type(typeId);
  if (type === undefined) return invalid;
  if (type.kind !== "ptr") return isNumber(type) && size <= 8 ? UNKNOWN : invalid;
  if (size !== 8) {
    return reject(EACCES, `func '${attach.name}' size ${size} must be 8\n${invalid.message}`);
  }
  return pointerArgument(analysis, btf, type.type, invalid);
}

const isNumber = (type: BtfType): boolean =>
  type.kind === "int" || type.kind === "enum" || type.kind === "enum64";

function pointerArgument(
  analysis: Analysis,
  btf: Btf,
  target: number,
  invalid: Check,
): Register | undefined | Check {
  const id = btf.resolve(target);
  const type = btf.type(id);
  if (
    type === undefined ||
    type.kind === "void" ||
    type.kind === "int" ||
    type.kind === "func_proto" ||
    type.kind === "ptr"
  )
    return UNKNOWN;
  if (type.kind !== "struct" && type.kind !== "union") return invalid;
  const { programType } = analysis.env;
  const isIterator = programType.attachType === ITERATOR;
  return pointer("ptr_", {
    flags: FLAG.TRUSTED | (isIterator && type.name !== "bpf_iter_meta" ? FLAG.MAYBE_NULL : 0),
    btf,
    btfId: id,
    id: isIterator && type.name !== "bpf_iter_meta" ? analysis.newId() : 0,
  });
}
