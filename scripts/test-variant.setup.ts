/**
 * Runs before each test file: tells the kernels that tests boot which layout and how many CPUs to have, when the run asks for it
 * by the environment variable ALIEN_VARIANT, "LAYOUT-SEED,CPUS" (a seed of 0 is the natural layout).
 */
import process from "node:process";

const [layoutSeed, cpus] = (process.env["ALIEN_VARIANT"] ?? "").split(",").map(Number);

if (layoutSeed !== undefined && cpus !== undefined && cpus > 0)
  Object.assign(globalThis, { alienTestVariant: { layoutSeed, cpus } });
