import { assemble, AssembleError } from "@alien-ts/bpf-isa";
import { describe, expect, test } from "vitest";
import { prepare } from "../program.ts";
import type { BpfProgram } from "../program.ts";
import { findFunctions } from "./functions.ts";
import { buildGraph } from "./graph.ts";
import { registersOf } from "./module-context.ts";

function load(text: string): BpfProgram {
  const insns = assemble(text);
  if (insns instanceof AssembleError) throw new Error(insns.message);
  return prepare(insns);
}

const starts = (marks: Uint8Array, start: Int32Array): number[] =>
  [...marks].flatMap((mark, block) => (mark === 1 ? [start[block]!] : []));

describe("graphs", () => {
  test.each([
    ["a straight line", "r0 = 1\nexit", 1, [], [], true],
    ["a wide load", "r0 = 0x100000000\nexit", 1, [], [], true],
    ["a diamond", "if r1 == 0 goto a\nr0 = 1\ngoto b\na:\nr0 = 2\nb:\nexit", 4, [], [4], true],
    ["a loop", "r0 = 9\na:\nr0 -= 1\nif r0 != 0 goto a\nexit", 3, [1], [], true],
    ["a loop at the entry", "a:\nr0 -= 1\nif r0 != 0 goto a\nexit", 2, [0], [], true],
    [
      "two ways into a cycle",
      "if r1 == 0 goto b\na:\nr0 += 1\ngoto b\nb:\nif r0 != 9 goto a\nexit",
      4,
      [],
      [],
      false,
    ],
    ["what is never reached", "goto a\nr0 = 7\na:\nexit", 2, [], [], true],
    ["running off the end", "r0 = 1", 1, [], [], true],
  ] as const)("%s", (_, text, count, loops, merges, isReducible) => {
    const graph = buildGraph(load(text), 0);
    expect([graph.count, graph.isReducible]).toEqual([count, isReducible]);
    if (!isReducible) return;
    expect(starts(graph.isLoop, graph.start)).toEqual(loops);
    expect(starts(graph.isMerge, graph.start)).toEqual(merges);
  });
});

describe("functions", () => {
  const table = (text: string) => findFunctions(load(text));

  test("a function is given the registers that it reads, and no others", () => {
    const found = table(
      "r1 = 1\nr2 = 2\nr3 = 3\ncall f\nexit\nf:\nr0 = r2\nr0 += r1\nr3 = 4\nexit",
    ).byEntry.get(5)!;
    expect(registersOf(found.liveIn)).toEqual([1, 2]);
    expect(registersOf(found.outs)).toEqual([]);
    expect(found.needsFrame).toBe(false);
  });

  test("a register that the caller reads after the call is a result", () => {
    const found = table("r3 = 3\ncall f\nr0 = r3\nexit\nf:\nr3 = 4\nr0 = 0\nexit").byEntry.get(4)!;
    expect(registersOf(found.outs)).toEqual([3]);
  });

  test("who calls a function that uses its stack has a frame", () => {
    const { byEntry, depth } = table(
      "call f\nexit\nf:\ncall g\nexit\ng:\n*(u64 *)(r10 -8) = 1\nr0 = 0\nexit",
    );
    expect([...byEntry.values()].map(({ needsFrame }) => needsFrame)).toEqual([true, true, true]);
    expect(depth).toBe(3);
  });

  test("recursion is found", () => {
    const { isRecursive, depth } = table("call f\nexit\nf:\ncall f\nexit");
    expect([isRecursive(0), isRecursive(2), depth]).toEqual([false, true, Number.POSITIVE_INFINITY]);
  });
});
