/** Functions that run when a program throws, right and wrong, with Linux's messages. */
import { EBADF } from "@alien-ts/abi";
import { asm, program } from "@alien-ts/bpf-isa";
import type { Insn } from "@alien-ts/bpf-isa";
import { expect, test } from "vitest";
import { declare } from "../../test/declare.ts";
import { linuxHelper } from "../linux/helpers.ts";
import { linuxKfunc } from "../linux/kfuncs.ts";
import { linuxProgramType } from "../linux/program-types.ts";
import { PRIVILEGED } from "../privileges.ts";
import { verifyProgram } from "../verify-program.ts";

const KERNEL = declare("void bpf_throw(u64 cookie);");
const THROW: Insn = { opcode: 0x85, dst: 0, src: 2, off: 0, imm: KERNEL.find("bpf_throw", "func")! };
const THROWS = [asm.movImm(1, 64), THROW, asm.movImm(0, 0), asm.exit()];
const CALLS = [asm.movImm(1, 64), asm.callLocal(2), asm.movImm(0, 0), asm.exit()];
const RETURNS = [asm.movReg(0, 1), asm.exit()];
const ZERO = [asm.movImm(0, 0), asm.exit()];
const ONE = [asm.movImm(0, 1), asm.exit()];
const CALLS_NEXT = [asm.movImm(1, 0), asm.callLocal(2), ...ZERO];
/** Never gets to its tail call. */
const TAIL_CALLS = [asm.jumpImm("jeq", 1, 0, 1), asm.call(12), ...ZERO];

/** Of a program on packets of a control group, which returns 0 or 1: the last lines of its log. */
function messageOf(
  types: string,
  functions: readonly string[],
  ...bodies: readonly (readonly Insn[])[]
): string {
  const btf = declare(types);
  const insns = program(...bodies.flat());
  let at = 0;
  const starts = bodies.map((body) => (at += body.length) - body.length);
  const verdict = verifyProgram({
    insns,
    programType: linuxProgramType(8, 0)!,
    helper: linuxHelper,
    kfunc: (id) => KERNEL.type(id)?.name,
    kfuncRules: linuxKfunc,
    map: () => EBADF,
    addressHigh: 0xffff_8881,
    license: "GPL",
    privileges: PRIVILEGED,
    log: { level: 1 },
    kernelBtf: KERNEL,
    program: {
      btf,
      functions: functions.map((name, i) => ({ insn: starts[i]!, type: btf.find(name, "func")! })),
      lines: [],
    },
    attach: undefined,
    isSleepable: false,
    isStrictAlignment: false,
    isAnyAlignment: false,
    isStateFrequent: false,
    hasFragments: false,
  });
  if (verdict.ok) return "accepted";
  return (
    verdict.log
      .replace(/processed .*\n$/, "")
      .trimEnd()
      .split("\n")
      .at(-1) ?? ""
  );
}

const MAIN = "struct __sk_buff { u32 len; }; global int main(struct __sk_buff *skb) __thrown(cb);";
const CALLBACK = `global int cb(u64 cookie); ${MAIN}`;
const BOTH = ["main", "cb"];

test("a number that is thrown may be anything where a function makes the result of it", () => {
  expect(messageOf(CALLBACK, BOTH, THROWS, ONE)).toBe("accepted");
  expect(messageOf(CALLBACK.replace(" __thrown(cb)", ""), ["main"], THROWS)).toBe(
    "At program exit the register R1 has smin=64 smax=64 should have been in [0, 1]",
  );
});

test("what that function returns is the result of the program", () => {
  expect(messageOf(CALLBACK, BOTH, THROWS, ZERO)).toBe("accepted");
  expect(messageOf(CALLBACK, BOTH, THROWS, RETURNS)).toBe(
    "At program exit the register R0 has unknown scalar value should have been in [0, 1]",
  );
});

test("the function is looked at though the program never throws", () => {
  expect(messageOf(CALLBACK, BOTH, ZERO, ONE)).toBe("accepted");
  expect(messageOf(CALLBACK, BOTH, ZERO, [asm.movReg(0, 2), asm.exit()])).toBe("R2 !read_ok");
});

test.each([
  ["int cb(void)", ZERO, "exception cb only supports single integer argument"],
  ["int cb(u64 a, u64 b)", ZERO, "exception cb only supports single integer argument"],
  ["int cb(struct __sk_buff *skb)", ZERO, "exception cb only supports single integer argument"],
  ["void cb(u64 a)", ZERO, "Global function cb() doesn't return scalar. Only those are supported."],
  ["int cb(u64 a)", THROWS, "bpf_throw kfunc (insn 5) cannot be called from callback subprog 1"],
])("%s that runs when the program throws: %#", (declaration, code, message) => {
  const types = `struct __sk_buff { u32 len; }; global ${declaration}; ${MAIN.replace(/^.*?; }; /, "")}`;
  expect(messageOf(types, BOTH, THROWS, code)).toBe(message);
});

test("it is not called", () => {
  expect(messageOf(CALLBACK, BOTH, CALLS, ONE)).toBe("insn 1 cannot call exception cb directly");
});

test("functions that it calls do not tail call", () => {
  const types = `${CALLBACK} int last(u64 a);`;
  expect(messageOf(types, [...BOTH, "last"], THROWS, CALLS_NEXT, ZERO)).toBe("accepted");
  expect(messageOf(types, [...BOTH, "last"], THROWS, CALLS_NEXT, TAIL_CALLS)).toBe(
    "cannot tail call within exception cb",
  );
});

test.each([
  [`${MAIN} int cb(u64 a);`, BOTH, "exception callback 'cb' must have global linkage"],
  [MAIN, ["main"], "exception callback 'cb' could not be found in BTF"],
  [CALLBACK, ["main"], "exception callback type id not found in func_info"],
  [
    `${CALLBACK.replace(";;", ";").replace("__thrown(cb)", "__thrown(cb) __thrown(cb)")}`,
    BOTH,
    "multiple exception callback tags for main subprog",
  ],
  [
    `struct __sk_buff { u32 len; }; global int main(u64 a) __thrown(main);`,
    ["main"],
    "invalid exception callback insn_off in func_info: 0",
  ],
])("a function that cannot be: %#", (types, functions, message) => {
  expect(messageOf(types, functions, THROWS, ONE.slice(0, functions.length === 2 ? 2 : 0))).toBe(message);
});
