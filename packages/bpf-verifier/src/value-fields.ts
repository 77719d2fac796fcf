/**
 * Special fields of a map's value or of an object of the program, found by the names and tags of its BTF type. Linux:
 * btf_parse_fields(), btf_parse_struct_metas().
 *
 * A type whose fields break a rule has none at all: the map is made, and what needs a field is refused.
 */
import type { Btf, BtfType } from "@alien-ts/btf";
import type { ValueField } from "./env.ts";
import { DESTRUCTIBLE } from "./linux/trusted-fields.ts";

type FieldKind = ValueField["kind"];

interface Special {
  readonly kind: FieldKind;
  readonly size: number;
  readonly align: number;
  /** Only one field of this kind may be in a structure. */
  readonly isSingle: boolean;
  /** Elements of an array may be of this kind. */
  readonly mayRepeat: boolean;
}

const special = (kind: FieldKind, size: number, align: number, more: Partial<Special> = {}): Special => ({
  kind,
  size,
  align,
  isSingle: false,
  mayRepeat: false,
  ...more,
});
const SINGLE = { isSingle: true };
const REPEATED = { mayRepeat: true };

const KINDS: Record<string, Special> = {
  bpf_spin_lock: special("spin_lock", 4, 4, SINGLE),
  bpf_res_spin_lock: special("res_spin_lock", 4, 4, SINGLE),
  bpf_timer: special("timer", 16, 8, SINGLE),
  bpf_wq: special("workqueue", 16, 8, SINGLE),
  bpf_task_work: special("task_work", 8, 8, SINGLE),
  bpf_list_head: special("list_head", 16, 8, REPEATED),
  bpf_list_node: special("list_node", 24, 8),
  bpf_rb_root: special("rb_root", 16, 8, REPEATED),
  bpf_rb_node: special("rb_node", 32, 8),
  bpf_refcount: special("refcount", 4, 4),
};
const KPTR = special("kptr", 8, 8, REPEATED);

const TAGS: Record<string, "untrusted" | "referenced" | "percpu" | "user"> = {
  kptr_untrusted: "untrusted",
  kptr: "referenced",
  percpu_kptr: "percpu",
  uptr: "user",
};

/** What may be in a map's value, and in an object. */
const IN_VALUES = new Set<FieldKind>([
  "spin_lock",
  "res_spin_lock",
  "timer",
  "workqueue",
  "task_work",
  "kptr",
  "list_head",
  "rb_root",
  "refcount",
]);
const IN_OBJECTS = new Set<FieldKind>([
  "spin_lock",
  "res_spin_lock",
  "list_head",
  "list_node",
  "rb_root",
  "rb_node",
  "refcount",
  "kptr",
]);

/** BTF_FIELDS_MAX */
const MAX_FIELDS = 11;
/** MAX_RESOLVE_DEPTH */
const MAX_DEPTH = 32;
const CONTAINS = "contains:";
const NONE: readonly ValueField[] = [];

const values = new WeakMap<Btf, Map<number, readonly ValueField[]>>();
const objects = new WeakMap<Btf, Map<number, readonly ValueField[]>>();

/**
 * Fields of a map's value of type `id`, in order of offset; none where one is not as it must be.
 * @param kernelBtf says which pointers are to the kernel's objects.
 */
export function valueFields(btf: Btf, id: number, kernelBtf?: Btf): readonly ValueField[] {
  return remembered(values, btf, id, () => parse({ btf, kernelBtf, kinds: IN_VALUES }, id));
}

/** Fields of an object of the program: of a structure that has one among its own members. */
export function objectFields(btf: Btf, id: number): readonly ValueField[] {
  return remembered(objects, btf, id, () =>
    hasObjectField(btf, id) ? parse({ btf, kernelBtf: undefined, kinds: IN_OBJECTS }, id) : NONE,
  );
}

const hasObjectField = (btf: Btf, id: number): boolean =>
  (btf.members(id) ?? []).some(({ type }) => isObjectField(btf, type));

function remembered(
  known: WeakMap<Btf, Map<number, readonly ValueField[]>>,
  btf: Btf,
  id: number,
  make: () => readonly ValueField[],
): readonly ValueField[] {
  let byType = known.get(btf);
  if (byType === undefined) known.set(btf, (byType = new Map()));
  let fields = byType.get(id);
  if (fields === undefined) byType.set(id, (fields = make()));
  return fields;
}

