/**
 * The verifier on larger programs: instructions that it walks per second, what a load of a thousand instructions costs, memory at
 * the limit of one million. The programs are the C sources in `verifier/programs/`, compiled by `verifier/rebuild.mjs`.
 *
 * The best of several rounds counts, after rounds that warm up; "first" is a program that this process has not seen, in cold code.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { asm, program } from "@alien-ts/bpf-isa";
import type { Insn } from "@alien-ts/bpf-isa";
import { PRIVILEGED, linuxHelper, linuxProgramType, verifyProgram } from "@alien-ts/bpf-verifier";
import type { ProgramEnv, Verdict } from "@alien-ts/bpf-verifier";
import { EBADF } from "@alien-ts/abi";
import { linkProgram, parseObject } from "aya-ts";
import { printTable } from "./measure.ts";

const ROUNDS = Number(process.env["ALIEN_BENCH_ROUNDS"] ?? 7);
const NAMES = ["straight", "headers", "tokens", "turns", "calls"] as const;
const WARM_MS = 800;
const CLASSIFIER = 3;

export function benchVerifier(root: string): void {
  const folder = join(root, "bench", "verifier", "programs");
  const programs: readonly (readonly [string, readonly Insn[]])[] = [
    ...NAMES.map((name) => [name, read(join(folder, `${name}.o`))] as const),
    ["endless", ENDLESS],
  ];
  const rows = programs.map(([name, insns]) => {
    const first = timed(insns);
    const best = Math.min(...roundsOf(insns));
    const { processed } = first.verdict;
    return [
      name,
      String(insns.length),
      first.verdict.ok ? "accepted" : `refused (${first.verdict.errno.number})`,
      String(processed),
      first.ms.toFixed(1),
      best.toFixed(1),
      (processed / best).toFixed(0),
      heapMegabytes(insns).toFixed(0),
    ];
  });
  printTable(
    "The verifier",
    ["program", "insns", "verdict", "walked", "first ms", "best ms", "walked/ms", "heap MB"],
    rows,
  );
}

/** Short programs are walked for longer, until their code is as warm as in a process that loads many. */
function roundsOf(insns: readonly Insn[]): number[] {
  const times: number[] = [];
  let spent = 0;
  while (times.length < ROUNDS || spent < WARM_MS) {
    const { ms } = timed(insns);
    times.push(ms);
    spent += ms;
  }
  return times;
}

function read(path: string): readonly Insn[] {
  const spec = parseObject(readFileSync(path));
  const [first] = spec.programs.values();
  if (first === undefined) throw new Error(`${path} has no program`);
  return linkProgram(spec, first.function, () => -1).insns;
}

/** A loop that the verifier walks until it has had enough: one million instructions. */
const ENDLESS = program(
  asm.movImm(6, 0),
  asm.call(7),
  asm.movReg(7, 0),
  asm.aluImm("and", 7, 63),
  asm.storeReg(8, 10, -8, 7),
  asm.aluImm("add", 6, 1),
  asm.jumpImm("jne", 6, 0x7fff_0000, -6),
  asm.movImm(0, 0),
  asm.exit(),
);

function timed(insns: readonly Insn[]): { readonly ms: number; readonly verdict: Verdict } {
  const env = environment(insns);
  const start = performance.now();
  const verdict = verifyProgram(env);
  return { ms: performance.now() - start, verdict };
}

/** Growth of the heap over one verification, as far as it is seen without a collection in between. */
function heapMegabytes(insns: readonly Insn[]): number {
  const before = process.memoryUsage().heapUsed;
  let most = before;
  let count = 0;
  verifyProgram({
    ...environment(insns),
    observer: {
      before: () => {
        if ((count += 1) % 1000 === 0) most = Math.max(most, process.memoryUsage().heapUsed);
      },
    },
  });
  return (most - before) / 2 ** 20;
}

function environment(insns: readonly Insn[]): ProgramEnv {
  return {
    insns,
    programType: linuxProgramType(CLASSIFIER, 0)!,
    helper: linuxHelper,
    map: () => EBADF,
    addressHigh: 0xffff_8881,
    license: "GPL",
    privileges: PRIVILEGED,
    log: { level: 0 },
    kernelBtf: undefined,
    program: undefined,
    attach: undefined,
    isSleepable: false,
    isStrictAlignment: false,
    isAnyAlignment: false,
    isStateFrequent: false,
    hasFragments: false,
    cpus: 2,
  };
}
