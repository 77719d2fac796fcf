/**
 * Installs what the lock file names and node_modules lacks.
 *
 * Interface: `missingPackages(root)`, `ensureInstalled(root)`. The usual case, nothing missing, reads two files and starts no
 * process. npm's output goes to standard error: standard output belongs to the command that the user asked for.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

/**
 * @typedef {{ version?: string, link?: boolean, optional?: boolean, bin?: Record<string, string> }} LockEntry
 * @typedef {Record<string, LockEntry>} LockEntries by path from the root; "" is the root itself
 */

/** @param {string} path @returns {LockEntries | undefined} */
function lockEntries(path) {
  try {
    return JSON.parse(readFileSync(path, "utf8")).packages;
  } catch {
    return undefined;
  }
}

/**
 * Paths that package-lock.json names and that are not installed in that version. Packages for other platforms are optional,
 * and never count.
 * @param {string} root @returns {string[]}
 */
export function missingPackages(root) {
  const wanted = lockEntries(join(root, "package-lock.json"));
  if (wanted === undefined) throw new Error(`${join(root, "package-lock.json")} is missing or is not JSON`);
  const present = lockEntries(join(root, "node_modules", ".package-lock.json")) ?? {};
  return Object.entries(wanted)
    .filter(([path, entry]) => {
      if (!path.startsWith("node_modules/") || entry.optional === true) return false;
      const installed = present[path];
      return (
        installed === undefined ||
        installed.version !== entry.version ||
        (installed.link ?? false) !== (entry.link ?? false) ||
        !existsSync(join(root, path))
      );
    })
    .map(([path]) => path);
}

/** Exits with npm's status where the install fails. @param {string} root */
export function ensureInstalled(root) {
  const missing = missingPackages(root);
  if (missing.length === 0) return;
  process.stderr.write(`installing ${missing.length} packages (npm install)\n`);
  const npm = process.env["npm_execpath"];
  const [command, first] = npm === undefined ? ["npm", []] : [process.execPath, [npm]];
  const { status, error } = spawnSync(
    command,
    [...first, "install", "--no-save", "--no-audit", "--no-fund", "--loglevel=error"],
    {
      cwd: root,
      stdio: ["ignore", 2, 2],
      shell: npm === undefined && process.platform === "win32",
    },
  );
  if (error !== undefined) process.stderr.write(`cannot start npm: ${error.message}\n`);
  if (status !== 0) process.exit(status ?? 1);
}
