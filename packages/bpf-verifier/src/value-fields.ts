/**
 * Special fields of a map's value or of an object of the program, found by the names and tags of its BTF type. Linux:
 * btf_parse_fields(), btf_find_graph_root().
 */
import type { Btf } from "@alien-ts/btf";
import type { ValueField } from "./env.ts";

const KINDS: Record<string, { readonly kind: ValueField["kind"]; readonly size: number }> = {
  bpf_spin_lock: { kind: "spin_lock", size: 4 },
  bpf_res_spin_lock: { kind: "res_spin_lock", size: 4 },
  bpf_timer: { kind: "timer", size: 16 },
  bpf_wq: { kind: "workqueue", size: 16 },
  bpf_task_work: { kind: "task_work", size: 8 },
  bpf_list_head: { kind: "list_head", size: 16 },
  bpf_list_node: { kind: "list_node", size: 24 },
  bpf_rb_root: { kind: "rb_root", size: 16 },
  bpf_rb_node: { kind: "rb_node", size: 32 },
  bpf_refcount: { kind: "refcount", size: 4 },
};

const TAGS: Record<string, "untrusted" | "referenced" | "percpu"> = {
  kptr_untrusted: "untrusted",
  kptr: "referenced",
  percpu_kptr: "percpu",
};

const MAX_FIELDS = 64;
const CONTAINS = "contains:";

const known = new WeakMap<Btf, Map<number, readonly ValueField[]>>();

/** Fields of the type `id`, through structures and arrays, in order of offset. */
export function valueFields(btf: Btf, id: number): readonly ValueField[] {
  let byType = known.get(btf);
  if (byType === undefined) known.set(btf, (byType = new Map()));
  let fields = byType.get(id);
  if (fields === undefined) {
    const found: ValueField[] = [];
    collect({ btf, found, contains: containsTags(btf) }, { id, offset: 0, owner: 0, component: -1 }, 0);
    fields = found.sort((a, b) => a.offset - b.offset);
    byType.set(id, fields);
  }
  return fields;
}

interface Search {
  readonly btf: Btf;
  readonly found: ValueField[];
  readonly contains: ReadonlyMap<string, string>;
}

/** A type at an offset: member `component` of `owner`, or a variable. */
interface Place {
  readonly id: number;
  readonly offset: number;
  readonly owner: number;
  readonly component: number;
}

/** The `contains:` tags of members and variables, by "type/component". */
function containsTags(btf: Btf): ReadonlyMap<string, string> {
  const tags = new Map<string, string>();
  for (const [, type] of btf.types()) {
    if (type.kind === "decl_tag" && type.name.startsWith(CONTAINS))
      tags.set(`${type.type}/${type.component}`, type.name.slice(CONTAINS.length));
  }
  return tags;
}

function collect(search: Search, place: Place, depth: number): void {
  const { btf, found } = search;
  const { id, offset } = place;
  if (depth > 8 || found.length > MAX_FIELDS) return;
  const kptr = kptrField(btf, id, offset);
  if (kptr !== undefined) {
    found.push(kptr);
    return;
  }
  const resolved = btf.resolve(id);
  const type = btf.type(resolved);
  if (type === undefined) return;
  const special = KINDS[type.name];
  if (type.kind === "struct" && special !== undefined) {
    const graph = graphOf(search, place, special.kind);
    found.push({ kind: special.kind, offset, size: special.size, ...(graph === undefined ? {} : { graph }) });
    return;
  }
  if (type.kind === "struct") {
    for (const [component, member] of type.members.entries()) {
      const at = offset + Math.floor(member.bitOffset / 8);
      collect(search, { id: member.type, offset: at, owner: resolved, component }, depth + 1);
    }
  } else if (type.kind === "datasec") {
    for (const entry of type.vars) {
      const variable = btf.type(entry.type);
      if (variable?.kind !== "var") continue;
      const inner = { id: variable.type, offset: offset + entry.offset, owner: entry.type, component: -1 };
      collect(search, inner, depth + 1);
    }
  } else if (type.kind === "array") {
    const bytes = btf.sizeOf(type.element) ?? 0;
    for (let i = 0; i < Math.min(type.count, MAX_FIELDS); i++)
      collect(search, { ...place, id: type.element, offset: offset + i * bytes }, depth + 1);
  }
}

/** What a list or tree contains: "type:member". */
function graphOf(
  { btf, contains }: Search,
  { owner, component }: Place,
  kind: ValueField["kind"],
): ValueField["graph"] {
  if (kind !== "list_head" && kind !== "rb_root") return undefined;
  const [name = "", node = ""] = contains.get(`${owner}/${component}`)?.split(":") ?? [];
  const type = btf.find(name, "struct");
  const member = type === undefined ? undefined : btf.members(type)?.find((entry) => entry.name === node);
  if (type === undefined || member === undefined) return undefined;
  return { btf, type, nodeOffset: member.bitOffset / 8 };
}

/** A pointer whose target has a type tag. */
function kptrField(btf: Btf, id: number, offset: number): ValueField | undefined {
  let at = id;
  let type = btf.type(at);
  while (
    type !== undefined &&
    (type.kind === "const" || type.kind === "volatile" || type.kind === "typedef")
  ) {
    at = type.type;
    type = btf.type(at);
  }
  if (type?.kind !== "ptr") return undefined;
  const tag = btf.type(type.type);
  const word = tag?.kind === "type_tag" ? TAGS[tag.name] : undefined;
  if (word === undefined || tag?.kind !== "type_tag") return undefined;
  return { kind: "kptr", offset, size: 8, pointer: { tag: word, btf, type: btf.resolve(tag.type) } };
}
