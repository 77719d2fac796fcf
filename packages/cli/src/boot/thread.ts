/**
 * The first script of the kernel's thread: loads the bundle of worker.ts with V8's code cache, which the build makes beside it.
 * A kernel is a megabyte of source; compiled anew it costs half of the boot time (bench/boot.ts).
 *
 * This script is CommonJS: a worker whose first script is an ES module loads the loader of those first, which takes longer than
 * the rest. The bundle is one function expression, so that it can be a `vm.Script`. Where the cache is missing, or from another version of
 * V8, everything works and is compiled.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Script } from "node:vm";

type Bundle = (require: NodeJS.Require, module: { exports: unknown }) => void;

const filename = join(__dirname, "worker.cjs");

function readCache(): Buffer | undefined {
  try {
    return readFileSync(join(__dirname, "worker.cache"));
  } catch {
    return undefined;
  }
}

const cachedData = readCache();
// The bundle is ASCII, which latin1 reads without decoding.
const script = new Script(readFileSync(filename, "latin1"), {
  filename,
  ...(cachedData === undefined ? {} : { cachedData }),
});
(script.runInThisContext() as Bundle)(require, { exports: {} });
