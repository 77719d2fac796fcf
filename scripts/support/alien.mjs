/**
 * Runs the `alien` command from the checkout: builds the bundle where its sources changed, then loads it into this process.
 *
 * Interface: `ensureBundle(root)`, `runAlien(args)`. The warm path compares a stamp and starts no process.
 */
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { readStamp, sourceStamp, writeStamp } from "./stamp.mjs";
import { ROOT } from "./root.mjs";

/** Path of the bundle, which is up to date afterwards. @param {string} root @returns {Promise<string>} */
export async function ensureBundle(root) {
  const out = join(root, "build");
  const stampPath = join(out, "stamp");
  const stamp = sourceStamp(root);
  if (readStamp(stampPath) !== stamp) {
    const { build } = await import("../build.mjs");
    await build({ root, out });
    writeStamp(stampPath, stamp);
  }
  return join(out, "alien.mjs");
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
