/** What r0 holds after a kernel function. Linux: the last part of check_kfunc_call(), check_special_kfunc(). */
import { EINVAL } from "@alien-ts/abi";
import type { Btf, BtfType } from "@alien-ts/btf";
import { REG } from "@alien-ts/bpf-isa";
import type { Analysis } from "../../analysis.ts";
import { hasLock } from "../../state/fields.ts";
import { FLAG, NOT_INIT, NULL_REGISTER, UNKNOWN, pointer } from "../../state/register.ts";
import type { Register } from "../../state/register.ts";
import { objectFields } from "../../value-fields.ts";
import { reject } from "../../verdict.ts";
import type { Check } from "../../verdict.ts";
import { iteratorAt } from "../iterator.ts";
import { slice } from "./dynptrs.ts";
import { has } from "./facts.ts";
import type { Kfunc, KfuncFacts } from "./facts.ts";
import { graphNode, notOwning } from "./graph.ts";
import { isScalarStruct, isScalarType, kindText, nameOf, typeOf } from "./parameters.ts";

type Result = Register | NonNullable<Check>;

export function giveKfuncResult(analysis: Analysis, kfunc: Kfunc, facts: KfuncFacts): Check {
  const { btf, prototype, name } = kfunc;
  const type = typeOf(btf, prototype.type);
  if (isScalarType(type)) {
    const isLock = name === "bpf_res_spin_lock" || name === "bpf_res_spin_lock_irqsave";
    analysis.set(REG.R0, isLock ? NULL_REGISTER : UNKNOWN);
    return undefined;
  }
  if (type?.kind !== "ptr") {
    analysis.set(REG.R0, NOT_INIT);
    return undefined;
  }
  const target = typeOf(btf, type.type);
  const made =
    special(analysis, kfunc, facts, target) ?? plain(analysis, kfunc, facts, btf.resolve(type.type));
  if (!("kind" in made)) return made;
  let result = made;
  const isNullable = has(kfunc, "ret_null") && !(name === "bpf_refcount_acquire_impl" && facts.isOwning);
  if (isNullable) result = result.with({ flags: result.flags | FLAG.MAYBE_NULL, id: analysis.newId() });
  if (has(kfunc, "acquire")) {
    const id = analysis.newId();
    analysis.state.hold({ kind: "object", id, insn: analysis.index, object: undefined });
    result = result.with({ refId: id, ...(isNullable ? { id } : {}) });
  } else if (isNode(target)) result = notOwning(result);
  if (hasLock(result) && result.id === 0) result = result.with({ id: analysis.newId() });
  analysis.set(REG.R0, result);
  return undefined;
}

const isNode = (type: BtfType | undefined): boolean =>
  type?.kind === "struct" && (type.name === "bpf_list_node" || type.name === "bpf_rb_node");

function special(
  analysis: Analysis,
  kfunc: Kfunc,
  facts: KfuncFacts,
  target: BtfType | undefined,
): Result | undefined {
  const { name, btf } = kfunc;
  if (isNode(target)) {
    const root = target?.name === "bpf_list_node" ? facts.list : facts.tree;
    return root === undefined ? undefined : graphNode(root);
  }
  switch (name) {
    case "bpf_obj_new_impl":
    case "bpf_percpu_obj_new_impl":
      return newObject(analysis, name, facts);
    case "bpf_refcount_acquire_impl":
      return pointer("ptr_", { flags: FLAG.ALLOC, btf: facts.object!.btf, btfId: facts.object!.id });
    case "bpf_cast_to_kern_ctx":
      return pointer("ptr_", { flags: FLAG.TRUSTED, btf, btfId: facts.contextId });
    case "bpf_rdonly_cast":
      return readOnlyCast(btf, facts);
    case "bpf_dynptr_slice":
    case "bpf_dynptr_slice_rdwr":
      return slice(analysis, kfunc, facts);
    default:
      return undefined;
  }
}

const MAX_PERCPU_BYTES = 512;

function newObject(analysis: Analysis, name: string, { constant = 0n }: KfuncFacts): Result {
  if (constant >= 1n << 32n) return reject(EINVAL, "local type ID argument must be in range [0, U32_MAX]");
  const btf = analysis.env.program?.btf;
  if (btf === undefined) return reject(EINVAL, "bpf_obj_new/bpf_percpu_obj_new requires prog BTF");
  const id = Number(constant);
  const type = btf.type(id);
  if (type?.kind !== "struct")
    return reject(EINVAL, "bpf_obj_new/bpf_percpu_obj_new type ID argument must be of a struct");
  if (name === "bpf_obj_new_impl") return pointer("ptr_", { flags: FLAG.ALLOC, btf, btfId: id });
  if (type.size > MAX_PERCPU_BYTES) {
    return reject(EINVAL, `bpf_percpu_obj_new type size (${type.size}) is greater than ${MAX_PERCPU_BYTES}`);
  }
  if (!isScalarStruct(analysis, btf, type))
    return reject(EINVAL, "bpf_percpu_obj_new type ID argument must be of a struct of scalars");
  if (objectFields(btf, id).length > 0)
    return reject(EINVAL, "bpf_percpu_obj_new type ID argument must not contain special fields");
  return pointer("ptr_", { flags: FLAG.ALLOC | FLAG.PERCPU, btf, btfId: id });
}

function readOnlyCast(btf: Btf, { constant = 0n }: KfuncFacts): Result {
  const type = btf.type(Number(constant));
  if (type === undefined)
    return reject(EINVAL, `Unknown type ID ${constant} passed to kfunc bpf_rdonly_cast`);
  if (type.kind === "struct" || type.kind === "union")
    return pointer("ptr_", { flags: FLAG.UNTRUSTED, btf, btfId: Number(constant) });
  if (type.kind === "void") return pointer("mem", { flags: FLAG.RDONLY | FLAG.UNTRUSTED });
  return reject(EINVAL, "kfunc bpf_rdonly_cast type ID argument must be of a struct or void");
}

function plain(analysis: Analysis, kfunc: Kfunc, facts: KfuncFacts, target: number): Result {
  const { btf, name } = kfunc;
  const type = btf.type(target);
  // A pointer to anything is a number.
  if (type === undefined || type.kind === "void") return UNKNOWN;
  if (type.kind === "struct") {
    return pointer("ptr_", { flags: trustOf(analysis, kfunc, facts), btf, btfId: target });
  }
  const own = name === "bpf_session_cookie" ? 8 : facts.resultBytes;
  const size = own === 0 ? (btf.sizeOf(target) ?? 0) : own;
  if (size === 0) {
    return reject(
      EINVAL,
      `kernel function ${name} returns pointer type ${kindText(type)} ${nameOf(type)} is not supported`,
    );
  }
  const isReadOnly = own === 0 || facts.isResultReadOnly;
  const flags = isReadOnly ? FLAG.RDONLY : 0;
  // Not to be used behind the release of what it belongs to.
  return pointer("mem", { flags, memSize: size, refId: facts.refId });
}

/** What an iterator gives is good as long as the iterator is. */
function trustOf(analysis: Analysis, kfunc: Kfunc, facts: KfuncFacts): number {
  if (kfunc.name === "bpf_get_kmem_cache") return FLAG.UNTRUSTED;
  if (!has(kfunc, "iter_next") || facts.iterator === undefined) return 0;
  return iteratorAt(analysis, facts.iterator).has(FLAG.RCU) ? FLAG.RCU : FLAG.TRUSTED;
}
