/**
 * Lists and trees of the program's objects: roots, nodes, and what becomes of the ownership of a node that is put in. Linux:
 * __process_kf_arg_ptr_to_graph_root(), __process_kf_arg_ptr_to_graph_node(), ref_convert_owning_non_owning().
 */
import { EINVAL } from "@alien-ts/abi";
import { structsMatch } from "../../access/struct-walk.ts";
import { assert } from "../../assert.ts";
import type { Analysis } from "../../analysis.ts";
import type { ValueField } from "../../env.ts";
import { fieldsOf, isOwn } from "../../state/fields.ts";
import { FLAG, pointer } from "../../state/register.ts";
import type { Register } from "../../state/register.ts";
import { objectFields } from "../../value-fields.ts";
import { reject } from "../../verdict.ts";
import type { Check } from "../../verdict.ts";
import { isLocked } from "../locks.ts";
import { isInLess } from "./facts.ts";
import type { Kfunc } from "./facts.ts";
import type { Parameter } from "./roles.ts";

const ROOTS = { list: "list_head", tree: "rb_root" } as const;
const NODES = { "list node": "list_node", "tree node": "rb_node" } as const;

export function checkRoot(
  analysis: Analysis,
  _kfunc: Kfunc,
  register: Register,
  { role, index, facts }: Parameter,
): Check {
  const kind = ROOTS[role as keyof typeof ROOTS];
  const isValue = register.kind === "map_value" && register.flags === 0;
  if (!isValue && !isOwn(register))
    return reject(EINVAL, `arg#${index} expected pointer to map value or allocated object`);
  const name = `bpf_${kind}`;
  const field = fieldAt(register, index, kind);
  if (!("kind" in field)) return field;
  const { state } = analysis;
  if (!isLocked(state, register)) {
    const lock = fieldsOf(register).find((candidate) => candidate.kind === "spin_lock");
    const before = state.activeLocks > 0 ? "held lock and object are not in the same allocation\n" : "";
    return reject(EINVAL, `${before}bpf_spin_lock at off=${lock?.offset ?? -22} must be held for ${name}`);
  }
  if (role === "list") facts.list = field;
  else facts.tree = field;
  return undefined;
}

/** The field that the register points to. */
function fieldAt(
  register: Register,
  index: number,
  kind: ValueField["kind"],
): ValueField | NonNullable<Check> {
  const name = `bpf_${kind}`;
  if (!register.scalar.isConst) {
    return reject(
      EINVAL,
      `R${index + 1} doesn't have constant offset. ${name} has to be at the constant offset`,
    );
  }
  const at = register.off + Number(register.scalar.constant);
  const field = fieldsOf(register).find((candidate) => candidate.kind === kind && candidate.offset === at);
  return field ?? reject(EINVAL, `${name} not found at offset=${at >>> 0}`);
}

export function checkNode(
  analysis: Analysis,
  { name }: Kfunc,
  register: Register,
  { role, index, facts }: Parameter,
): Check {
  const kind = NODES[role as keyof typeof NODES];
  const isInserted = role === "list node" || name === "bpf_rbtree_add_impl";
  if (isInserted) {
    if (!isOwn(register)) return reject(EINVAL, `arg#${index} expected pointer to allocated object`);
  } else {
    if (!register.has(FLAG.NON_OWN_REF) && register.refId === 0)
      return reject(EINVAL, `${name} can only take non-owning or refcounted bpf_rb_node pointer`);
    if (isInLess(analysis)) return reject(EINVAL, `${name} not allowed in rbtree cb`);
  }
  const field = fieldAt(register, index, kind);
  if (!("kind" in field)) return field;
  const root = role === "list node" ? facts.list : facts.tree;
  const graph = root?.graph;
  assert(root !== undefined && graph !== undefined, "roots stand before nodes, and are of something");
  const at = field.offset;
  const wanted = graph.btf.type(graph.type)?.name ?? "";
  const given = { btf: register.btf, id: register.btfId };
  if (!structsMatch(given, 0, { btf: graph.btf, id: graph.type }, true, analysis.log)) {
    return reject(
      EINVAL,
      `operation on bpf_${root.kind} expects arg#1 bpf_${kind} at offset=${graph.nodeOffset} ` +
        `in struct ${wanted}, but arg is at offset=${at} in struct ${register.btf?.type(register.btfId)?.name ?? ""}`,
    );
  }
  facts.object = { btf: register.btf!, id: register.btfId };
  if (at === graph.nodeOffset) return undefined;
  return reject(
    EINVAL,
    `arg#1 offset=${at}, but expected bpf_${kind} at offset=${graph.nodeOffset} in struct ${wanted}`,
  );
}

/** A node of a list or tree, by its root. Linux: mark_reg_graph_node() */
export function graphNode({ graph }: ValueField): Register {
  assert(graph !== undefined, "roots are of something");
  return pointer("ptr_", {
    flags: FLAG.ALLOC,
    btf: graph.btf,
    btfId: graph.type,
    off: graph.nodeOffset,
  });
}

/** The pointer of somebody who does not own what it points to. Linux: ref_set_non_owning() */
export function notOwning(register: Register): Register {
  const isCounted =
    register.btf !== undefined &&
    objectFields(register.btf, register.btfId).some(({ kind }) => kind === "refcount");
  return register.with({ flags: register.flags | FLAG.NON_OWN_REF | (isCounted ? FLAG.RCU : 0) });
}

/** The node in r2 belongs to the list or tree now; pointers to it remain good as long as the lock is held. */
export function giveAway(analysis: Analysis, refId: number): void {
  const { state } = analysis;
  state.replaceAll((register) =>
    register.refId === refId && register.kind === "ptr_" ? notOwning(register.with({ refId: 0 })) : register,
  );
  state.references = state.references.filter(({ id, kind }) => !(id === refId && kind === "object"));
}
