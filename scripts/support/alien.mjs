/**
 * Runs the `alien` command from the checkout: builds the bundle where its sources changed, then loads it into this process.
 *
 * Interface: `ensureBundle(root)`, `runAlien(args)`. The warm path compares a stamp and starts no process.
 */
import { existsSync, readdirSync, renameSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { ROOT } from "./root.mjs";
import { sourceStamp } from "./stamp.mjs";

/** Bundles that no build has touched for so long are removed: none that still runs needs to load more of itself. */
const KEEP_MS = 3_600_000;
const STAMP_DIGITS = 16;

/**
 * Path of the bundle of the present sources. Each bundle has a folder, named by the stamp of its sources and put there whole,
 * so that builds may run at the same time, and a running bundle never changes.
 * @param {string} root @returns {Promise<string>}
 */
export async function ensureBundle(root) {
  const builds = join(root, "build", "alien");
  const folder = join(builds, sourceStamp(root).slice(0, STAMP_DIGITS));
  const bundle = join(folder, "alien.mjs");
  if (existsSync(bundle)) return bundle;
  const { build } = await import("../build.mjs");
  const unfinished = join(builds, `unfinished-${process.pid}`);
  try {
    await build({ root, out: unfinished });
    if (!existsSync(folder)) renameSync(unfinished, folder);
  } finally {
    rmSync(unfinished, { recursive: true, force: true });
  }
  removeOld(builds, folder);
  return bundle;
}

/** @param {string} builds @param {string} current */
function removeOld(builds, current) {
  for (const name of readdirSync(builds)) {
    const folder = join(builds, name);
    const ageMs = Date.now() - (statSync(folder, { throwIfNoEntry: false })?.mtimeMs ?? 0);
    if (folder !== current && ageMs > KEEP_MS) rmSync(folder, { recursive: true, force: true });
  }
}

/** Exits with status 1 where the build fails. @param {readonly string[]} args */
export async function runAlien(args) {
  let bundle;
  try {
    bundle = await ensureBundle(ROOT);
  } catch (error) {
    process.stderr.write(`build failed: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(1);
  }
  process.argv = [process.execPath, bundle, ...args];
  await import(pathToFileURL(bundle).href);
}
