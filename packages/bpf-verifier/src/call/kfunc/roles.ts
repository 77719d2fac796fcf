/** Arguments of kernel functions by what they are: the second half of check_kfunc_args(). */
import { EFAULT, EINVAL } from "@alien-ts/abi";
import { structsMatch } from "../../access/struct-walk.ts";
import type { Analysis } from "../../analysis.ts";
import { isProjection, kernelContext } from "../../linux/kernel-contexts.ts";
import { fieldsOf, isOwn, isUnsafe, structureOf } from "../../state/fields.ts";
import { FLAG, kindName } from "../../state/register.ts";
import type { Register } from "../../state/register.ts";
import { reject } from "../../verdict.ts";
import type { Check } from "../../verdict.ts";
import { checkDynptrArgument } from "../dynptr.ts";
import { checkIteratorArgument } from "../iterator.ts";
import { checkLock } from "../locks.ts";
import { checkConstantString, checkMapField } from "../value-fields.ts";
import { dynptrParameter } from "./dynptrs.ts";
import type { Kfunc, KfuncFacts } from "./facts.ts";
import { has } from "./facts.ts";
import { checkNode, checkRoot } from "./graph.ts";
import { checkIrqFlag } from "./irq.ts";
import { checkMemoryParameter, checkSizedMemory } from "./memory.ts";
import { kindText, typeOf } from "./parameters.ts";
import type { ParameterRole } from "./parameters.ts";

export interface Parameter {
  readonly role: ParameterRole;
  readonly index: number;
  readonly facts: KfuncFacts;
}

export function checkRole(analysis: Analysis, kfunc: Kfunc, parameter: Parameter): Check {
  const { role, index, facts } = parameter;
  const number = index + 1;
  const register = analysis.register(number);
  switch (role) {
    case "ctx":
      return checkContext(analysis, kfunc, register, parameter);
    case "own object":
      return checkOwnObject(kfunc, register, parameter);
    case "counted object":
      return checkCounted(register, parameter);
    case "dynptr":
      return checkDynptrArgument(analysis, number, dynptrParameter(kfunc, index, facts), (dynptr) => {
        facts.dynptr = dynptr;
      });
    case "iterator":
      return checkIteratorArgument(analysis, kfunc, number, facts);
    case "list":
    case "tree":
      return checkRoot(analysis, kfunc, register, parameter);
    case "list node":
    case "tree node":
      return checkNode(analysis, kfunc, register, parameter);
    case "map":
    case "btf":
      return checkStructure(analysis, kfunc, register, parameter);
    case "memory":
      return checkMemoryParameter(analysis, kfunc, number);
    case "sized memory":
      return checkSizedMemory(analysis, kfunc, index, facts);
    case "irq flag":
      if (register.kind !== "fp") return reject(EINVAL, `arg#${index} doesn't point to an irq flag on stack`);
      return checkIrqFlag(analysis, kfunc, number);
    default:
      return checkValueField(analysis, kfunc, parameter);
  }
}

/** Fields of map values, functions, texts. */
function checkValueField(analysis: Analysis, kfunc: Kfunc, { role, index, facts }: Parameter): Check {
  const number = index + 1;
  const register = analysis.register(number);
  const isValue = register.kind === "map_value" && register.flags === 0;
  switch (role) {
    case "callback":
      if (register.kind !== "func") return reject(EINVAL, `arg${index} expected pointer to func`);
      facts.subprogram = register.subprogram;
      return undefined;
    case "string":
      return isValue
        ? checkConstantString(analysis, number)
        : reject(EINVAL, `arg#${index} doesn't point to a const string`);
    case "workqueue":
    case "task work":
      if (!isValue) return reject(EINVAL, `arg#${index} doesn't point to a map value`);
      return checkMapField(register, number, role === "workqueue" ? "workqueue" : "task_work", facts);
    case "lock":
      if (!isValue && !isOwn(register))
        return reject(EINVAL, `arg#${index} doesn't point to map value or allocated object`);
      return checkLock(
        analysis,
        number,
        kfunc.name.includes("_irq") ? "res_lock_irq" : "res_lock",
        !kfunc.name.includes("_unlock"),
      );
    default:
      return undefined;
  }
}

