/** What a traceable kernel function costs: a row's gate beside a plain call, unprobed, armed, and with a probe. */
import { s32, u32 } from "@alien-ts/abi";
import { KprobeBuilder } from "@alien-ts/kprobe";
import type { Cx } from "../packages/kernel/src/core/cx.ts";
import { kernelFn } from "../packages/kernel/src/core/row.ts";
import { testKernel } from "../packages/kernel/src/testing.ts";
import { plantKprobe } from "../packages/kernel/src/trace/kprobes.ts";
import { type Candidate, printTable, SIDE_BY_SIDE_HEADER, sideBySide } from "./measure.ts";

type Call = (cx: Cx, a: number, b: number) => number;

const memory = new Int32Array(64);

/** About what a small kernel function does: a load, an addition, a store. Made anew, so that call sites stay apart. */
const makeBody = (): Call => (_, a, b) => {
  const at = a & 63;
  memory[at] = (memory[at]! + b) | 0;
  return memory[at]!;
};

const makeRow = (
  name: string,
): ReturnType<
  typeof kernelFn<readonly [readonly ["a", typeof u32], readonly ["b", typeof s32]], typeof s32, number>
> =>
  kernelFn(
    name,
    [
      ["a", u32],
      ["b", s32],
    ],
    s32,
    makeBody(),
  );

/** A call per iteration, as in a kernel: each argument depends on the result before. */
const loop =
  (cx: Cx, call: Call) =>
  (count: number): number => {
    let value = 1;
    for (let i = 0; i < count; i++) value = call(cx, value & 0xff, i);
    return value;
  };

const FUNCTIONS = 64;

/** Calls of many functions in turn, as a kernel makes them: nothing can be inlined. */
const loopOver =
  (cx: Cx, calls: readonly Call[]) =>
  (count: number): number => {
    let value = 1;
    for (let i = 0; i < count; i++) value = calls[i % FUNCTIONS]!(cx, value & 0xff, i);
    return value;
  };

export function benchGate(): void {
  const rows = Object.fromEntries(
    Array.from({ length: FUNCTIONS }, (_, i) => [`f${i}`, makeRow(`bench_row_${i}`)]),
  );
  const gate = makeRow("bench_gate");
  const probed = makeRow("bench_probed");
  const kernel = testKernel({ text: [{ gate, probed, ...rows }] });
  const { bootCx } = kernel;
  const plain = makeBody();
  const bodies = Array.from({ length: FUNCTIONS }, makeBody);
  let hits = 0;
  plantKprobe(
    bootCx,
    new KprobeBuilder().with_symbol("bench_probed").with_pre_handler((_, args) => {
      hits += args.argumentLow(0);
      return 0;
    }),
  );
  const one: Candidate[] = [
    { name: "plain call", run: loop(bootCx, plain) },
    { name: "row, unprobed", run: loop(bootCx, gate) },
  ];
  const many: Candidate[] = [
    { name: `plain calls of ${FUNCTIONS} functions`, run: loopOver(bootCx, bodies) },
    { name: `${FUNCTIONS} rows, unprobed`, run: loopOver(bootCx, Object.values(rows)) },
  ];
  const armed: Candidate[] = [
    { name: "row, unprobed", run: loop(bootCx, gate) },
    { name: "row with a kprobe and a small handler", run: loop(bootCx, probed) },
  ];
  printTable("Calls, one call site", SIDE_BY_SIDE_HEADER, sideBySide(one));
  printTable("Calls, nothing inlined", SIDE_BY_SIDE_HEADER, sideBySide(many));
  printTable(
    "A kprobe hit: two traps, an instruction out of line, the body",
    SIDE_BY_SIDE_HEADER,
    sideBySide(armed),
  );
  if (hits === 0) throw new Error("the probe was never hit");
}
