/** What `alien vm`, `asm` and `disasm` do with files and standard input. Interface: `nodeHost`, `readBytes`. */
import { createReadStream, readFileSync } from "node:fs";
import type { Readable } from "node:stream";
import { createInterface } from "node:readline";
import { createGunzip } from "node:zlib";
import type { VmHost } from "./command.ts";

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
async function* lines(path: string): AsyncIterable<string> {
  const file: Readable = path === "-" ? process.stdin : createReadStream(path);
  const input: Readable = path.endsWith(".gz") ? file.pipe(createGunzip()) : file;
  const failed = new Promise<never>((_, reject) => {
    file.on("error", reject);
    input.on("error", reject);
  });
  // The loop below sees the failure; until then nobody waits for it.
  failed.catch(() => undefined);
  const reader = createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })[Symbol.asyncIterator]();
  for (;;) {
    const next = await Promise.race([reader.next(), failed]);
    if (next.done === true) return;
    yield next.value;
  }
}
