/**
 * Makes the code cache of a bundle of the kernel's thread: `node code-cache.mjs worker.cjs worker.cache`. The bundle boots a
 * machine, and what V8 has compiled then is written. Run by build.mjs in a process of its own.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { Script } from "node:vm";

const [bundle, cache] = process.argv.slice(2);
if (bundle === undefined || cache === undefined) throw new Error("expected a bundle and the file to write");
const script = new Script(readFileSync(bundle, "utf8"), { filename: bundle });
/** @type {{ exports: { warmUp?: () => Promise<void> } }} */
const module = { exports: {} };
script.runInThisContext()(createRequire(bundle), module);
if (module.exports.warmUp === undefined) throw new Error(`${bundle} exports no warmUp`);
await module.exports.warmUp();
writeFileSync(cache, script.createCachedData());
