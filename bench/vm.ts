/**
 * BPF programs on the JIT and the interpreter, beside the same C natively and, where builds are given, beside ubpf:
 * ALIEN_UBPF is a folder with libubpf.a, ubpf.h and ubpf_config.h; ALIEN_UBPF_PLAIN one of a build without retpolines.
 *
 * Rounds are interleaved, ratios are of minima, and every sample's r0 and memory are compared with the others'.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { printTable } from "./measure.ts";
import { Engines, FUEL, imageOf, type Sample } from "./vm/engines.ts";
import { benchLoads, benchMicro } from "./vm/micro.ts";
import { type NativeServer, startServer } from "./vm/native.ts";
import { type BenchProgram, loadPrograms } from "./vm/programs.ts";

const ROUNDS = Number(process.env["ALIEN_BENCH_ROUNDS"] ?? 15);
/** Interpreters run so many times fewer. */
const SLOWNESS = 20;

interface Column {
  readonly name: string;
  run(program: BenchProgram): Sample | Promise<Sample>;
}

/** Nanoseconds per run, by program and column. */
type Results = ReadonlyMap<string, ReadonlyMap<string, number>>;

export async function benchVm(root: string): Promise<void> {
  const sources = join(root, "bench", "vm");
  const only = process.env["ALIEN_BENCH_ONLY"]?.split(",");
  const programs = loadPrograms(join(sources, "programs")).filter(({ name }) => only?.includes(name) ?? true);
  const scratch = mkdtempSync(join(tmpdir(), "alien-bench-"));
  const servers: NativeServer[] = [];
  try {
    for (const program of programs) {
      writeFileSync(join(scratch, `${program.name}.bpf`), program.bytes);
      writeFileSync(join(scratch, `${program.name}.image`), imageOf(program));
    }
    const columns = [...ownColumns(programs), ...(await nativeColumns(sources, scratch, programs, servers))];
    const results = await measure(programs, columns);
    report(programs, columns, results);
  } finally {
    for (const server of servers) server.stop();
    rmSync(scratch, { recursive: true, force: true });
  }
  await benchLoads();
  benchMicro();
}

function ownColumns(programs: readonly BenchProgram[]): Column[] {
  const images = new Map(programs.map((program) => [program.name, imageOf(program)]));
  const column = (
    name: string,
    fuel: (typeof FUEL)[keyof typeof FUEL] | undefined,
    slowness: number,
  ): Column => {
    const engines = new Engines();
    const prepared = new Map(programs.map(({ name: key, insns }) => [key, engines.prepare(insns)]));
    if (fuel !== undefined) for (const one of prepared.values()) engines.compile(one, fuel);
    return {
      name,
      run: ({ name: key, repeats }) =>
        engines.run(prepared.get(key)!, images.get(key)!, Math.max(1, Math.round(repeats / slowness))),
    };
  };
  return [
    column("jit", FUEL.without, 1),
    column("jit, fuel", FUEL.with, 1),
    column("interpreter", undefined, SLOWNESS),
  ];
}

async function nativeColumns(
  sources: string,
  scratch: string,
  programs: readonly BenchProgram[],
  servers: NativeServer[],
): Promise<Column[]> {
  const columns: Column[] = [];
  const add = (server: NativeServer, name: string, engine: "native" | "jit" | "interpreter"): void => {
    const slowness = engine === "interpreter" ? SLOWNESS : 1;
    columns.push({
      name,
      run: (program) => server.run(engine, program.name, Math.max(1, Math.round(program.repeats / slowness))),
    });
  };
  const native = startServer({ sources, scratch, name: "native" }, programs);
  if (native !== undefined) {
    servers.push(native);
    add(native, "native", "native");
  }
  for (const [name, ubpf] of [
    ["ubpf", process.env["ALIEN_UBPF"]],
    ["ubpf, plain", process.env["ALIEN_UBPF_PLAIN"]],
  ] as const) {
    if (ubpf === undefined) continue;
    const server = startServer({ sources, scratch, name: name.replace(", ", "-"), ubpf }, programs)!;
    servers.push(server);
    for (const program of programs) {
      if ((await server.load(program.name)) === undefined) throw new Error(`ubpf refuses ${program.name}`);
    }
    add(server, name, "jit");
    if (name === "ubpf") add(server, "ubpf, interpreter", "interpreter");
  }
  return columns;
}

async function measure(programs: readonly BenchProgram[], columns: readonly Column[]): Promise<Results> {
  const results = new Map(programs.map(({ name }) => [name, new Map<string, number>()]));
  const answers = new Map<string, string>();
  for (let round = 0; round < ROUNDS; round++) {
    for (const program of programs) {
      const best = results.get(program.name)!;
      for (const column of columns) {
        const { ns, r0, memory } = await column.run(program);
        best.set(column.name, Math.min(best.get(column.name) ?? Number.POSITIVE_INFINITY, ns));
        const key = `${program.name}/${column.name.includes("interpreter")}`;
        const answer = `${r0} ${memory}`;
        const known = answers.get(key) ?? answer;
        answers.set(key, known);
        if (known !== answer)
          throw new Error(`${column.name} runs ${program.name} to ${answer}, not ${known}`);
      }
    }
  }
  return results;
}

function report(programs: readonly BenchProgram[], columns: readonly Column[], results: Results): void {
  const time = (ns: number): string => (ns < 1e4 ? ns.toFixed(1) : ns.toFixed(0));
  const rows = programs.map(({ name, kind }) => [
    name,
    kind,
    ...columns.map((column) => time(results.get(name)!.get(column.name)!)),
  ]);
  printTable(
    `BPF programs, ns per run, minima of ${ROUNDS} rounds; "jit" as verified programs are compiled, without fuel`,
    ["", "", ...columns.map(({ name }) => name)],
    rows,
  );
  const has = (name: string): boolean => columns.some((column) => column.name === name);
  const pairs = [
    ["jit", "ubpf"],
    ["jit", "ubpf, plain"],
    ["jit", "native"],
    ["jit, fuel", "jit"],
    ["jit, fuel", "ubpf"],
    ["interpreter", "ubpf, interpreter"],
    ["interpreter", "jit"],
  ].filter(([a, b]) => has(a!) && has(b!)) as [string, string][];
  const ratio = (name: string, [a, b]: [string, string]): number =>
    results.get(name)!.get(a)! / results.get(name)!.get(b)!;
  const names = programs.map(({ name }) => name);
  const compute = programs.filter(({ kind }) => kind === "compute").map(({ name }) => name);
  const summary = (title: string, of: readonly string[]): string[] => [
    title,
    ...pairs.map((pair) => mean(of.map((name) => ratio(name, pair))).toFixed(3)),
  ];
  printTable(
    "Ratios of times (below 1: the first is faster)",
    ["", ...pairs.map(([a, b]) => `${a} : ${b}`)],
    [
      ...names.map((name) => [name, ...pairs.map((pair) => ratio(name, pair).toFixed(2))]),
      summary("geometric mean", names),
      summary("compute only", compute),
    ],
  );
}

const mean = (values: readonly number[]): number =>
  Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
