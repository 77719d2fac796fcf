/** `npm run bench [NAME]`: all benchmarks, or one. Each prints tables with its baseline in the same run. */
import { benchBoot } from "./boot.ts";
import { benchBpf } from "./bpf.ts";
import { benchGate } from "./gate.ts";
import { benchSyscall } from "./syscall.ts";
import { benchVerifier } from "./verifier.ts";
import { benchVm } from "./vm.ts";

/** Each gets the checkout, and the built command. */
const BENCHMARKS: Record<string, (root: string, bundle: string) => void | Promise<void>> = {
  gate: benchGate,
  bpf: benchBpf,
  syscall: benchSyscall,
  boot: benchBoot,
  vm: benchVm,
  verifier: benchVerifier,
};

/** Runs the benchmark called `name`, or all; false when there is none. */
export async function runBenchmarks(
  name: string | undefined,
  root: string,
  bundle: string,
): Promise<boolean> {
  const chosen = Object.entries(BENCHMARKS).filter(([candidate]) => name === undefined || candidate === name);
  if (chosen.length === 0) {
    process.stderr.write(
      `bench: no benchmark is called ${name}; there are ${Object.keys(BENCHMARKS).join(", ")}\n`,
    );
    return false;
  }
  for (const [, benchmark] of chosen) await benchmark(root, bundle);
  return true;
}