function isObjectField(btf: Btf, id: number): boolean {
  const type = btf.type(id);
  const kind = type?.kind === "struct" ? KINDS[type.name]?.kind : undefined;
  if (kind !== undefined) return IN_OBJECTS.has(kind);
  const pointer = attempt(() => kptrField({ btf, kernelBtf: undefined, kinds: IN_OBJECTS }, type, 0));
  return pointer !== undefined;
}

interface Search {
  readonly btf: Btf;
  readonly kernelBtf: Btf | undefined;
  readonly kinds: ReadonlySet<FieldKind>;
}

/** A member or variable: its type, where it is, and what has it. */
interface Place {
  readonly id: number;
  readonly offset: number;
  /** Of a variable: its size in the section. */
  readonly bytes?: number;
  readonly owner: number;
  readonly component: number;
}

/** A type whose fields are not as they must be. */
class Invalid extends Error {}

/** Undefined for what is not as it must be. */
function attempt<T>(make: () => T): T | undefined {
  try {
    return make();
  } catch (error) {
    if (error instanceof Invalid) return undefined;
    throw error;
  }
}

const parse = (search: Search, id: number): readonly ValueField[] =>
  attempt(() => checked(fieldsOfType(search, id, 0))) ?? NONE;

/** Linux: btf_parse_fields() */
function checked(fields: ValueField[]): readonly ValueField[] {
  let end = 0;
  for (const { offset, size } of fields) {
    if (offset < end) throw new Invalid("fields overlap");
    end = offset + size;
  }
  const has = (kind: FieldKind): boolean => fields.some((field) => field.kind === kind);
  if (has("spin_lock") && has("res_spin_lock")) throw new Invalid("two locks");
  const hasLock = has("spin_lock") || has("res_spin_lock");
  if ((has("list_head") || has("rb_root")) && !hasLock) throw new Invalid("no lock for a root");
  if (has("list_node") && has("rb_node") && !has("refcount")) throw new Invalid("two nodes, one owner");
  return fields.sort((a, b) => a.offset - b.offset);
}

function fieldsOfType(search: Search, id: number, depth: number): ValueField[] {
  const { btf } = search;
  const type = btf.type(id);
  const seen = new Set<FieldKind>();
  const found: ValueField[] = [];
  for (const place of placesOf(btf, id, type)) {
    found.push(...fieldsAt(search, place, seen, depth));
    if (found.length > MAX_FIELDS) throw new Invalid("too many fields");
  }
  return found;
}

function placesOf(btf: Btf, id: number, type: BtfType | undefined): readonly Place[] {
  if (type?.kind === "struct") {
    return type.members.map((member, component) => {
      if (member.bitOffset % 8 !== 0) throw new Invalid("a field of bits");
      return { id: member.type, offset: member.bitOffset / 8, owner: id, component };
    });
  }
  if (type?.kind !== "datasec") throw new Invalid("neither structure nor section");
  return type.vars.map(({ type: variable, offset, size }) => {
    const named = btf.type(variable);
    const inner = named?.kind === "var" ? named.type : 0;
    return { id: inner, offset, bytes: size, owner: variable, component: -1 };
  });
}

/** Linux: btf_find_field_one() */
function fieldsAt(search: Search, place: Place, seen: Set<FieldKind>, depth: number): ValueField[] {
  const { btf } = search;
  const { bytes, offset } = place;
  let { id } = place;
  let count = 1;
  let type = btf.type(id);
  for (; type?.kind === "array"; type = btf.type(id)) {
    count *= type.count;
    id = type.element;
  }
  if (count === 0 || type === undefined) return [];
  const rules = rulesOf(search, type, seen);
  if (rules === undefined) {
    if (type.kind !== "struct" || (bytes !== undefined && bytes !== type.size * count)) return [];
    return nestedFields(search, { id, offset, count, size: type.size }, depth + 1);
  }
  const isElsewhere = (bytes !== undefined && bytes !== rules.size * count) || offset % rules.align !== 0;
  const field = isElsewhere ? undefined : fieldOf(search, place, rules, type);
  return field === undefined ? [] : repeat([field], count, rules.size);
}

/** What a field by this name, or a pointer, has to be. */
function rulesOf({ kinds }: Search, type: BtfType, seen: Set<FieldKind>): Special | undefined {
  const rules = type.kind === "void" ? undefined : KINDS[type.name];
  if (rules === undefined || !kinds.has(rules.kind)) return type.kind === "struct" ? undefined : KPTR;
  if (rules.isSingle && seen.has(rules.kind)) throw new Invalid("only one is allowed");
  seen.add(rules.kind);
  return rules;
}

