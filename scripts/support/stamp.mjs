/**
 * What a bundle was made of: a stamp, which is a hash of the sources' paths, sizes and times. A bundle is named by it.
 *
 * Interface: `sourceStamp(root)`. Takes about 10 ms for a thousand files: no file is read.
 */
import { createHash } from "node:crypto";
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";

/** Folders of workspaces, each with sources in `src` and a package.json. */
const WORKSPACES = ["packages", "tools", "examples"];
/** Other files that decide what is built. */
const OTHERS = ["package-lock.json", "scripts/build.mjs", "scripts/support/stamp.mjs"];

const isSource = (/** @type {string} */ name) => !/\.test(-d)?\.ts$/.test(name);

/**
 * The stamp of everything that the bundle is made of.
 * @param {string} root @returns {string}
 */
export function sourceStamp(root) {
  const hash = createHash("sha256");
  const add = (/** @type {string} */ path) => {
    const { size, mtimeMs } = statSync(join(root, path));
    hash.update(`${path}\0${size}\0${mtimeMs}\0`);
  };
  for (const path of OTHERS) add(path);
  for (const folder of WORKSPACES) {
    for (const name of list(join(root, folder))) {
      const workspace = `${folder}/${name}`;
      if (!exists(join(root, workspace, "package.json"))) continue;
      add(`${workspace}/package.json`);
      for (const file of sources(root, `${workspace}/src`)) add(file);
    }
  }
  hash.update(process.version);
  return hash.digest("hex");
}

/** @param {string} root @param {string} folder @returns {Generator<string>} */
function* sources(root, folder) {
  const entries = readdirSync(join(root, folder), { withFileTypes: true });
  entries.sort((a, b) => (a.name < b.name ? -1 : 1));
  for (const entry of entries) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) yield* sources(root, path);
    else if (isSource(entry.name)) yield path;
  }
}

/** @param {string} path @returns {string[]} */
function list(path) {
  return exists(path) ? readdirSync(path).sort() : [];
}

/** @param {string} path */
const exists = (path) => statSync(path, { throwIfNoEntry: false }) !== undefined;
