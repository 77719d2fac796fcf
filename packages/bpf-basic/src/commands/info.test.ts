/** BTF_LOAD, OBJ_GET_INFO_BY_FD and ids: what a loader learns of what it loaded. */
import {
  bpf_btf_info,
  bpf_map_info,
  bpf_prog_info,
  E2BIG,
  EBADF,
  EBADFD,
  EFAULT,
  EINVAL,
  EOPNOTSUPP,
  ENOENT,
  ENOSPC,
  ENOTSUPP,
  EPERM,
  type Result,
  type StructDecl,
  type UAddr,
  utf8Decode,
} from "@alien-ts/abi";
import { asm, decode, type Insn, program, PSEUDO } from "@alien-ts/bpf-isa";
import { type Btf, type BtfType, parseBtf, writeBtf } from "@alien-ts/btf";
import { describe, expect, test } from "vitest";
import { FakeKernel } from "../fake-kernel.ts";
import { le, ok, TestUser } from "../test-user.ts";

type Fields = Readonly<Record<string, number>>;

/** A structure in user memory, and its fields after the call. */
function infoOf(user: TestUser, decl: StructDecl, fd: number, fields: Fields = {}) {
  const { layout } = user.kernel;
  const size = layout.size(decl);
  const bytes = new DataView(new ArrayBuffer(size));
  for (const [name, value] of Object.entries(fields)) bytes.setUint32(layout.offset(decl, name), value, true);
  const info = user.place(new Uint8Array(bytes.buffer));
  const result = user.bpf("OBJ_GET_INFO_BY_FD", { bpf_fd: fd, info_len: size, info });
  return {
    result,
    length: user.u32(user.lastAttr + 4),
    u32: (name: string): number => user.u32(info + layout.offset(decl, name)),
    bytes: (name: string, length: number): number[] => user.read(info + layout.offset(decl, name), length),
  };
}

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
const struct = (name: string, size: number): BtfType => ({
  kind: "struct",
  name,
  size,
  members: [{ name: "val", type: 1, bitOffset: 0, bitSize: 0 }],
});

function loadBtf(user: TestUser, types: readonly BtfType[]): Result<number> {
  const btf = writeBtf(types);
  return user.bpf("BTF_LOAD", { btf: user.place(btf), btf_size: btf.length });
}