function checkContext(analysis: Analysis, kfunc: Kfunc, register: Register, parameter: Parameter): Check {
  const { index, facts } = parameter;
  if (register.kind !== "ctx")
    return reject(EINVAL, `arg#${index} expected pointer to ctx, but got ${kindName(register)}`);
  if (kfunc.name !== "bpf_cast_to_kern_ctx") return undefined;
  const { id, isStruct } = kernelContext(analysis.env);
  if (!isStruct) return reject(EINVAL, `kern ctx type id ${id} is not a struct`);
  facts.contextId = id;
  return undefined;
}

function checkOwnObject({ name }: Kfunc, register: Register, { index, facts }: Parameter): Check {
  if (isOwn(register)) {
    if (name !== "bpf_obj_drop_impl") return reject(EINVAL, `arg#${index} expected for bpf_obj_drop_impl()`);
  } else if (
    register.kind === "ptr_" &&
    register.flags === (FLAG.ALLOC | FLAG.PERCPU) &&
    register.refId !== 0
  ) {
    if (name !== "bpf_percpu_obj_drop_impl")
      return reject(EINVAL, `arg#${index} expected for bpf_percpu_obj_drop_impl()`);
  } else return reject(EINVAL, `arg#${index} expected pointer to allocated object`);
  facts.object = { btf: register.btf!, id: register.btfId };
  return undefined;
}

function checkCounted(register: Register, { index, facts }: Parameter): Check {
  if (register.kind !== "ptr_" || !register.has(FLAG.ALLOC))
    return reject(EINVAL, `arg#${index} is neither owning or non-owning ref`);
  facts.isOwning = !register.has(FLAG.NON_OWN_REF);
  const fields = fieldsOf(register);
  if (fields.length === 0) return reject(EFAULT, "verifier bug: Couldn't find btf_record");
  if (!fields.some(({ kind }) => kind === "refcount"))
    return reject(EINVAL, `arg#${index} doesn't point to a type with bpf_refcount field`);
  facts.object = { btf: register.btf!, id: register.btfId };
  return undefined;
}

/** Types that are the same to the machine but not to those who count references. */
const NO_CAST = "___init";

/** A pointer to a kernel structure, of this type or beginning with it. Linux: process_kf_arg_ptr_to_btf_id() */
function checkStructure(analysis: Analysis, kfunc: Kfunc, register: Register, parameter: Parameter): Check {
  const { index, role } = parameter;
  const { btf, prototype, name } = kfunc;
  const converted = structureOf(register);
  const isPlain = register.kind === "ptr_" && (!isUnsafe(register) || register.has(FLAG.RCU));
  if (!isPlain && converted === undefined) {
    const kept = register.flags & (FLAG.ALLOC | FLAG.TRUSTED | FLAG.NON_OWN_REF);
    const expected = kindName({ kind: register.kind, flags: kept });
    return reject(EINVAL, `arg#${index} is ${kindName(register)} expected ${expected} or socket`);
  }
  const param = prototype.params[index]!;
  const type = typeOf(btf, param.type);
  const target = type?.kind === "ptr" ? btf.resolve(type.type) : 0;
  const wanted = role === "map" ? (btf.find("bpf_map", "struct") ?? 0) : target;
  const given =
    register.kind === "ptr_"
      ? { btf: register.btf, id: register.btfId }
      : { btf: analysis.env.kernelBtf, id: btf.find(converted ?? "", "struct") ?? 0 };
  const wantedType = btf.type(wanted);
  const givenType = given.btf?.type(given.btf.resolve(given.id));
  const [a, b] = [wantedType?.name ?? "", givenType?.name ?? ""];
  const isAlias = a !== b && a.replace(NO_CAST, "") === b.replace(NO_CAST, "");
  const isStrict = (has(kfunc, "release") && register.refId !== 0) || isAlias;
  if (structsMatch(given, register.off, { btf, id: wanted }, isStrict, analysis.log) || isProjection(a, b))
    return undefined;
  return reject(
    EINVAL,
    `kernel function ${name} args#${index} expected pointer to ${kindText(wantedType)} ${a} ` +
      `but R${index + 1} has a pointer to ${kindText(givenType)} ${b}`,
  );
}
