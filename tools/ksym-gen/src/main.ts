/** The ksym-gen command: connects `run` to the files and streams of Node. */
import { readFileSync, writeFileSync } from "node:fs";
import { run } from "./run.ts";

const STANDARD_INPUT = 0;

const { status, stdout, stderr, files } = run(process.argv.slice(2), {
  text: (path) => readFileSync(path ?? STANDARD_INPUT, "utf8"),
  bytes: (path) => readFileSync(path),
});
process.stdout.write(stdout);
process.stderr.write(stderr);
process.exitCode = status;
for (const [path, contents] of files) {
  try {
    writeFileSync(path, contents);
  } catch (error) {
    process.stderr.write(`ksym-gen: ${path}: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 2;
  }
}