describe("a program", () => {
  /** r1 = map; r0 = 0; a branch that is always taken; exit. */
  const insns = (map: number): Insn[] =>
    program(
      asm.mapFd(1, map),
      asm.mapValue(2, map, 8),
      asm.movImm(0, 0),
      asm.jumpImm("jeq", 0, 0, 1),
      asm.movImm(0, 1),
      asm.exit(),
    );

  const loaded = (): { user: TestUser; map: number; fd: number; records: Fields } => {
    const user = new TestUser();
    const map = ok(user.map("ARRAY", 4, 16, 1));
    const btf = writeBtf([
      INT,
      { kind: "func_proto", name: "", type: 1, params: [] },
      { kind: "func", name: "f", type: 2, linkage: "static" },
    ]);
    const prog_btf_fd = ok(user.bpf("BTF_LOAD", { btf: user.place(btf), btf_size: btf.length }));
    // Lines of the first load, of the branch, of the dead instruction.
    const lines = [0, 5, 6].flatMap((insn, i) => [...le(insn), ...le(1), ...le(1), ...le((10 + i) << 10)]);
    const records = {
      prog_btf_fd,
      func_info: user.place([...le(0), ...le(3)]),
      func_info_cnt: 1,
      func_info_rec_size: 8,
      line_info: user.place(lines),
      line_info_cnt: 3,
      line_info_rec_size: 16,
    };
    return { user, map, fd: ok(user.load(insns(map), { ...records, prog_name: "demo" })), records };
  };

  test("tells its name, tag, maps, and how much code there is", () => {
    const { user, fd } = loaded();
    const map_ids = user.place(le(0));
    const info = infoOf(user, bpf_prog_info, fd, { map_ids, nr_map_ids: 1 });
    expect([info.result, info.length]).toEqual([0, 232]);
    expect([info.u32("type"), info.u32("id"), info.u32("nr_map_ids"), user.u32(map_ids)]).toEqual([
      2, 1, 1, 1,
    ]);
    expect(utf8Decode(Uint8Array.from(info.bytes("name", 4)))).toBe("demo");
    expect(info.u32("gpl_compatible")).toBe(1);
    expect(info.u32("xlated_prog_len")).toBe(8 * 6);
    expect(info.u32("jited_prog_len")).toBeGreaterThan(40);
    const { tag } = user.programAt(fd);
    expect(
      info
        .bytes("tag", 8)
        .map((byte) => byte.toString(16).padStart(2, "0"))
        .join(""),
    ).toBe(tag);
  });

  test("gives its instructions without what was dead, with maps by their ids", () => {
    const { user, fd } = loaded();
    const xlated_prog_insns = user.place(new Uint8Array(48));
    infoOf(user, bpf_prog_info, fd, { xlated_prog_insns, xlated_prog_len: 48 });
    expect(decode(Uint8Array.from(user.read(xlated_prog_insns, 48)))).toEqual(
      program(
        asm.wide(1, 1, 0).map((insn, i) => (i === 0 ? { ...insn, src: PSEUDO.MAP_FD } : insn)),
        asm.wide(2, 1, 8).map((insn, i) => (i === 0 ? { ...insn, src: PSEUDO.MAP_VALUE } : insn)),
        asm.movImm(0, 0),
        asm.exit(),
      ),
    );
  });

  test("gives its functions and lines, where they are now", () => {
    const { user, fd } = loaded();
    const line_info = user.place(new Uint8Array(48));
    const func_info = user.place(new Uint8Array(8));
    const info = infoOf(user, bpf_prog_info, fd, {
      line_info,
      nr_line_info: 3,
      line_info_rec_size: 16,
      func_info,
      nr_func_info: 1,
      func_info_rec_size: 8,
    });
    expect([info.u32("nr_line_info"), info.u32("nr_func_info"), info.u32("btf_id")]).toEqual([2, 1, 1]);
    // The record of what was removed goes to what follows it.
    const at = (i: number): number[] => [
      user.u32(line_info + 16 * i),
      user.u32(line_info + 16 * i + 12) >>> 10,
    ];
    expect([at(0), at(1)]).toEqual([
      [0, 10],
      [5, 12],
    ]);
    expect([user.u32(func_info), user.u32(func_info + 4)]).toEqual([0, 3]);
  });

  test.each<[string, Fields, Result<number>]>([
    ["records of another size", { nr_line_info: 1, line_info_rec_size: 8 }, EINVAL],
    ["a bad address for its maps", { nr_map_ids: 1, map_ids: 8 }, EFAULT],
    ["a bad address for its instructions", { xlated_prog_len: 8, xlated_prog_insns: 8 }, EFAULT],
  ])("with %s is refused", (_, fields, errno) => {
    const { user, fd } = loaded();
    expect(infoOf(user, bpf_prog_info, fd, fields).result).toBe(errno);
  });

  test.each<[string, (records: Fields) => Fields, Result<number>]>([
    ["function records of another size", () => ({ func_info_rec_size: 6 }), EINVAL],
    ["a function that does not begin at 0", (r) => ({ func_info: r["line_info"]! + 4 }), EINVAL],
    ["lines that do not ascend", (r) => ({ line_info: r["func_info"]! - 48 }), EINVAL],
    ["an fd that is no BTF", () => ({ prog_btf_fd: 3 }), EINVAL],
    ["an fd that is not open", () => ({ prog_btf_fd: 77 }), EBADF],
  ])("with %s does not load", (_, change, errno) => {
    const { user, map, records } = loaded();
    expect(user.load(insns(map), { ...records, ...change(records) })).toBe(errno);
  });

  test("keeps its BTF until it goes", () => {
    const { user, map, fd, records } = loaded();
    user.kernel.close(records["prog_btf_fd"]!);
    expect(user.engine.btfs.size).toBe(1);
    user.kernel.close(fd);
    expect(user.engine.btfs.size).toBe(0);
    user.kernel.close(map);
    expect(user.allocations).toBe(user.baseline);
  });
});

