/** cat(1), tee(1). */
import { O, SIG } from "@alien-ts/abi";
import { closeInput, copyStream, openInput, openOutput } from "../libc/files.ts";
import type { Options } from "../libc/getopt.ts";
import type { Process } from "../libc/process.ts";
import { setSignal } from "../libc/signals.ts";
import type { Stream } from "../libc/stdio.ts";
import { forEachOperand, tool } from "../libc/tool.ts";

export const cat = tool({
  name: "cat",
  usage: "cat [-AbEensTtuv] [FILE]...",
  options: "AbEensTtuv",
  long: {
    number: "n",
    "number-nonblank": "b",
    "show-all": "A",
    "show-ends": "E",
    "show-tabs": "T",
    "squeeze-blank": "s",
    "show-nonprinting": "v",
  },
  main: async (process, { options, operands }) => {
    const writer = [..."AbEensTtv"].some((letter) => options.has(letter))
      ? new LineWriter(process, options)
      : undefined;
    return forEachOperand(process, "cat", operands.length > 0 ? operands : ["-"], async (path) => {
      const input = await openInput(process, path);
      try {
        if (writer === undefined) await copyStream(input, process.stdout);
        else await writer.copy(input);
      } finally {
        await closeInput(process, input);
      }
    });
  },
});

/** The options that look at lines. */
class LineWriter {
  readonly #process: Process;
  readonly #numbers: "none" | "all" | "nonblank";
  readonly #squeeze: boolean;
  readonly #ends: boolean;
  readonly #tabs: boolean;
  readonly #visible: boolean;
  #line = 0;
  #blank = 0;
  #atLineStart = true;

  constructor(process: Process, options: Options) {
    this.#process = process;
    const any = (...letters: readonly string[]): boolean => letters.some((letter) => options.has(letter));
    this.#numbers = any("b") ? "nonblank" : any("n") ? "all" : "none";
    this.#squeeze = any("s");
    this.#ends = any("A", "E", "e");
    this.#tabs = any("A", "T", "t");
    this.#visible = any("A", "e", "t", "v");
  }

  async copy(input: Stream): Promise<void> {
    for (let line = await input.readLine(); line !== undefined; line = await input.readLine()) {
      const hasNewline = line.endsWith("\n");
      const text = hasNewline ? line.slice(0, -1) : line;
      const isBlank = this.#atLineStart && text === "" && hasNewline;
      this.#blank = isBlank ? this.#blank + 1 : 0;
      if (this.#squeeze && this.#blank > 1) continue;
      await this.#process.stdout.write(
        this.#prefix(isBlank) + this.#show(text) + (hasNewline ? `${this.#ends ? "$" : ""}\n` : ""),
      );
      this.#atLineStart = hasNewline;
      if (input.isDrained) await this.#process.stdout.flush();
    }
  }

  #prefix(isBlank: boolean): string {
    if (!this.#atLineStart || this.#numbers === "none" || (isBlank && this.#numbers === "nonblank"))
      return "";
    this.#line += 1;
    return `${String(this.#line).padStart(6)}\t`;
  }

  #show(text: string): string {
    const tabs = this.#tabs ? text.replace(/\t/g, "^I") : text;
    if (!this.#visible) return tabs;
    return tabs.replace(/[^\t -~]/g, (char) => caret(char.charCodeAt(0)));
  }
}

/** `^A`, `M-x`, as cat -v. */
function caret(code: number): string {
  if (code >= 128) {
    const low = code - 128;
    return `M-${low < 32 || low === 127 ? caret(low) : String.fromCharCode(low)}`;
  }
  return `^${String.fromCharCode(code ^ 0x40)}`;
}

export const tee = tool({
  name: "tee",
  usage: "tee [-ai] [FILE]...",
  options: "ai",
  long: { append: "a", "ignore-interrupts": "i" },
  main: async (process, { options, operands }) => {
    if (options.has("i")) await setSignal(process, SIG.INT, "ignore");
    const outputs = [process.stdout];
    const status = await forEachOperand(process, "tee", operands, async (path) => {
      outputs.push(await openOutput(process, path, options.has("a") ? O.APPEND : O.TRUNC));
    });
    for (
      let bytes = await process.stdin.readBytes();
      bytes.length > 0;
      bytes = await process.stdin.readBytes()
    ) {
      for (const output of outputs) {
        await output.writeBytes(bytes);
        await output.flush();
      }
    }
    for (const output of outputs.slice(1)) await output.close();
    return status;
  },
});