interface Elements {
  readonly id: number;
  readonly offset: number;
  readonly count: number;
  readonly size: number;
}

function nestedFields(search: Search, { id, offset, count, size }: Elements, depth: number): ValueField[] {
  if (depth >= MAX_DEPTH) throw new Invalid("nested too deep");
  const fields = fieldsOfType(search, id, depth).map((field) => ({
    ...field,
    offset: field.offset + offset,
  }));
  return fields.length === 0 ? fields : repeat(fields, count, size);
}

/** Linux: btf_repeat_fields() */
function repeat(fields: readonly ValueField[], count: number, size: number): ValueField[] {
  const mayRepeat = fields.every(({ kind }) => kind === "kptr" || kind === "list_head" || kind === "rb_root");
  if (count > 1 && !mayRepeat) throw new Invalid("only one is allowed");
  if (fields.length * count > MAX_FIELDS) throw new Invalid("too many fields");
  const found: ValueField[] = [];
  for (let i = 0; i < count; i++)
    found.push(...fields.map((field) => ({ ...field, offset: field.offset + i * size })));
  return found;
}

function fieldOf(search: Search, place: Place, rules: Special, type: BtfType): ValueField | undefined {
  const { kind, size } = rules;
  const { offset } = place;
  if (kind === "kptr") return kptrField(search, type, offset);
  if (type.kind !== "struct" || type.size !== size) return undefined;
  if (kind !== "list_head" && kind !== "rb_root") return { kind, offset, size };
  return { kind, offset, size, graph: graphOf(search, place, kind) };
}

/** What a list or tree contains: "type:member". Linux: btf_find_graph_root(), btf_parse_graph_root() */
function graphOf(
  { btf }: Search,
  { owner, component }: Place,
  kind: "list_head" | "rb_root",
): NonNullable<ValueField["graph"]> {
  const tags: string[] = [];
  for (const [, tag] of btf.types()) {
    const isTag = tag.kind === "decl_tag" && tag.type === owner && tag.component === component;
    if (isTag && tag.name.startsWith(CONTAINS)) tags.push(tag.name.slice(CONTAINS.length));
  }
  const [contained = ""] = tags;
  const colon = contained.indexOf(":");
  const type = btf.find(contained.slice(0, Math.max(colon, 0)), "struct");
  if (tags.length !== 1 || type === undefined) throw new Invalid("contains nothing that is known");
  const nodes = (btf.members(type) ?? []).filter(({ name }) => name === contained.slice(colon + 1));
  const [node] = nodes;
  const wanted = kind === "list_head" ? "bpf_list_node" : "bpf_rb_node";
  const nodeType = node === undefined ? undefined : btf.type(node.type);
  if (node === undefined || nodes.length > 1 || nodeType?.kind !== "struct" || nodeType.name !== wanted)
    throw new Invalid("contains no node");
  if (node.bitOffset % 64 !== 0) throw new Invalid("a node that is not aligned");
  if (!hasObjectField(btf, type)) throw new Invalid("contains no objects");
  return { btf, type, nodeOffset: node.bitOffset / 8 };
}

/** A pointer whose target has a type tag. Linux: btf_find_kptr(), btf_parse_kptr() */
function kptrField(search: Search, given: BtfType | undefined, offset: number): ValueField | undefined {
  const { btf, kernelBtf, kinds } = search;
  const type = given?.kind === "volatile" ? btf.type(given.type) : given;
  const tag = type?.kind === "ptr" ? btf.type(type.type) : undefined;
  if (tag?.kind !== "type_tag") return undefined;
  const word = TAGS[tag.name];
  if (btf.type(tag.type)?.kind === "type_tag" || word === undefined) throw new Invalid("a tag that is none");
  if (word === "user" && kinds !== IN_VALUES) return undefined;
  const id = btf.resolve(tag.type);
  const target = btf.type(id);
  if (target?.kind !== "struct" && !(target?.kind === "fwd" && !target.isUnion))
    throw new Invalid("no pointer to a structure");
  const isOfKernel = kernelBtf?.find(target.name, "struct") !== undefined;
  if (word === "referenced" && isOfKernel && !DESTRUCTIBLE.includes(target.name))
    throw new Invalid("nobody knows how to give it back");
  return { kind: "kptr", offset, size: 8, pointer: { tag: word, btf, type: id } };
}