describe("a map", () => {
  test("tells what it was made with", () => {
    const user = new TestUser();
    const btf_fd = ok(loadBtf(user, [INT, struct("value", 8)]));
    const types = { btf_fd, btf_key_type_id: 1, btf_value_type_id: 2 };
    const fd = ok(user.map("HASH", 4, 8, 16, { ...types, map_name: "counts" }));
    const info = infoOf(user, bpf_map_info, fd);
    expect(["type", "id", "key_size", "value_size", "max_entries", "btf_id"].map(info.u32)).toEqual([
      1, 1, 4, 8, 16, 1,
    ]);
    expect([info.u32("btf_key_type_id"), info.u32("btf_value_type_id"), info.length]).toEqual([1, 2, 88]);
  });

  test.each<[string, Parameters<TestUser["map"]>[0], number[], Result<number> | "made"]>([
    ["a key and a value of its sizes", "HASH", [1, 2], "made"],
    ["an index and a value", "ARRAY", [1, 2], "made"],
    ["a value alone", "HASH", [0, 2], EINVAL],
    ["a key that is no index", "ARRAY", [3, 2], EINVAL],
    ["a value of another size", "HASH", [1, 1], EINVAL],
    ["types for what has none", "PERF_EVENT_ARRAY", [1, 1], ENOTSUPP],
    ["a value with a lock in it", "HASH", [1, 4], EOPNOTSUPP],
  ])("may be made with types: %s", (_, type, [btf_key_type_id = 0, btf_value_type_id = 0], expected) => {
    const user = new TestUser();
    const lock = struct("bpf_spin_lock", 4);
    const holder: BtfType = {
      kind: "struct",
      name: "holder",
      size: 8,
      members: [{ name: "lock", type: 5, bitOffset: 0, bitSize: 0 }],
    };
    const btf_fd = ok(loadBtf(user, [INT, struct("value", 8), struct("key", 4), holder, lock]));
    const valueSize = type === "PERF_EVENT_ARRAY" ? 4 : 8;
    const made = user.map(type, 4, valueSize, 4, { btf_fd, btf_key_type_id, btf_value_type_id });
    expect(typeof made === "number" ? "made" : made).toBe(expected);
  });
});

