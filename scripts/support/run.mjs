/** Starts the tools of node_modules, without npx. Interface: `binary`, `run`. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { ROOT } from "./root.mjs";

/** Path of an installed command. @param {string} name @returns {string} */
export const binary = (name) =>
  join(ROOT, "node_modules", ".bin", process.platform === "win32" ? `${name}.cmd` : name);

/**
 * Runs an installed command in the checkout to its end.
 * @param {string} name @param {readonly string[]} args
 * @param {Readonly<Record<string, string>>} [variables] of the environment, beside those of this process
 * @returns {{ status: number, output: string }}
 */
export function run(name, args, variables = {}) {
  const { status, stdout, stderr, error } = spawnSync(binary(name), args, {
    cwd: ROOT,
    encoding: "utf8",
    maxBuffer: 1 << 28,
    shell: process.platform === "win32",
    env: { ...process.env, TURBO_TELEMETRY_DISABLED: "1", DO_NOT_TRACK: "1", ...variables },
  });
  if (error !== undefined) return { status: 1, output: `cannot start ${name}: ${error.message}\n` };
  return { status: status ?? 1, output: `${stdout}${stderr}` };
}
