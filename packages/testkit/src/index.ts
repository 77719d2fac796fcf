/** What the project's own tests share: seeded random numbers, the shape of random suites. */
export type { AsyncFuzzSuite, FuzzOptions, FuzzReport, FuzzSuite, PlantedBug } from "./fuzz.ts";
export { fuzzRuns, type FuzzRun, missedMutations, type Reach, subjectSuite } from "./fuzz-runs.ts";
export { Prng } from "./prng.ts";
export { Sha256 } from "./sha256.ts";
export { type HelperProbe, helperProbes } from "./helper-probes.ts";
