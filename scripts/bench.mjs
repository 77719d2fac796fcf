/** `npm run bench [NAME]`: builds what is stale, bundles bench/ and runs it. Exit status 2 for an unknown name. */
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { ensureBundle } from "./support/alien.mjs";
import { ensureInstalled } from "./support/install.mjs";
import { ROOT } from "./support/root.mjs";

ensureInstalled(ROOT);
const bundle = await ensureBundle(ROOT);
const { build } = await import("esbuild");
const outfile = join(ROOT, "build", "bench.mjs");
await build({
  absWorkingDir: ROOT,
  entryPoints: ["bench/main.ts"],
  outfile,
  bundle: true,
  format: "esm",
  platform: "node",
  target: "node20",
  conditions: ["@alien-ts/source"],
  logLevel: "warning",
});
const { runBenchmarks } = await import(pathToFileURL(outfile).href);
process.exitCode = (await runBenchmarks(process.argv[2], ROOT, bundle)) ? 0 : 2;
