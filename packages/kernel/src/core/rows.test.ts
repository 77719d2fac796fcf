/**
 * Every row of the kernel's text: its arguments arrive in the trap frame's argument registers as the riscv64 C ABI passes
 * them, its result is decoded from the return register, and its text and symbol are in order.
 *
 * A probe's pre-handler at the row's first instruction looks at the registers and returns to the caller, so that no body runs.
 * What a register must hold is calculated here with BigInt, from sizes and signedness alone.
 */
import {
  bool,
  type CType,
  EINVAL,
  ENOENT,
  EPERM,
  isErr,
  long,
  ptr,
  s16,
  s32,
  s64,
  s8,
  size_t,
  ssize_t,
  u16,
  u32,
  u64,
  u8,
  ulong,
  userPtr,
} from "@alien-ts/abi";
import { type Kprobe, KprobeBuilder, type ProbeArgs } from "@alien-ts/kprobe";
import { beforeAll, describe, expect, test } from "vitest";
import { decode, instructionLength } from "../arch/riscv64/decode.ts";
import { Kind } from "../arch/riscv64/instruction.ts";
import { testKernel } from "../testing.ts";
import { TEXT } from "../text.ts";
import { plantKprobe, removeKprobe } from "../trace/kprobes.ts";
import type { RowModule } from "./image.ts";
import type { Kernel } from "./kernel.ts";
import { type Owned, ownerPtr, ownerPtrOrNull, voidType } from "./owner.ts";
import { blockingFn, type FunctionRow, isBlocking, kernelFn, type ParamType } from "./row.ts";

const ownedp = ownerPtr<Owned>("owned");
const ownedOrNull = ownerPtrOrNull<Owned>("owned");

/** Rows with every type, for kernels whose own rows lack one. */
const everyType = {
  small: kernelFn(
    "test_every_small",
    [
      ["a", u8],
      ["b", s8],
      ["c", u16],
      ["d", s16],
      ["e", u32],
      ["f", s32],
      ["g", bool],
    ],
    s32,
    () => 0,
  ),
  large: kernelFn(
    "test_every_large",
    [
      ["a", u64],
      ["b", s64],
      ["c", size_t],
      ["d", ssize_t],
      ["e", ulong],
      ["f", long],
      ["g", userPtr("char")],
      ["h", ptr("file")],
    ],
    long,
    () => 0,
  ),
  owners: blockingFn(
    "test_every_owner",
    [
      ["a", ownedp],
      ["b", ownedOrNull],
    ],
    ownedOrNull,
    (_, a) => a,
  ),
  u8: kernelFn("test_every_ret_u8", [], u8, () => 0),
  s8: kernelFn("test_every_ret_s8", [], s8, () => 0),
  u16: kernelFn("test_every_ret_u16", [], u16, () => 0),
  s16: kernelFn("test_every_ret_s16", [], s16, () => 0),
  u32: kernelFn("test_every_ret_u32", [], u32, () => 0),
  bool: kernelFn("test_every_ret_bool", [], bool, () => false),
  u64: kernelFn("test_every_ret_u64", [], u64, () => 0n),
  s64: kernelFn("test_every_ret_s64", [], s64, () => 0n),
  size_t: kernelFn("test_every_ret_size_t", [], size_t, () => 0),
  pointer: kernelFn("test_every_ret_pointer", [], ptr("file"), () => 0),
  user: kernelFn("test_every_ret_user", [], userPtr("char"), () => 0),
  void: kernelFn("test_every_ret_void", [], voidType, () => undefined),
  hidden: kernelFn("test_noprobe", [["a", u32]], s32, (_, a) => a, { noprobe: true }),
};

type Call = (cx: Kernel["bootCx"], ...args: unknown[]) => unknown;
interface Callable {
  readonly row: FunctionRow;
  readonly call: Call;
}

/** Gates of the rows that files export, system calls' too. */
function gatesOf(files: readonly RowModule[]): Callable[] {
  const found = new Map<FunctionRow, Callable>();
  for (const value of files.flatMap((file) => Object.values(file))) {
    const { row, gate } = (value ?? {}) as { row?: FunctionRow; gate?: Call };
    if (row === undefined || !("params" in row)) continue;
    const call = typeof value === "function" ? (value as Call) : gate;
    if (call !== undefined) found.set(row, { row, call });
  }
  return [...found.values()].sort((a, b) => (a.row.name < b.row.name ? -1 : 1));
}

const ALL = gatesOf([...TEXT, everyType]);
const PROBED = ALL.filter(({ row }) => row.options.noprobe !== true);