describe("BTF", () => {
  test("is given back as it was loaded", () => {
    const user = new TestUser();
    const bytes = writeBtf([INT]);
    const fd = ok(loadBtf(user, [INT]));
    const btf = user.place(new Uint8Array(bytes.length));
    const info = infoOf(user, bpf_btf_info, fd, { btf, btf_size: bytes.length });
    expect([info.u32("id"), info.u32("btf_size"), info.u32("kernel_btf")]).toEqual([1, bytes.length, 0]);
    expect(user.read(btf, bytes.length)).toEqual([...bytes]);
  });

  test("of the kernel has id 1 and a name, and stays", () => {
    const bytes = writeBtf([INT]);
    const kernel = new FakeKernel();
    kernel.kernelBtf = () => parseBtf(bytes) as Btf;
    const user = new TestUser(kernel);
    expect(user.bpf("BTF_GET_NEXT_ID", { start_id: 0 })).toBe(0);
    expect(user.u32(user.lastAttr + 4)).toBe(1);
    const fd = ok(user.bpf("BTF_GET_FD_BY_ID", { btf_id: 1 }));
    const name = user.place(new Uint8Array(16).fill(1));
    const btf = user.place(new Uint8Array(bytes.length));
    const whole = infoOf(user, bpf_btf_info, fd, { btf, btf_size: bytes.length, name, name_len: 16 });
    expect([whole.result, whole.u32("kernel_btf"), whole.u32("name_len")]).toEqual([0, 1, 7]);
    expect(user.read(btf, bytes.length)).toEqual([...bytes]);
    expect(utf8Decode(Uint8Array.from(user.read(name, 8)))).toBe("vmlinux\0");
    const cut = infoOf(user, bpf_btf_info, fd, { name, name_len: 4 });
    expect([cut.result, cut.u32("id"), cut.u32("name_len")]).toEqual([ENOSPC, 1, 7]);
    expect(utf8Decode(Uint8Array.from(user.read(name, 4)))).toBe("vml\0");
    expect(infoOf(user, bpf_btf_info, fd, { name }).result).toBe(EINVAL);
    user.kernel.close(fd);
    expect(user.engine.btfs.size).toBe(1);
    expect(ok(loadBtf(user, [INT]))).toBeGreaterThan(0);
    expect(user.bpf("BTF_GET_NEXT_ID", { start_id: 1 })).toBe(0);
    expect(user.u32(user.lastAttr + 4)).toBe(2);
  });

  test("that is malformed is refused, and the log says why", () => {
    const user = new TestUser();
    const btf_log_buf = user.place(new Uint8Array(512));
    const log = { btf_log_buf, btf_log_size: 512, btf_log_level: 1 };
    const bytes = writeBtf([{ kind: "ptr", name: "", type: 9 }]);
    expect(user.bpf("BTF_LOAD", { btf: user.place(bytes), btf_size: bytes.length, ...log })).toBe(EINVAL);
    const length = user.u32(user.lastAttr + 28);
    expect(utf8Decode(Uint8Array.from(user.read(btf_log_buf, length)))).toMatch(
      /^magic: 0xeb9f\n[^]*\[1\] PTR \(anon\) type_id=9 Invalid type_id\n\0$/,
    );
    expect(user.bpf("BTF_LOAD", { btf: 8, btf_size: 64 })).toBe(EFAULT);
    expect(user.bpf("BTF_LOAD", { btf: user.place([1]), btf_size: (16 << 20) + 1 })).toBe(E2BIG);
    user.kernel.isRoot = false;
    expect(loadBtf(user, [INT])).toBe(EPERM);
  });
});

test("an fd that is not open, or of something else, has no information", () => {
  const user = new TestUser();
  expect(infoOf(user, bpf_map_info, 99).result).toBe(EBADFD);
  user.kernel.fds.push("other file");
  expect(infoOf(user, bpf_map_info, 3).result).toBe(EINVAL);
});

test("what is behind the known fields must be zero", () => {
  const user = new TestUser();
  const fd = ok(user.map("HASH", 4, 8, 1));
  const ask = (info: UAddr): Result<number> =>
    user.bpf("OBJ_GET_INFO_BY_FD", { bpf_fd: fd, info_len: 96, info });
  expect(ask(user.place(new Uint8Array(96)))).toBe(0);
  expect(user.u32(user.lastAttr + 4)).toBe(88);
  expect(ask(user.place(new Uint8Array(96).fill(1, 90)))).toBe(E2BIG);
});

test("objects are found by id, in order, until there are no more", () => {
  const user = new TestUser();
  const maps = [1, 2, 3].map(() => ok(user.map("HASH", 4, 8, 1)));
  user.kernel.close(maps[1]!);
  const next = (start_id: number): Result<number> | number => {
    const result = user.bpf("MAP_GET_NEXT_ID", { start_id });
    return result === 0 ? user.u32(user.lastAttr + 4) : result;
  };
  expect([next(0), next(1), next(3)]).toEqual([1, 3, ENOENT]);
  const fd = ok(user.bpf("MAP_GET_FD_BY_ID", { map_id: 3 }));
  expect(user.mapAt(fd).map).toBe(user.mapAt(maps[2]!).map);
  expect(user.bpf("MAP_GET_FD_BY_ID", { map_id: 2 })).toBe(ENOENT);
  expect(user.bpf("PROG_GET_NEXT_ID", { start_id: 0 })).toBe(ENOENT);
  expect(user.bpf("BTF_GET_FD_BY_ID", { btf_id: 1 })).toBe(ENOENT);
  user.kernel.isRoot = false;
  expect(next(0)).toBe(EPERM);
  for (const open of [maps[0]!, maps[2]!, fd]) user.kernel.close(open);
  expect(user.allocations).toBe(user.baseline);
});
