/** Which special fields a map's value has; a type that breaks a rule has none. */
import { expect, test } from "vitest";
import { declare } from "../test/declare.ts";
import { objectFields, valueFields } from "./value-fields.ts";

const KERNEL = declare("struct task_struct { int pid; }; struct sock { int state; };");
const TYPES = `
  struct bpf_spin_lock { u32 val; }; struct bpf_timer { u64 opaque[2]; }; struct bpf_refcount { u32 val; };
  struct bpf_list_head { u64 opaque[2]; }; struct bpf_list_node { u64 opaque[3]; };
  struct bpf_rb_root { u64 opaque[2]; }; struct bpf_rb_node { u64 opaque[4]; };
  struct task_struct { int pid; }; struct sock { int state; }; struct own { u64 key; };
  struct node { u64 key; struct bpf_list_node link; };
  struct plain { u64 key; };
  struct slot { u64 key; struct task_struct *__tag(kptr) task; };
`;

/** "kind@offset" of each field of the structure `value`. */
function fieldsOf(declaration: string, isObject = false): string {
  const btf = declare(`${TYPES} ${declaration}`);
  const id = btf.find("value", "struct")!;
  const fields = isObject ? objectFields(btf, id) : valueFields(btf, id, KERNEL);
  return fields.map(({ kind, offset, pointer }) => `${pointer?.tag ?? kind}@${offset}`).join(" ");
}

test.each([
  ["struct value { u64 a; struct bpf_spin_lock l; };", "spin_lock@8"],
  ["struct value { struct bpf_timer t; struct bpf_spin_lock l; };", "timer@0 spin_lock@16"],
  ["struct value { struct slot all[3]; };", "referenced@8 referenced@24 referenced@40"],
  [
    "struct value { struct own *__tag(kptr) a[2]; u64 b; struct own *__tag(kptr_untrusted) c; };",
    "referenced@0 referenced@8 untrusted@24",
  ],
  ["struct inner { struct slot s; }; struct value { u64 a; struct inner i; };", "referenced@16"],
  ["struct value { struct own *__tag(uptr) a; };", "user@0"],
  [
    "struct value { struct bpf_spin_lock l; struct bpf_list_head h __contains(node, link); };",
    "spin_lock@0 list_head@8",
  ],
  ["struct value { u64 a; struct bpf_list_node n; };", ""],
])("%s", (declaration, fields) => {
  expect(fieldsOf(declaration)).toBe(fields);
});

test.each([
  ["two locks", "struct value { struct bpf_spin_lock a; struct bpf_spin_lock b; struct bpf_timer t; };"],
  ["an array of locks", "struct value { struct bpf_spin_lock a[2]; };"],
  ["more than 11 fields", "struct value { struct slot all[12]; };"],
  ["a tag that is none", "struct value { struct own *__tag(kptr) a; u64 *__tag(user) b; };"],
  ["a pointer to no structure", "struct value { u64 *__tag(kptr) a; };"],
  ["a kernel's object that nobody can give back", "struct value { struct sock *__tag(kptr) a; };"],
  ["a list without lock", "struct value { struct bpf_list_head h __contains(node, link); };"],
  ["a list of nothing", "struct value { struct bpf_spin_lock l; struct bpf_list_head h; };"],
  [
    "a list of what is no node",
    "struct value { struct bpf_spin_lock l; struct bpf_list_head h __contains(node, key); };",
  ],
  [
    "a tree of nodes of lists",
    "struct value { struct bpf_spin_lock l; struct bpf_rb_root r __contains(node, link); };",
  ],
])("%s: no fields at all", (_, declaration) => {
  expect(fieldsOf(declaration)).toBe("");
});

test("a pointer that is not owned may be to any object of the kernel", () => {
  expect(fieldsOf("struct value { struct sock *__tag(kptr_untrusted) a; };")).toBe("untrusted@0");
});

test("objects have nodes, and fields only where one is among their own members", () => {
  const both = "struct bpf_list_node l; struct bpf_rb_node r;";
  expect(fieldsOf(`struct value { ${both} struct bpf_refcount c; };`, true)).toBe(
    "list_node@0 rb_node@24 refcount@56",
  );
  expect(fieldsOf(`struct value { ${both} };`, true)).toBe("");
  expect(fieldsOf("struct value { struct slot s; };", true)).toBe("");
});
