/** From the BTF id in a load's `attach_btf_id` to what the program is attached to. Linux: bpf_check_attach_target(). */
import type { Btf, BtfType } from "@alien-ts/btf";
import type { AttachTarget } from "../env.ts";

const STRUCT_OPS = 27;
export const PROBE_PREFIX = "btf_trace_";
/** The functions that run a tracepoint's programs have their parameters' names, which the types of tracepoints lack. */
const TEMPLATE_PREFIX = "__bpf_trace_";

/** Types of programs that are attached by BTF id: tracing, struct_ops, ext, lsm. */
const ATTACHED_BY_ID: readonly number[] = [26, STRUCT_OPS, 28, 29];

export const isAttachedById = (type: number): boolean => ATTACHED_BY_ID.includes(type);

/**
 * What a program of this type is attached to by id `id` of `btf`. The id need not be one that the type can be attached to, or one
 * at all: the verifier says so.
 */
export function attachTarget(
  btf: Btf,
  { type, attachType }: { readonly type: number; readonly attachType: number },
  id: number,
): AttachTarget {
  const named = btf.type(id);
  const name = named === undefined || named.kind === "void" ? "" : named.name;
  if (type === STRUCT_OPS) return operation(btf, id, name, attachType);
  return { id, name, prototype: prototypeOf(btf, named) };
}

function operation(btf: Btf, id: number, structure: string, index: number): AttachTarget {
  const member = btf.members(id)?.[index];
  const pointer = btf.type(btf.resolve(member?.type ?? 0));
  const target = pointer?.kind === "ptr" ? pointer.type : 0;
  const prototype = btf.type(target)?.kind === "func_proto" ? target : 0;
  return { id, name: member?.name ?? "", prototype, structure };
}

function prototypeOf(btf: Btf, type: BtfType | undefined): number {
  if (type?.kind === "func") return type.type;
  if (type?.kind !== "typedef" || !type.name.startsWith(PROBE_PREFIX)) return 0;
  const template = btf.find(TEMPLATE_PREFIX + type.name.slice(PROBE_PREFIX.length), "func");
  const func = template === undefined ? undefined : btf.type(template);
  if (func?.kind === "func") return func.type;
  const pointer = btf.type(btf.resolve(type.type));
  return pointer?.kind === "ptr" ? pointer.type : 0;
}
