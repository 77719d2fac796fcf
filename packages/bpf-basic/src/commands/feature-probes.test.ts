/**
 * What loaders try to find out what a kernel has: Aya's feature probes, and the loads of `bpftool feature probe`. What is there
 * answers as Linux 6.18; what is missing is found missing.
 */
import { type BPF_MAP_TYPE, BPF_PROG_TYPE, EINVAL, isErr, type Result, utf8Decode } from "@alien-ts/abi";
import { asm, type Insn, program } from "@alien-ts/bpf-isa";
import { type Btf, type BtfType, parseBtf, writeBtf } from "@alien-ts/btf";
import { type HelperProbe, helperProbes } from "@alien-ts/testkit";
import { describe, expect, test } from "vitest";
import { helperById } from "../helpers/table.ts";
import { mapTypes } from "../maps/types.ts";
import { programTypeRow, programTypes } from "../programs/types.ts";
import { FakeKernel } from "../fake-kernel.ts";
import { ok, TestUser } from "../test-user.ts";

const RETURN_0 = program(asm.movImm(0, 0), asm.exit());
const LOG_BYTES = 1024;

interface Answer {
  readonly result: string;
  readonly log: string;
}

/** A load with a log of level 1, as helper probes are made. */
function load(user: TestUser, insns: readonly Insn[], prog_type: number): Answer {
  const log_buf = user.place(new Uint8Array(LOG_BYTES));
  const fd = user.load(insns, { prog_type, log_buf, log_size: LOG_BYTES, log_level: 1 });
  const bytes = Uint8Array.from(user.read(log_buf, LOG_BYTES));
  const log = utf8Decode(bytes.subarray(0, bytes.indexOf(0)));
  if (isErr(fd)) return { result: fd.name, log };
  user.kernel.close(fd);
  return { result: "ok", log };
}

const MISSING = ["invalid func ", "unknown func ", "program of this type cannot use helper "];
/** Aya's and libbpf's conclusion. */
const isFound = ({ log }: Answer): boolean => !MISSING.some((words) => log.includes(words));

const probes = helperProbes.filter(({ type }) => programTypeRow(type)?.supported === true);
const isImplemented = ({ id }: HelperProbe): boolean => helperById(id)?.row.supported === true;

test("each helper that is implemented is answered for as by Linux, in every program type", () => {
  const kernel = new FakeKernel();
  // What typed helpers give must be a type of the kernel.
  const task: BtfType = { kind: "struct", name: "task_struct", size: 8, members: [] };
  kernel.kernelBtf = () => parseBtf(writeBtf([task])) as Btf;
  const user = new TestUser(kernel);
  const rows = probes.filter(isImplemented);
  const answers = rows.map((row) => load(user, program(asm.call(row.id), asm.exit()), row.type).result);
  expect(rows.length).toBeGreaterThan(60);
  expect(answers).toEqual(rows.map(({ answer }) => answer));
});

test("no helper that is missing is found", () => {
  const user = new TestUser();
  for (const row of probes.filter((each) => !isImplemented(each))) {
    const answer = load(user, program(asm.call(row.id), asm.exit()), row.type);
    expect({ ...row, isFound: isFound(answer) }).toEqual({ ...row, isFound: false });
  }
});

test("every program type that is implemented loads the smallest program; every other is EINVAL", () => {
  const user = new TestUser();
  for (const [name, row] of Object.entries(programTypes)) {
    const prog_type = BPF_PROG_TYPE[name as keyof typeof programTypes];
    const fd = user.load(RETURN_0, { prog_type });
    // Programs of some types are for something that the loader must name.
    const loads = row.supported && row.context !== "typed";
    expect([name, isErr(fd) ? fd : "loads"]).toEqual([name, loads ? "loads" : EINVAL]);
  }
});

test("every map type that is implemented is made with the sizes of the probes; every other is EINVAL", () => {
  const user = new TestUser();
  const sizes: Partial<Record<string, readonly [number, number]>> = { QUEUE: [0, 1], STACK: [0, 1] };
  for (const [name, row] of Object.entries(mapTypes)) {
    const [key, value] = sizes[name] ?? [4, 4];
    const made = user.map(name as keyof typeof BPF_MAP_TYPE & keyof typeof mapTypes, key, value, 1);
    expect([name, isErr(made) ? made : "made"]).toEqual([name, row.supported ? "made" : EINVAL]);
  }
});

