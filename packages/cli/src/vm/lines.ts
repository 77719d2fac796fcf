/**
 * Lines of a stream of bytes, decompressed where it begins as gzip does. Interface: `linesOf`.
 *
 * Only "\n" and "\r\n" end a line: what else some readers take for an end may stand within JSON. Lines come in the groups in which
 * their bytes arrived, so that a reader can answer all it was sent before it waits for more, or before the stream fails.
 */
import { pipeline, Readable } from "node:stream";
import { createGunzip } from "node:zlib";

/** Far more than a line with the largest program and the largest memory, and a fourth of the host's longest string. */
export const LONGEST_LINE = 128 * 1024 * 1024;

/** Undefined stands for a line of more than `longest` characters. Throws what reading or decompressing `input` fails with. */
export async function* linesOf(
  input: AsyncIterable<Uint8Array>,
  longest = LONGEST_LINE,
): AsyncGenerator<readonly (string | undefined)[]> {
  const splitter = new LineSplitter(longest);
  for await (const chunk of decompressed(input)) yield splitter.add(chunk);
  yield splitter.end();
}

async function* decompressed(input: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const chunks = input[Symbol.asyncIterator]();
  let start: Uint8Array = new Uint8Array(0);
  while (start.length < 2) {
    const next = await chunks.next();
    if (next.done === true) break;
    start = Buffer.concat([start, next.value]);
  }
  async function* all(): AsyncGenerator<Uint8Array> {
    yield start;
    for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) yield next.value;
  }
  if (start[0] !== 0x1f || start[1] !== 0x8b) yield* all();
  // A failure ends the stream that is read, which throws it.
  else yield* pipeline(Readable.from(all()), createGunzip(), () => undefined) as AsyncIterable<Uint8Array>;
}

class LineSplitter {
  private readonly longest: number;
  private readonly decoder = new TextDecoder();
  private line: string | undefined = "";

  constructor(longest: number) {
    this.longest = longest;
  }

  /** The lines that end in `chunk`. */
  add(chunk: Uint8Array): (string | undefined)[] {
    return this.split(this.decoder.decode(chunk, { stream: true }));
  }

  /** What is left, a line without an end. */
  end(): (string | undefined)[] {
    const lines = this.split(this.decoder.decode());
    return this.line === "" ? lines : [...lines, this.take("")];
  }

  private split(text: string): (string | undefined)[] {
    const parts = text.split("\n");
    const rest = parts.pop()!;
    const lines = parts.map((part) => this.take(part));
    this.append(rest);
    return lines;
  }

  private take(part: string): string | undefined {
    this.append(part);
    const { line } = this;
    this.line = "";
    return line?.endsWith("\r") === true ? line.slice(0, -1) : line;
  }

  private append(part: string): void {
    if (this.line === undefined || this.line.length + part.length > this.longest) this.line = undefined;
    else this.line += part;
  }
}
