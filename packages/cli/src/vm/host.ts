/** What `alien vm`, `asm` and `disasm` do with files and standard input. Interface: `nodeHost`, `readBytes`. */
import { createReadStream, readFileSync } from "node:fs";
import type { VmHost } from "./command.ts";
import { linesOf } from "./lines.ts";

export const nodeHost: VmHost = {
  readInput: async () => (await readBytes("-")).toString("utf8"),
  lines,
  print: (text) => void process.stdout.write(text),
  complain: (text) => void process.stderr.write(text),
};

/** The bytes of a file, "-" being standard input. */
export async function readBytes(path: string): Promise<Buffer> {
  if (path !== "-") return readFileSync(path);
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** Every line is a case, a blank one too, so that answers stand on the lines of their cases. */
function lines(path: string): AsyncIterable<readonly (string | undefined)[]> {
  return linesOf(path === "-" ? process.stdin : createReadStream(path));
}
