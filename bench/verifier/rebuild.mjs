/**
 * Rebuilds the BPF objects of the programs that the benchmark verifies: `node bench/verifier/rebuild.mjs`. Needs clang with the BPF target and
 * llvm-strip; only whoever changes a program needs them.
 */
import { execFileSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL("programs/", import.meta.url));
for (const source of readdirSync(folder).filter((name) => name.endsWith(".c"))) {
  const object = source.replace(/c$/, "o");
  const run = (/** @type {string} */ command, /** @type {string[]} */ args) =>
    execFileSync(command, args, { cwd: folder, stdio: "inherit" });
  run("clang", ["-O2", "-target", "bpf", "-mcpu=v3", "-Wall", "-c", source, "-o", object]);
  run("llvm-strip", ["-g", object]);
}
