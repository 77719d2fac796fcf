/**
 * The first script of the kernel's thread: loads the bundle of worker.ts with V8's code cache, which the build makes beside it.
 * A kernel is a megabyte of source; compiled anew it costs half of the boot time (bench/boot.ts).
 *
 * The bundle is one function expression, so that it can be a `vm.Script`. Where the cache is missing, or from another version of
 * V8, everything works and is compiled.
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { Script } from "node:vm";

type Bundle = (require: NodeJS.Require, module: { exports: unknown }) => void;

const filename = fileURLToPath(new URL("./worker.cjs", import.meta.url));

function readCache(): Buffer | undefined {
  try {
    return readFileSync(new URL("./worker.cache", import.meta.url));
  } catch {
    return undefined;
  }
}

const cachedData = readCache();
const script = new Script(readFileSync(filename, "utf8"), {
  filename,
  ...(cachedData === undefined ? {} : { cachedData }),
});
(script.runInThisContext() as Bundle)(createRequire(filename), { exports: {} });