const INT: BtfType = {
  kind: "int",
  name: "int",
  size: 4,
  bits: 32,
  offset: 0,
  isSigned: true,
  isChar: false,
  isBool: false,
};
const VAR: BtfType = { kind: "var", name: "foo", type: 1, linkage: "static" };
const functions = (linkage: "static" | "global"): BtfType[] => [
  INT,
  {
    kind: "func_proto",
    name: "",
    type: 1,
    params: [
      { name: "a", type: 1 },
      { name: "b", type: 1 },
    ],
  },
  { kind: "func", name: "inc", type: 2, linkage },
];

describe("types", () => {
  test.each<[string, readonly BtfType[]]>([
    ["an integer", [INT]],
    ["a static function", functions("static")],
    ["a global function", functions("global")],
    [
      "a section",
      [INT, VAR, { kind: "datasec", name: ".data", size: 4, vars: [{ type: 2, offset: 0, size: 4 }] }],
    ],
    ["a float", [{ kind: "float", name: "float", size: 16 }]],
    ["a tag of a declaration", [INT, VAR, { kind: "decl_tag", name: "decl_tag", type: 2, component: -1 }]],
    ["a tag of a type", [INT, { kind: "type_tag", name: "ty", type: 1 }, { kind: "ptr", name: "", type: 2 }]],
    [
      "an enumeration of 64 bits",
      [{ kind: "enum64", name: "e", size: 8, isSigned: false, values: [{ name: "a", value: 0n }] }],
    ],
  ])("%s can be loaded", (_, types) => {
    const user = new TestUser();
    const btf = writeBtf(types);
    const fd = user.bpf("BTF_LOAD", { btf: user.place(btf), btf_size: btf.length });
    expect(isErr(fd)).toBe(false);
  });
});

const ARRAY_SIZES = [4, 32, 1] as const;

test.each<[string, (user: TestUser) => Result<number>]>([
  ["names", (u) => u.load(RETURN_0, { prog_type: BPF_PROG_TYPE.SOCKET_FILTER, prog_name: "aya_name_check" })],
  [
    "global data",
    (u) => {
      const map = ok(u.map("ARRAY", ...ARRAY_SIZES));
      const store = [asm.mapValue(1, map, 0), asm.storeImm(8, 1, 0, 42)];
      return u.load(program(...store, RETURN_0), { prog_type: BPF_PROG_TYPE.SOCKET_FILTER });
    },
  ],
  [
    "programs of more than 4096 instructions",
    (u) => {
      const body = Array.from({ length: 4096 }, () => asm.movImm(0, 1));
      return u.load(program(body, asm.exit()), { prog_type: BPF_PROG_TYPE.SOCKET_FILTER });
    },
  ],
  [
    "bounded loops",
    (u) => {
      const loop = [asm.movImm(0, 10), asm.aluImm("sub", 0, 1), asm.jumpImm("jne", 0, 0, -2)];
      return u.load(program(loop, asm.exit()), { prog_type: BPF_PROG_TYPE.SOCKET_FILTER });
    },
  ],
  [
    "instructions of version 2 and 3",
    (u) => {
      const jumps = [asm.movImm(0, 0), asm.jumpImm("jlt", 0, 1, 1), asm.jumpImm("jlt", 0, 1, 0, 32)];
      return u.load(program(jumps, RETURN_0), { prog_type: BPF_PROG_TYPE.SOCKET_FILTER });
    },
  ],
  [
    "the maps of a program, told",
    (u) => {
      const bpf_fd = ok(u.load(RETURN_0));
      const info = u.place(new Uint8Array(232));
      return u.bpf("OBJ_GET_INFO_BY_FD", { bpf_fd, info_len: 232, info });
    },
  ],
])("the probe for %s succeeds", (_, probe) => {
  expect(isErr(probe(new TestUser()))).toBe(false);
});

test("the probe for links of perf events finds none", () => {
  const user = new TestUser();
  const prog_fd = ok(user.load(RETURN_0, { prog_type: BPF_PROG_TYPE.TRACEPOINT }));
  expect(user.bpf("LINK_CREATE", { prog_fd, target_fd: 0xffff_ffff, attach_type: 41 })).toBe(EINVAL);
});
