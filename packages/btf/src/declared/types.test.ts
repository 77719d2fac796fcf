/** BTF made of declarations, as a reader of it sees it. */
import {
  abiStruct,
  anonymousStruct,
  anonymousUnion,
  array,
  bits,
  chars,
  Layout,
  named,
  nested,
  ptr,
  s32,
  struct,
  typedefStruct,
  u16,
  u32,
  userPtr,
} from "@alien-ts/abi";
import { describe, expect, test } from "vitest";
import { type Btf, parseBtf } from "../btf.ts";
import { formatDefinition } from "../format.ts";
import { checkBtf } from "../load/check.ts";
import { writeBtf } from "../write.ts";
import { DeclaredTypes } from "./types.ts";

const kuid_t = typedefStruct("kuid_t", { val: u32 });
const node = struct("node", {
  id: named("pid_t", s32),
  uid: nested(kuid_t),
  next: ptr("node", "rcu"),
  name: chars(16),
  owner: ptr("const struct node"),
  buffer: userPtr("char"),
  where: anonymousUnion({ whole: u32, parts: anonymousStruct({ low: u16, high: u16 }) }),
  isOne: bits(1),
  rest: bits(3),
  others: array(ptr("stranger"), 2),
});
const fixed = abiStruct("fixed", { a: s32, b: s32 });

function types(layout: Layout): DeclaredTypes {
  const made = new DeclaredTypes(layout);
  made.declare([node, fixed]);
  made.addEnum({ name: "small", values: [{ name: "SMALL", value: -1n }] });
  made.addEnum({ name: "large", values: [{ name: "LARGE", value: 1n << 40n }] });
  made.addFunction({
    name: "find_node",
    params: [
      ["from", { c: "const struct node *" }],
      ["flags", { c: "unsigned long" }],
    ],
    ret: { c: "struct node *" },
    tags: ["bpf_kfunc"],
  });
  made.addTracepoint("node_found", [{ c: "struct node *" }, { c: "bool" }]);
  const type = { c: "long" };
  made.addSection(".data..percpu", 8, [{ name: "count", type, linkage: "global", offset: 0, size: 8 }]);
  return made;
}

const parsed = (blob: Uint8Array): Btf => parseBtf(blob) as Btf;
const definition = (btf: Btf, name: string): string => formatDefinition(btf, btf.findAll(name)[0]!);

const LAYOUTS = [Layout.natural(), ...[1, 2, 3].map((seed) => Layout.shuffled(seed))];

describe.each(LAYOUTS.map((layout) => [layout.name, layout] as const))("%s", (_, layout) => {
  const blob = types(layout).build();
  const btf = parsed(blob);

  test("is BTF that the kernel accepts, and is written back as it is", () => {
    expect(checkBtf(blob, true).errno).toBeUndefined();
    expect(writeBtf([...btf.types()].slice(1).map(([, type]) => type))).toEqual(blob);
  });

  test("has members where the layout puts them", () => {
    const members = btf.members(btf.find("node", "struct")!)!;
    const names = ["id", "uid", "next", "name", "buffer", "others"];
    const offsets = names.map((name) => members.find((member) => member.name === name)?.bitOffset);
    expect(offsets).toEqual(names.map((name) => 8 * layout.offset(node, name)));
    const { bitOffset, bitSize } = members.find((member) => member.name === "rest")!;
    const { offset, bitOffset: shift = 0 } = layout.of(node).fields.get("rest")!;
    expect([bitOffset, bitSize]).toEqual([8 * offset + shift, 3]);
    expect(btf.sizeOf(btf.find("node", "struct")!)).toBe(layout.size(node));
    expect(definition(btf, "fixed")).toBe("struct fixed {\n\tint a;\n\tint b;\n};");
  });

  test("has as many bytes as any other, and the same each time", () => {
    expect(blob.length).toBe(types(Layout.natural()).build().length);
    expect(types(layout).build()).toEqual(blob);
  });
});

describe("in the natural layout", () => {
  const btf = parsed(types(Layout.natural()).build());

  test("a structure reads as it was declared", () => {
    expect(definition(btf, "node")).toMatchInlineSnapshot(`
      "struct node {
      	pid_t id;
      	kuid_t uid;
      	struct node *next;
      	char name[16];
      	const struct node *owner;
      	char *buffer;
      	union {
      		unsigned int whole;
      		struct {
      			u16 low;
      			u16 high;
      		};
      	};
      	unsigned int isOne: 1;
      	unsigned int rest: 3;
      	struct stranger *others[2];
      };"
    `);
  });

  test.each([
    ["next", "rcu"],
    ["buffer", "user"],
  ])("the pointer %s is tagged %s", (member, tag) => {
    const { type } = btf.members(btf.find("node", "struct")!)!.find(({ name }) => name === member)!;
    const pointer = btf.type(type);
    expect(pointer?.kind === "ptr" && btf.type(pointer.type)).toMatchObject({ kind: "type_tag", name: tag });
  });

  test("functions, tracepoints, variables and enumerations are found by name", () => {
    const func = btf.find("find_node", "func")!;
    expect(formatDefinition(btf, func)).toBe(
      "struct node *find_node(const struct node *from, long unsigned int flags);",
    );
    expect(btf.type(btf.find("bpf_kfunc", "decl_tag")!)).toMatchObject({ type: func, component: -1 });
    expect(definition(btf, "btf_trace_node_found")).toBe(
      "typedef void (*btf_trace_node_found)(void *, struct node *, bool);",
    );
    const count = btf.find("count", "var");
    expect(btf.type(btf.find(".data..percpu", "datasec")!)).toMatchObject({
      vars: [{ type: count, size: 8 }],
    });
    expect(btf.type(btf.find("small", "enum")!)).toMatchObject({ size: 4, isSigned: true });
    expect(btf.type(btf.find("large", "enum64")!)).toMatchObject({ size: 8, values: [{ value: 1n << 40n }] });
    expect(btf.type(btf.find("stranger", "fwd")!)).toMatchObject({ isUnion: false });
  });
});

test("a spelling that is none, and two structures of one name, are mistakes", () => {
  const made = new DeclaredTypes(Layout.natural());
  const spelled = (c: string) => (): number => made.addFunction({ name: "f", params: [], ret: { c } });
  expect(spelled("pid_t pid")).toThrow("'pid_t pid' is not the spelling of a type");
  expect(spelled("nobody_t")).toThrow("type nobody_t is not declared");
  expect(spelled("enum nobody")).toThrow("enum nobody is not declared");
  made.declare([node]);
  expect(() => made.declare([struct("node", { a: s32 })])).toThrow("two structures are called node");
});
