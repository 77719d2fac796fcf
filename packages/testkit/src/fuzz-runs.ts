/**
 * The loop of a random suite: `fuzzRuns(options, run)`. Each run has a generator of its own, seeded with `seed` plus its number,
 * so that a failure is seen again with `--runs 1 --seed` and the seed that it names.
 */
import type { AsyncFuzzSuite, FuzzOptions, FuzzReport, FuzzSuite } from "./fuzz.ts";
import { Prng } from "./prng.ts";

/** Counts what a run reaches. */
export type Reach = (branch: string) => void;

/** One run: what went wrong, or undefined. A throw is a failure too. */
export type FuzzRun = (random: Prng, reach: Reach) => string | undefined;

/** A suite stops here: the rest would say the same. */
const MOST_FAILURES = 10;

export function fuzzRuns({ runs, seed }: FuzzOptions, run: FuzzRun): FuzzReport {
  const failures: string[] = [];
  const branches = new Map<string, number>();
  const reach: Reach = (branch) => void branches.set(branch, (branches.get(branch) ?? 0) + 1);
  for (let i = 0; i < runs && failures.length < MOST_FAILURES; i++) {
    const failure = attempt(() => run(new Prng(seed + i), reach));
    if (failure !== undefined) failures.push(`seed ${seed + i}: ${failure}`);
  }
  return { runs, seed, failures, branches };
}

function attempt(run: () => string | undefined): string | undefined {
  try {
    return run();
  } catch (error) {
    return error instanceof Error ? (error.stack ?? error.message) : String(error);
  }
}

/** A suite over a subject; a planted bug is a subject that is wrong. */
export function subjectSuite<S>(
  name: string,
  subject: S,
  bugs: Readonly<Record<string, S>>,
  run: (subject: S, random: Prng, reach: Reach) => string | undefined,
): FuzzSuite {
  const runWith =
    (one: S) =>
    (options: FuzzOptions): FuzzReport =>
      fuzzRuns(options, (random, reach) => run(one, random, reach));
  return {
    name,
    run: runWith(subject),
    mutations: new Map(Object.entries(bugs).map(([bug, wrong]) => [bug, runWith(wrong)])),
  };
}

/** The planted bugs that a suite does not find; none should be left. */
export async function missedMutations(
  suite: FuzzSuite | AsyncFuzzSuite,
  options: FuzzOptions,
): Promise<string[]> {
  const missed: string[] = [];
  for (const [bug, run] of suite.mutations) if ((await run(options)).failures.length === 0) missed.push(bug);
  return missed;
}