let kernel: Kernel;
let owned: Owned;

beforeAll(() => {
  kernel = testKernel({ text: [everyType] });
  const addr = kernel.kmalloc.kmalloc(64, "test");
  owned = { addr };
  kernel.kmalloc.setOwner(addr, owned);
});

const isOwner = (type: ParamType): boolean => type.kind === "owner";

/** A kernel address as a 64-bit number. */
const kernelAddress = (addr: number): bigint =>
  addr === 0 ? 0n : (BigInt(kernel.mem.baseHi) << 32n) | BigInt(addr);

/** Values that a parameter of this type may have, edges first. */
function valuesOf(type: ParamType): readonly unknown[] {
  if (type.kind === "owner") return type.nullable ? [owned, null] : [owned];
  if (type.kind === "ptr") return [0, 0x1_0000, kernel.mem.size - 8];
  if (type.kind === "userptr") return [0, 0x1_0000, 2 ** 32, 2 ** 38 - 4096, 2 ** 47 - 1];
  const { size, signed } = type;
  const sample: unknown = (type as CType).fromReg(0, 0, kernel.mem);
  if (typeof sample === "boolean") return [false, true];
  const bits = BigInt(size * 8);
  const isWhole = typeof sample === "bigint";
  const most =
    size < 8 || isWhole ? (1n << (signed ? bits - 1n : bits)) - 1n : BigInt(Number.MAX_SAFE_INTEGER);
  const edges = [0n, 1n, most, most - 1n, (1n << (bits - 1n)) >> (size === 8 && !isWhole ? 20n : 1n)];
  if (signed) edges.push(-1n, size < 8 || isWhole ? -most - 1n : -most, -2n);
  if (size === 8) edges.push(1n << 31n, 1n << 32n, (1n << 32n) - 1n);
  return edges.map((value) => (isWhole ? value : Number(value)));
}

/** RISC-V calling convention: up to 32 bits by the type's own sign, then from 32 to 64 bits by sign. */
function register(type: ParamType, value: unknown): bigint {
  if (type.kind === "owner") return value === null ? 0n : kernelAddress((value as Owned).addr);
  if (type.kind === "ptr") return kernelAddress(value as number);
  const integer = BigInt(value as number);
  if (type.size === 8) return BigInt.asUintN(64, integer);
  const bits = type.size * 8;
  const narrow = type.signed ? BigInt.asIntN(bits, integer) : BigInt.asUintN(bits, integer);
  return BigInt.asUintN(64, BigInt.asIntN(32, narrow));
}

const argument = (args: ProbeArgs, n: number): bigint =>
  (BigInt(args.argumentHigh(n) >>> 0) << 32n) | BigInt(args.argumentLow(n) >>> 0);

/** Plants a probe that returns to the caller with `answer` in the return register. */
function intercept(row: FunctionRow, see: (args: ProbeArgs) => void, answer: () => bigint): Kprobe {
  const made = plantKprobe(
    kernel.bootCx,
    new KprobeBuilder().with_symbol(kernel.text.symbolOf(row.slot)).with_pre_handler((_, args) => {
      see(args);
      const value = answer();
      args.setReturnValue(Number(BigInt.asIntN(32, value)), Number(BigInt.asIntN(32, value >> 32n)));
      args.update_pc(args.returnAddress());
      return 1;
    }),
  );
  if (isErr(made)) throw new Error(`${row.name}: ${made.name}`);
  return made;
}

/** Calls to the end; a call that sleeps fails the test. */
function invoke({ row, call }: Callable, args: readonly unknown[]): unknown {
  const made = call(kernel.bootCx, ...args);
  if (!isBlocking(made)) return made;
  const step = made.next();
  if (step.done !== true) throw new Error(`${row.name} sleeps without its body`);
  return step.value;
}

/** Argument lists in which each parameter has each of its values, beside others'. */
function argumentLists(row: FunctionRow): unknown[][] {
  const columns = row.params.map(([, type]) => valuesOf(type));
  const count = Math.max(1, ...columns.map((column) => column.length));
  return Array.from({ length: count }, (_, i) => columns.map((column, j) => column[(i + j) % column.length]));
}

