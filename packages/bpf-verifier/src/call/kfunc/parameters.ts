/**
 * What a parameter of a kernel function is, from its type and the suffix of its name. Linux: get_kfunc_ptr_arg_type().
 */
import { EINVAL } from "@alien-ts/abi";
import { BTF_KIND_NAMES, BTF_KIND } from "@alien-ts/btf";
import type { Btf, BtfParam, BtfType } from "@alien-ts/btf";
import type { Analysis } from "../../analysis.ts";
import { isContextType } from "../../linux/kernel-contexts.ts";
import { isConvertible } from "../../state/fields.ts";
import { reject } from "../../verdict.ts";
import type { Reject } from "../../verdict.ts";
import { has } from "./facts.ts";
import type { Kfunc } from "./facts.ts";

export type ParameterRole =
  | "ctx"
  | "null"
  | "own object"
  | "counted object"
  | "dynptr"
  | "iterator"
  | "list"
  | "list node"
  | "tree"
  | "tree node"
  | "string"
  | "map"
  | "workqueue"
  | "task work"
  | "irq flag"
  | "lock"
  | "btf"
  | "callback"
  | "memory"
  | "sized memory";

export const hasSuffix = ({ name }: BtfParam, suffix: string): boolean =>
  name.length > suffix.length && name.endsWith(suffix);

/** Through modifiers. */
export const typeOf = (btf: Btf, id: number): BtfType | undefined => btf.type(btf.resolve(id));

/** Linux: btf_type_str() */
export function kindText(type: BtfType | undefined): string {
  const kind = type?.kind ?? "void";
  return kind === "void" ? "UNKNOWN" : (BTF_KIND_NAMES[BTF_KIND[kind]] ?? "UNKNOWN");
}

export const isScalarType = (type: BtfType | undefined): boolean =>
  type?.kind === "int" || type?.kind === "enum" || type?.kind === "enum64";

const isComposite = (type: BtfType | undefined): boolean => type?.kind === "struct" || type?.kind === "union";

/** A structure of numbers, of which some may be structures of numbers. Linux: __btf_type_is_scalar_struct() */
export function isScalarStruct(analysis: Analysis, btf: Btf, type: BtfType | undefined, depth = 0): boolean {
  if (type?.kind !== "struct" && type?.kind !== "union") return false;
  for (const member of type.members) {
    const inner = typeOf(btf, member.type);
    if (isComposite(inner)) {
      if (depth >= 3) {
        analysis.log.line("max struct nesting depth exceeded");
        return false;
      }
      if (!isScalarStruct(analysis, btf, inner, depth + 1)) return false;
    } else if (inner?.kind === "array") {
      if (inner.count === 0 || !isScalarType(typeOf(btf, inner.element))) return false;
    } else if (!isScalarType(inner)) return false;
  }
  return true;
}

/** Parameters that are pointers to these structures. */
const BY_STRUCTURE: Record<string, ParameterRole> = {
  bpf_dynptr: "dynptr",
  bpf_list_head: "list",
  bpf_list_node: "list node",
  bpf_rb_root: "tree",
  bpf_rb_node: "tree node",
  bpf_wq: "workqueue",
  bpf_task_work: "task work",
  bpf_res_spin_lock: "lock",
};
/** In this order names and structures are looked at. */
const BEFORE_NAMES: readonly ParameterRole[] = ["dynptr"];

const CONTEXT_FUNCTIONS: readonly string[] = [
  "bpf_cast_to_kern_ctx",
  "bpf_session_is_return",
  "bpf_session_cookie",
];

/** Whether the next argument is the size of the memory that argument `index` points to. */
export function isSized(analysis: Analysis, { btf, prototype }: Kfunc, index: number): boolean {
  const size = prototype.params[index + 1];
  if (size === undefined || !isScalarType(typeOf(btf, size.type))) return false;
  return analysis.register(index + 2).isScalar && (hasSuffix(size, "__sz") || hasSuffix(size, "__szk"));
}

export function roleOf(analysis: Analysis, kfunc: Kfunc, index: number): ParameterRole | Reject {
  const { btf, prototype, name } = kfunc;
  const param = prototype.params[index]!;
  const type = typeOf(btf, param.type);
  const target = type?.kind === "ptr" ? typeOf(btf, type.type) : undefined;
  const register = analysis.register(index + 1);
  if (CONTEXT_FUNCTIONS.includes(name)) return "ctx";
  const isSizedMemory = isSized(analysis, kfunc, index);
  const isContext = type?.kind === "ptr" && isContextType(analysis.env, btf, type.type);
  if (isContext) return "ctx";
  if (hasSuffix(param, "__nullable") && register.isNull && !isSizedMemory) return "null";
  const named = namedRole(kfunc, param, index, target);
  if (named !== undefined) return named;
  if (register.kind === "ptr_" || isConvertible(register)) {
    if (isComposite(target)) return "btf";
    return reject(
      EINVAL,
      `kernel function ${name} args#${index} pointer type ${kindText(target)} ${nameOf(target)} is not supported`,
    );
  }
  if (target?.kind === "func_proto") return "callback";
  const isMemory = isScalarType(target) || isScalarStruct(analysis, btf, target);
  if (!isMemory && !(isSizedMemory && (target === undefined || target.kind === "void"))) {
    const or = isSizedMemory ? "void, " : "";
    return reject(
      EINVAL,
      `arg#${index} pointer type ${kindText(target)} ${nameOf(target)} must point to ${or}scalar, or struct with scalar`,
    );
  }
  return isSizedMemory ? "sized memory" : "memory";
}

/** The name of a type; nothing for `void`, which has none. */
export const nameOf = (type: BtfType | undefined): string =>
  type === undefined || type.kind === "void" ? "" : type.name;

function namedRole(
  kfunc: Kfunc,
  param: BtfParam,
  index: number,
  target: BtfType | undefined,
): ParameterRole | undefined {
  if (hasSuffix(param, "__alloc")) return "own object";
  if (hasSuffix(param, "__refcounted_kptr")) return "counted object";
  const structure = target?.kind === "struct" ? BY_STRUCTURE[target.name] : undefined;
  if (structure !== undefined && BEFORE_NAMES.includes(structure)) return structure;
  const isIterator = has(kfunc, "iter_new") || has(kfunc, "iter_next") || has(kfunc, "iter_destroy");
  if (isIterator ? index === 0 : hasSuffix(param, "__iter")) return "iterator";
  if (structure !== undefined) return structure;
  if (hasSuffix(param, "__str")) return "string";
  if (hasSuffix(param, "__map")) return "map";
  return hasSuffix(param, "__irq_flag") ? "irq flag" : undefined;
}
