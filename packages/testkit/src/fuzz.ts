/**
 * What a random suite is: the shape that `npm run fuzz` finds and runs. A suite lives in a file `*fuzz*.ts` of its package
 * (src/ or test/) and exports one object of this shape. `AsyncFuzzSuite` is for what runs programs of a whole machine.
 *
 * A run depends on its seed alone. A failure is a text that says how to see it again. `mutations` plant a bug each, which the
 * suite must find: a test runs them, so that a suite that has gone blind fails.
 */

export interface FuzzOptions {
  readonly runs: number;
  readonly seed: number;
}

export interface FuzzReport {
  readonly runs: number;
  readonly seed: number;
  /** One text per failed run; a suite may stop after some. */
  readonly failures: readonly string[];
  /** What was reached, and how often: an operation and how it ended, an instruction and its outcome. */
  readonly branches: ReadonlyMap<string, number>;
}

/** A bug as a change of source: what stands once in `file`, and what stands there instead. */
export interface PlantedBug {
  /** What is wrong then. */
  readonly bug: string;
  /** Its path from the root of the project. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

export interface FuzzSuite {
  readonly name: string;
  run(options: FuzzOptions): FuzzReport;
  /** By what is wrong. The report of each must have failures. */
  readonly mutations: ReadonlyMap<string, (options: FuzzOptions) => FuzzReport>;
  /** Bugs that `npm run fuzz -- SUITE --planted` builds the suite with: it must find each. */
  readonly planted?: readonly PlantedBug[];
}

export interface AsyncFuzzSuite {
  readonly name: string;
  run(options: FuzzOptions): Promise<FuzzReport>;
  readonly mutations: ReadonlyMap<string, (options: FuzzOptions) => Promise<FuzzReport>>;
  readonly planted?: readonly PlantedBug[];
}
