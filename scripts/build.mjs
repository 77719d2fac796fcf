/**
 * The two-pass link of the `alien` bundle.
 *
 * The kernel's image holds the table of its own symbols. Pass 1 bundles with an empty table and lists the symbols of the image
 * (what `nm -n` prints); ksym-gen makes the compressed table of the list, as a module that the next pass bundles and as a
 * listing in assembly. The table's size moves what follows it, so passes go on until the table is that of the image, three at
 * most. The names may not change between passes: where they do, the build fails with "inconsistent kallsyms data".
 *
 * Interface: `build({ root, out, plugins })`; as a command, `node scripts/build.mjs [FOLDER]`. Writes alien.mjs,
 * thread.cjs, chunks/, worker.cjs with its code cache, System.map, kallsyms.ts, kallsyms.S.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import * as esbuild from "esbuild";
import { ROOT } from "./support/root.mjs";

/** Passes at most after the one with the empty table, as in Linux's link-vmlinux.sh. */
const PASSES = 3;
/** What the first pass links in: a table of no bytes. @type {Generated} */
const NO_TABLE = {
  blob: new Uint8Array(0),
  moduleSource: "export const kallsyms = new Uint8Array(0);\n",
  assembly: "",
};
const SOURCE_CONDITION = "@alien-ts/source";

/**
 * @typedef {object} BuildOptions
 * @property {string} root the checkout
 * @property {string} out the folder to write to
 * @property {(pass: number) => esbuild.Plugin[]} [plugins] more plugins for a pass, counted from 1
 */

/** @param {BuildOptions} options @returns {Promise<void>} */
export async function build({ root, out, plugins = () => [] }) {
  mkdirSync(out, { recursive: true });
  const linker = await bundleLinker(root, out);
  const tablePath = join(out, "kallsyms.ts");
  let { blob, moduleSource, assembly } = NO_TABLE;
  let listed = "";
  for (let pass = 1; ; pass++) {
    writeFileSync(tablePath, moduleSource);
    await bundleAlien({ root, out, tablePath, plugins: plugins(pass) });
    const map = listSymbols(out);
    if (pass > 1) {
      const problem = inconsistency(linker, listed, map, pass);
      if (problem !== undefined) throw new Error(`inconsistent kallsyms data: ${problem}`);
      if (map === listed) break;
    }
    listed = map;
    ({ blob, moduleSource, assembly } = linker.generate(map, { atLeast: blob.length }));
  }
  await bundleWorker({ root, out, tablePath });
  writeFileSync(join(out, "System.map"), listed);
  writeFileSync(join(out, "kallsyms.S"), assembly);
}

/**
 * What a further pass cannot mend: symbols that came or went, or addresses that do not come to rest.
 * @param {Linker} linker @param {string} listed @param {string} map @param {number} pass @returns {string | undefined}
 */
function inconsistency(linker, listed, map, pass) {
  if (map === listed) return undefined;
  const names = (/** @type {string} */ text) =>
    linker.parseNm(text).symbols.map(({ type, name }) => `${type} ${name}`);
  const [before, after] = [new Set(names(listed)), new Set(names(map))];
  const added = [...after].filter((name) => !before.has(name));
  const removed = [...before].filter((name) => !after.has(name));
  const changes = [
    ...added.map((name) => `${name} is not in the table`),
    ...removed.map((name) => `${name} is not in the image`),
  ];
  if (changes.length > 0) return changes.slice(0, 8).join("; ");
  return pass > PASSES ? `addresses still move after ${pass} passes` : undefined;
}

/** The symbols of the image that the bundle links with the table it holds. @param {string} out @returns {string} */
function listSymbols(out) {
  return execFileSync(process.execPath, [join(out, "alien.mjs"), "system-map"], {
    encoding: "utf8",
    maxBuffer: 1 << 28,
    stdio: ["ignore", "pipe", "inherit"],
  });
}

/**
 * What all bundles share. The banner is the first line that runs: what the boot time is counted from.
 * @type {esbuild.BuildOptions}
 */
const COMMON = {
  bundle: true,
  platform: "node",
  target: "node20",
  conditions: [SOURCE_CONDITION],
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: "none",
  logLevel: "warning",
  banner: { js: "globalThis.alienStartedNs??=process.hrtime.bigint();" },
};

/** @param {{ root: string, out: string, tablePath: string, plugins: esbuild.Plugin[] }} options */
async function bundleAlien({ root, out, tablePath, plugins }) {
  rmSync(join(out, "chunks"), { recursive: true, force: true });
  await esbuild.build({
    ...COMMON,
    absWorkingDir: root,
    entryPoints: { alien: "packages/cli/src/main.ts" },
    outdir: out,
    outExtension: { ".js": ".mjs" },
    chunkNames: "chunks/[name]-[hash]",
    splitting: true,
    format: "esm",
    plugins: [tablePlugin(tablePath), ...plugins],
  });
}

/**
 * The kernel's thread as one function expression, and its code cache.
 * @param {{ root: string, out: string, tablePath: string }} options
 */
async function bundleWorker({ root, out, tablePath }) {
  await esbuild.build({
    ...COMMON,
    absWorkingDir: root,
    entryPoints: ["packages/cli/src/boot/thread.ts"],
    outfile: join(out, "thread.cjs"),
    format: "cjs",
  });
  const bundle = join(out, "worker.cjs");
  await esbuild.build({
    ...COMMON,
    absWorkingDir: root,
    entryPoints: ["packages/cli/src/boot/worker.ts"],
    outfile: bundle,
    format: "cjs",
    banner: { js: "(function(require,module){" },
    footer: { js: "})" },
    plugins: [tablePlugin(tablePath)],
  });
  const maker = fileURLToPath(new URL("support/code-cache.mjs", import.meta.url));
  execFileSync(process.execPath, [maker, bundle, join(out, "worker.cache")], {
    stdio: ["ignore", "ignore", "inherit"],
  });
}

/** Puts the generated table where the source says that there is none. @param {string} tablePath @returns {esbuild.Plugin} */
const tablePlugin = (tablePath) => ({
  name: "kallsyms",
  setup(bundler) {
    bundler.onResolve({ filter: /\/kallsyms\.ts$/ }, ({ importer }) =>
      /packages[\\/]cli[\\/]src[\\/]/.test(importer) ? { path: tablePath } : undefined,
    );
  },
});

/**
 * @typedef {{ blob: Uint8Array, moduleSource: string, assembly: string }} Generated
 * @typedef {object} Linker
 * @property {(nm: string, options?: { atLeast?: number }) => Generated} generate
 * @property {(nm: string) => { symbols: { name: string, type: string, address: number }[] }} parseNm
 */

/** ksym-gen, bundled from source: a fresh clone has nothing compiled. @param {string} root @param {string} out @returns {Promise<Linker>} */
async function bundleLinker(root, out) {
  const outfile = join(out, "ksym-gen.mjs");
  await esbuild.build({
    absWorkingDir: root,
    entryPoints: ["tools/ksym-gen/src/index.ts"],
    outfile,
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node20",
    conditions: [SOURCE_CONDITION],
    logLevel: "warning",
  });
  return import(`${pathToFileURL(outfile).href}?${readFileSync(outfile).length}`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    await build({ root: ROOT, out: process.argv[2] ?? join(ROOT, "build", "bundle") });
  } catch (error) {
    process.stderr.write(`build failed: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}
