/**
 * Special fields of a map's value, found by the names and tags of its BTF type. Linux: btf_parse_fields().
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

/** Fields of the type `id`, through structures and arrays, in order of offset. */
export function valueFields(btf: Btf, id: number): ValueField[] {
  const fields: ValueField[] = [];
  collect(btf, id, 0, fields, 0);
  return fields.sort((a, b) => a.offset - b.offset);
}

function collect(btf: Btf, id: number, offset: number, into: ValueField[], depth: number): void {
  if (depth > 8 || into.length > MAX_FIELDS) return;
  const kptr = kptrField(btf, id, offset);
  if (kptr !== undefined) {
    into.push(kptr);
    return;
  }
  const type = btf.type(btf.resolve(id));
  if (type === undefined) return;
  const known = KINDS[type.name];
  if (type.kind === "struct" && known !== undefined) {
    into.push({ kind: known.kind, offset, size: known.size });
    return;
  }
  if (type.kind === "struct") {
    for (const member of type.members)
      collect(btf, member.type, offset + Math.floor(member.bitOffset / 8), into, depth + 1);
  } else if (type.kind === "datasec") {
    for (const entry of type.vars) {
      const variable = btf.type(entry.type);
      if (variable?.kind === "var") collect(btf, variable.type, offset + entry.offset, into, depth + 1);
    }
  } else if (type.kind === "array") {
    const bytes = btf.sizeOf(type.element) ?? 0;
    for (let i = 0; i < Math.min(type.count, MAX_FIELDS); i++)
      collect(btf, type.element, offset + i * bytes, into, depth + 1);
  }
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
