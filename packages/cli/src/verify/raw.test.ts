/** `alien verify --raw`: lines in, verdicts out. */
import { asm, encode, program } from "@alien-ts/bpf-isa";
import type { Insn } from "@alien-ts/bpf-isa";
import { type Btf, parseBtf, writeBtf } from "@alien-ts/btf";
import { expect, test } from "vitest";
import { Problem } from "../options.ts";
import { parseVerifyArguments } from "./command.ts";
import { verifyLine } from "./raw.ts";

const hex = (...parts: (Insn | readonly Insn[])[]): string =>
  Buffer.from(encode(program(...parts))).toString("hex");
const options = { kernelBtf: undefined, programBtf: new Map(), logLevel: 2 };
const answer = (line: object | string): Record<string, unknown> =>
  JSON.parse(verifyLine(typeof line === "string" ? line : JSON.stringify(line), options)) as Record<
    string,
    unknown
  >;

const zero = hex(asm.movImm(0, 0), asm.exit());
const lookup = [
  asm.storeImm(8, 10, -8, 0),
  asm.movReg(2, 10),
  asm.aluImm("add", 2, -8),
  asm.mapFd(1, 0),
  asm.call(1),
  asm.movImm(0, 0),
  asm.exit(),
];

test("an old-style case gets its maps and Linux's log", () => {
  const { verdict, errno, processed, log } = answer({
    insns: hex(...lookup),
    prog_type: 1,
    fixups: { map_hash_8b: [3] },
  });
  expect({ verdict, errno, processed }).toEqual({ verdict: "ACCEPT", errno: 0, processed: 7 });
  expect(log).toContain("5: (85) call bpf_map_lookup_elem#1    ; R0=map_value_or_null(id=1,ks=8,vs=8)\n");
  expect(log).toMatch(/processed 7 insns \(limit 1000000\) /);
});

test("a load gets the maps that it describes", () => {
  const map = { fd: 9, name: "counts", type: 1, key_size: 8, value_size: 8, max_entries: 4, map_flags: 0 };
  const load = {
    prog_type: 2,
    expected_attach_type: 0,
    prog_flags: 0,
    license: "GPL",
    insns: hex(...lookup),
    maps: [map],
    map_refs: { "3": 9 },
  };
  const { verdict, log } = answer({ load });
  expect(verdict).toBe("ACCEPT");
  expect(log).toContain("R1=map_ptr(map=counts,ks=8,vs=8)");
});

test("a refusal has its errno and message", () => {
  const { verdict, errno, log } = answer({ insns: hex(asm.exit()), prog_type: 1 });
  expect({ verdict, errno }).toEqual({ verdict: "REJECT", errno: 13 });
  expect(log).toContain("0: (95) exit\nR0 !read_ok\n");
});

test.each([
  ["{", "not JSON: "],
  ["[]", "insns: expected hexadecimal bytes"],
  ["null", "expected an object"],
  [{ insns: "95", prog_type: 1 }, "insns: expected 8 bytes for each instruction"],
  [{ insns: hex(asm.exit()) }, "prog_type: expected an integer"],
  [{ insns: hex(asm.exit()), prog_type: -1 }, "prog_type: expected an integer of 32 bits"],
  [{ load: { insns: hex(asm.exit()), prog_type: 1 } }, "load.license: expected a text"],
  [
    { insns: hex(asm.exit()), prog_type: 1, fixups: { map_hash_8b: [1] } },
    "fixups.map_hash_8b.0: expected one of the program's 1 instructions",
  ],
  [
    { load: { insns: hex(asm.exit()), prog_type: 1, license: "", func_info: "00" } },
    "load.func_info: expected records of 8 bytes, each of at least 8",
  ],
])("%j is answered with what is wrong with it", (line, expected) => {
  expect(answer(line)["error"]).toContain(expected);
});