describe.each(PROBED.map((callable) => [callable.row.name, callable] as const))("%s", (_, callable) => {
  const { row } = callable;

  test("gets its arguments in registers as C passes them", () => {
    for (const args of argumentLists(row)) {
      const expected = row.params.map(([name, type], i) => [name, register(type, args[i]).toString(16)]);
      let seen: unknown = "no hit";
      const probe = intercept(
        row,
        (frame) => {
          seen = row.params.map(([name], i) => [name, argument(frame, i).toString(16)]);
        },
        () => (isOwner(row.ret) ? kernelAddress(owned.addr) : 0n),
      );
      invoke(callable, args);
      removeKprobe(kernel.bootCx, probe);
      expect(seen).toEqual(expected);
    }
  });

  test("gives its caller what the return register holds", () => {
    let answer = 0n;
    const probe = intercept(
      row,
      () => {},
      () => answer,
    );
    const args = argumentLists(row)[0]!;
    const results = resultsOf(row.ret).map(([value]) => {
      answer = value;
      return [value.toString(16), invoke(callable, args)];
    });
    removeKprobe(kernel.bootCx, probe);
    expect(results).toEqual(resultsOf(row.ret).map(([value, result]) => [value.toString(16), result]));
  });

  test("has a symbol of its own, and text of whole instructions", () => {
    const { text, mem } = kernel;
    const addr = text.addressOf(row.slot);
    const symbol = text.symbolOf(row.slot);
    expect(text.symbols.lookupNames(symbol)).toEqual([addr]);
    expect(text.lookup(addr)).toMatchObject({ address: addr, offset: 0 });
    const placed = text.rows.find((placement) => placement.row === row)!;
    const { bytes, returnOffset } = text.arch.rowText(placed.index, symbol);
    expect(mem.bytes(addr, bytes.length)).toEqual(bytes);
    const starts: number[] = [];
    const hostCalls: number[] = [];
    let at = 0;
    while (at < bytes.length) {
      starts.push(at);
      const instruction = decode(mem.dv.getUint32(addr + at, true));
      expect([Kind.illegal, Kind.unsupported]).not.toContain(instruction.kind);
      if (instruction.kind === Kind.hostCall) hostCalls.push(instruction.imm);
      at += instructionLength(mem.dv.getUint16(addr + at, true));
    }
    expect(at).toBe(bytes.length);
    expect(hostCalls).toEqual([placed.index]);
    expect(starts).toContain(returnOffset);
  });
});

const GARBAGE = 0x5a5a_5a5an << 32n;

/** Contents of the return register, and what the caller gets of them. */
function resultsOf(type: ParamType): readonly (readonly [bigint, unknown])[] {
  if (type.c === "void")
    return [
      [0n, undefined],
      [GARBAGE, undefined],
    ];
  const error = (number: bigint): bigint => BigInt.asUintN(64, -number);
  const errors = [
    [error(2n), ENOENT],
    [error(1n), EPERM],
  ] as const;
  if (type.kind === "owner") {
    const own = [kernelAddress(owned.addr), owned] as const;
    return type.nullable ? [own, [0n, null], ...errors] : [own, ...errors];
  }
  if (type.kind === "ptr") return [[0n, 0], [kernelAddress(0x1_0000), 0x1_0000], ...errors];
  const values = valuesOf(type).map((value) => [register(type, value), value] as const);
  const mayFail = type.size === 8 || type.signed;
  const isError = (bits: bigint): boolean =>
    mayFail && BigInt.asIntN(64, bits) < 0n && BigInt.asIntN(64, bits) >= -4095n;
  const kept = values.filter(([bits]) => !isError(bits));
  // Bits above the type's are not the callee's to define.
  const dirty =
    type.size < 8 ? kept.map(([bits, value]) => [BigInt.asUintN(32, bits) | GARBAGE, value] as const) : [];
  return [...kept, ...dirty, ...(mayFail ? errors : [])];
}

test("no two rows have one name", () => {
  const names = ALL.map(({ row }) => row.name);
  expect(new Set(names).size).toBe(names.length);
});

test.each(ALL.filter(({ row }) => row.options.noprobe === true).map(({ row }) => [row.name, row] as const))(
  "%s refuses probes",
  (_, row) => {
    for (const offset of [0, 4]) {
      const made = plantKprobe(
        kernel.bootCx,
        new KprobeBuilder().with_symbol(kernel.text.symbolOf(row.slot)).with_offset(offset),
      );
      expect(made).toBe(EINVAL);
    }
    expect(kernel.text.armed[row.slot]).toBe(0);
  },
);

test("no row stays armed when its probes are gone", () => {
  expect(ALL.filter(({ row }) => kernel.text.armed[row.slot] !== 0).map(({ row }) => row.name)).toEqual([]);
});
