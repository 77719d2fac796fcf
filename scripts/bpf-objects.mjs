/**
 * Rebuilds the BPF objects of the demo programs: every `*.bpf.c` of packages/userland/src/apps/bpf becomes a `.bpf.o` beside it
 * and a module with the same bytes, which bundles include. Needs clang with the BPF target, and llvm-strip; only whoever
 * changes a source needs them.
 */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL("../packages/userland/src/apps/bpf/", import.meta.url));

for (const name of readdirSync(folder).filter((file) => file.endsWith(".bpf.c"))) {
  const base = name.slice(0, -".bpf.c".length);
  const object = `${base}.bpf.o`;
  // The map keeps the path of this checkout out of the line information.
  const options = ["-g", "-O2", `-ffile-prefix-map=${resolve(folder)}=.`, "-target", "bpf", "-mcpu=v2"];
  execFileSync("clang", [...options, "-c", name, "-o", object], { cwd: folder, stdio: "inherit" });
  execFileSync("llvm-strip", ["-g", object], { cwd: folder, stdio: "inherit" });
  writeFileSync(
    join(folder, `${base.replaceAll("_", "-")}.object.ts`),
    moduleOf(name, readFileSync(join(folder, object))),
  );
  console.log(object);
}

/** @param {string} source @param {Buffer} bytes */
function moduleOf(source, bytes) {
  const lines = bytes.toString("base64").match(/.{1,100}/g) ?? [];
  return (
    `/** The bytes of ${source.replace(/c$/, "o")}, generated from it by \`npm run bpf-objects\`: base64. */\n` +
    `export const object =\n${lines.map((line) => `  "${line}"`).join(" +\n")};\n`
  );
}