test("types that are none, or not there, are an error of the programs that name them", () => {
  const programBtf = new Map([["bad", parseBtf(new Uint8Array(4))]]);
  const load = (btf: string): string =>
    verifyLine(JSON.stringify({ load: { insns: zero, prog_type: 1, license: "GPL", btf } }), {
      ...options,
      programBtf,
    });
  expect(load("bad")).toMatch(/"error":"load.btf: 'bad': btf: /);
  expect(load("other")).toBe('{"error":"load.btf: no types are called \'other\'"}');
});

test("a line with any of its values lost or of another kind gets a verdict, or an error that names a field", () => {
  const map = {
    fd: 9,
    name: "m",
    type: 2,
    key_size: 4,
    value_size: 8,
    max_entries: 4,
    map_flags: 0,
    value0: "00",
  };
  const line = JSON.stringify({
    unpriv: false,
    load: {
      prog_type: 2,
      expected_attach_type: 0,
      prog_flags: 0,
      license: "GPL",
      insns: hex(...lookup),
      func_info: "",
      line_info: "",
      maps: [map],
      map_refs: { "3": 9 },
      btf_ids: {},
      attach_to: null,
    },
  });
  const others = [undefined, null, -1, 1.5, 1e300, "x", [], {}, [[]], { a: 1 }, true];
  const places = [...Object.keys(JSON.parse(line).load as object), ...Object.keys(map), "3", "unpriv"];
  for (const place of places)
    for (const other of others) {
      const damaged = JSON.parse(line, (key, value: unknown) => (key === place ? other : value)) as object;
      const { verdict, error } = answer(damaged);
      expect({ place, other, said: verdict ?? error }).toEqual({
        place,
        other,
        said: expect.stringMatching(/^ACCEPT$|^REJECT$|^[\w.]+: (?:expected|no types)/),
      });
    }
});

test.each([
  ["no JSON", "{"],
  ["a kind of map that is none", { insns: hex(...lookup), prog_type: 1, fixups: { map_of_gold: [3] } }],
  ["null", "null"],
  ["instructions in other digits", '{"insns":"95zz000000000000","prog_type":1}'],
])("%s is an error of its line", (_, line) => {
  expect(typeof answer(line)["error"]).toBe("string");
});

test.each([
  ["of a type that is none", { insns: zero, prog_type: 99 }, 22],
  ["of a type that is none, and empty,", { insns: "", prog_type: 99 }, 7],
  ["with a flag that is none", { insns: zero, prog_type: 1, flags: 256 }, 22],
  ["with a token that is none", { insns: zero, prog_type: 1, flags: 1 << 16 }, 22],
])("a program %s is refused before it is verified", (_, line, errno) => {
  expect(answer(line)).toEqual({ verdict: "REJECT", errno, processed: 0, log: "" });
});

test("descriptors that every loader has open are no maps", () => {
  const load = (fd: number): string => hex(asm.mapFd(1, fd), asm.movImm(0, 0), asm.exit());
  expect(answer({ insns: load(2), prog_type: 1 })).toMatchObject({ errno: 22 });
  expect(answer({ insns: load(200), prog_type: 1 })).toMatchObject({ errno: 9 });
});

test("an arena lies where its user has it", () => {
  const arena = { fd: 4, name: "a", type: 33, key_size: 0, value_size: 0, max_entries: 2, map_flags: 1024 };
  const load = {
    prog_type: 1,
    expected_attach_type: 0,
    prog_flags: 0,
    license: "GPL",
    insns: hex(asm.mapValue(1, 4, 16), asm.movImm(0, 0), asm.exit()),
    maps: [{ ...arena, map_extra: 0x1000_0000_0000 }],
    map_refs: { "0": 4 },
  };
  expect(answer({ load })["log"]).toContain("0: (18) r1 = 0x100000000010           ; R1=scalar()");
});

test.each([[["--raw"]], [[]], [["--raw", "x", "--log-level", "99"]], [["--frob", "x"]]])(
  "the arguments %j are refused",
  (args) => {
    expect(parseVerifyArguments(args)).toBeInstanceOf(Problem);
  },
);

test("the level is 2 unless another is asked for", () => {
  expect(parseVerifyArguments(["--raw", "-"])).toMatchObject({ file: "-", logLevel: 2 });
  expect(parseVerifyArguments(["--raw", "-", "--log-level", "0"])).toMatchObject({ logLevel: 0 });
});

test.each([
  ["root's", {}, "ACCEPT", 0],
  ["root's", { priv: { expect: "ok" }, unpriv: { expect: "fail", msg: ["R0 leaks addr"] } }, "ACCEPT", 0],
  ["a user's", { unpriv: true }, "REJECT", 13],
  ["one's with CAP_BPF alone", { caps: ["CAP_BPF"] }, "REJECT", 13],
  ["an administrator's", { caps: ["CAP_SYS_ADMIN"] }, "ACCEPT", 0],
])("a case is %s load where it says so", (_, loader, verdict, errno) => {
  const returnsAddress = hex(asm.movReg(0, 10), asm.exit());
  expect(answer({ insns: returnsAddress, prog_type: 1, ...loader })).toMatchObject({ verdict, errno });
});

test("programs that see into the kernel are not for everyone", () => {
  const load = { insns: hex(asm.movImm(0, 0), asm.exit()), prog_type: 2, unpriv: true };
  expect(answer(load)).toMatchObject({ verdict: "REJECT", errno: 1, log: "" });
});

test("a capability that nothing asks for is an error", () => {
  const load = { insns: hex(asm.movImm(0, 0), asm.exit()), prog_type: 1, caps: ["CAP_KILL"] };
  expect(answer(load)).toEqual({ error: expect.stringContaining("not CAP_KILL") });
});

test("--unprivileged is for objects and cases", () => {
  for (const args of [["a.o"], ["--raw", "a.jsonl"]]) {
    expect(parseVerifyArguments(["--unprivileged", ...args])).toMatchObject({ isUnprivileged: true });
    expect(parseVerifyArguments(args)).toMatchObject({ isUnprivileged: false });
  }
});

test("programs of infrared receivers are for kernels whose types tell that they have them", () => {
  const text = JSON.stringify({ insns: zero, prog_type: 20 });
  expect(answer(text)).toEqual({ verdict: "REJECT", errno: 22, processed: 0, log: "" });
  const types = writeBtf([
    { kind: "func_proto", name: "", type: 0, params: [] },
    { kind: "func", name: "lirc_mode2_is_valid_access", type: 1, linkage: "static" },
  ]);
  const kernelBtf = parseBtf(types) as Btf;
  expect(verifyLine(text, { ...options, kernelBtf })).toContain('"verdict":"ACCEPT"');
});

test("a program with any bytes in any places gets a verdict", () => {
  const seed = 909;
  let state = seed;
  const random = (n: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return (state >>> 8) % n;
  };
  const verdicts = new Map<unknown, number>();
  for (let round = 0; round < 400; round++) {
    const digits = [...hex(...lookup)];
    for (let times = random(5); times > 0; times--)
      digits[random(digits.length)] = "0123456789abcdef"[random(16)]!;
    const line = { insns: digits.join(""), prog_type: 1 + random(30), fixups: { map_hash_8b: [3] } };
    const { verdict, error } = answer(line);
    expect({ seed, round, error }).toEqual({ seed, round, error: undefined });
    verdicts.set(verdict, (verdicts.get(verdict) ?? 0) + 1);
  }
  expect([...verdicts.keys()].toSorted()).toEqual(["ACCEPT", "REJECT"]);
});
