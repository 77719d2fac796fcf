/**
 * Line editing on a terminal: emacs keys, history, incremental search, completion.
 *
 * The terminal is raw only while a line is read. What is shown is prompt + line; `#paint` draws it again from the first
 * row, knowing the width, so that long lines wrap. Where input is no terminal, a line is read as it comes.
 */
import { EINTR, IFLAG, LFLAG, NR, OFLAG, type UAddr, VCC } from "@alien-ts/abi";
import { failed } from "../libc/errors.ts";
import type { Process } from "../libc/process.ts";
import { type Termios, getTermios, setTermios, windowSize } from "../libc/terminal.ts";
import { widthOf } from "../libc/text.ts";
import { complete } from "./completion.ts";
import { InterruptControl } from "./control.ts";
import type { Shell } from "./shell.ts";

/** What a key does to the line: goes on, ends it with a result, or gives it up. */
type Outcome = "more" | "accept" | "end" | "interrupt";

const ESCAPE_KEYS: Readonly<Record<string, string>> = {
  "[A": "up",
  "[B": "down",
  "[C": "right",
  "[D": "left",
  "[H": "home",
  "[F": "end",
  OA: "up",
  OB: "down",
  OC: "right",
  OD: "left",
  OH: "home",
  OF: "end",
  "[1~": "home",
  "[4~": "end",
  "[7~": "home",
  "[8~": "end",
  "[3~": "delete",
  "[1;5C": "word-right",
  "[1;5D": "word-left",
  b: "word-left",
  f: "word-right",
  d: "kill-word",
  "\x7f": "rubout-word",
};

const CONTROL_KEYS: Readonly<Record<string, string>> = {
  "\x01": "home",
  "\x02": "left",
  "\x04": "delete-or-end",
  "\x05": "end",
  "\x06": "right",
  "\b": "rubout",
  "\t": "complete",
  "\n": "accept",
  "\x0b": "kill-end",
  "\x0c": "clear",
  "\r": "accept",
  "\x0e": "down",
  "\x10": "up",
  "\x12": "search",
  "\x14": "transpose",
  "\x15": "kill-start",
  "\x17": "rubout-word",
  "\x19": "yank",
  "\x7f": "rubout",
  "\x03": "interrupt",
};

export class LineEditor {
  readonly #shell: Shell;
  readonly #process: Process;
  #prompt = "";
  #line = "";
  #cursor = 0;
  /** Row of the cursor below the first row of the prompt, as it was painted last. */
  #row = 0;
  #historyAt = 0;
  #draft = "";
  #killed = "";
  /** A byte of user memory to read keys into. */
  #buffer: UAddr = 0;
  #tabs = 0;

  constructor(shell: Shell) {
    this.#shell = shell;
    this.#process = shell.process;
  }

  /** Adds an entry to the history, unless it is empty or the last one again. */
  remember(entry: string): void {
    const { history } = this.#shell;
    if (entry !== "" && history.at(-1) !== entry) history.push(entry);
  }

  /** One line without its newline; undefined at the end of the input. Ctrl-C throws `InterruptControl`. */
  async readLine(prompt: string): Promise<string | undefined> {
    const modes = await getTermios(this.#process, 0);
    if (modes === undefined) return this.#readPlain(prompt);
    await setTermios(this.#process, 0, rawModes(modes));
    try {
      return await this.#edit(prompt);
    } finally {
      await setTermios(this.#process, 0, modes);
    }
  }

  async #readPlain(prompt: string): Promise<string | undefined> {
    await this.#write(prompt);
    const line = await this.#process.stdin.readLine();
    return line?.replace(/\n$/, "");
  }

  async #edit(prompt: string): Promise<string | undefined> {
    this.#prompt = prompt;
    this.#line = "";
    this.#cursor = 0;
    this.#row = 0;
    this.#historyAt = this.#shell.history.length;
    await this.#paint();
    for (;;) {
      const key = await this.#readKey();
      if (key === undefined) return undefined;
      const outcome = await this.#press(key);
      if (outcome === "more") continue;
      if (outcome === "interrupt") throw new InterruptControl(true);
      this.#cursor = this.#line.length;
      await this.#paint();
      await this.#write("\r\n");
      return outcome === "end" ? undefined : this.#line;
    }
  }

  /** A key's name, or the character itself. */
  async #readKey(): Promise<string | undefined> {
    const char = await this.#readChar();
    if (char === undefined) return undefined;
    if (char !== "\x1b") return CONTROL_KEYS[char] ?? char;
    let sequence = (await this.#readChar()) ?? "";
    if (sequence === "[" || sequence === "O") {
      for (;;) {
        const next = await this.#readChar();
        if (next === undefined) return undefined;
        sequence += next;
        if (/[A-Za-z~]/.test(next)) break;
      }
    }
    return ESCAPE_KEYS[sequence] ?? "ignore";
  }

  /** One byte at a time: what was typed ahead belongs to the command that runs next. */
  async #readChar(): Promise<string | undefined> {
    const process = this.#process;
    this.#buffer ||= await process.malloc(16);
    for (;;) {
      const got = await process.trap(NR.read, 0, this.#buffer, 1);
      if (got === -EINTR.number) {
        // The window may have another size now.
        await this.#paint();
        continue;
      }
      if (failed(got) || got === 0) return undefined;
      return String.fromCharCode(process.memory.readU8(this.#buffer));
    }
  }

  async #press(key: string): Promise<Outcome> {
    this.#tabs = key === "complete" ? this.#tabs + 1 : 0;
    if (key === "accept") return "accept";
    if (key === "delete-or-end" && this.#line === "") return "end";
    if (key === "interrupt") return this.#interrupt();
    if (key === "complete") await this.#complete();
    else if (key === "search") return this.#search();
    else if (key === "clear") {
      await this.#write("\x1b[H\x1b[2J");
      this.#row = 0;
    } else if (!this.#moveOrEdit(key) && key.length === 1 && key >= " ") return this.#type(key);
    await this.#paint();
    return "more";
  }

  async #interrupt(): Promise<Outcome> {
    this.#cursor = this.#line.length;
    await this.#paint();
    await this.#write("^C\r\n");
    return "interrupt";
  }

  /** A character at the end of a line that does not wrap needs no more than itself on the screen. */
  async #type(char: string): Promise<Outcome> {
    const isAtEnd = this.#cursor === this.#line.length;
    this.#insert(char);
    const { columns } = await windowSize(this.#process, 1);
    const end = visibleWidth(this.#prompt.split("\n").at(-1) ?? "") + widthOf(this.#line);
    if (isAtEnd && end % columns !== 0) await this.#write(char);
    else await this.#paint();
    return "more";
  }

  #insert(text: string): void {
    this.#line = this.#line.slice(0, this.#cursor) + text + this.#line.slice(this.#cursor);
    this.#cursor += text.length;
  }

  /** Keys that change only the line and the cursor; false where `key` is none of them. */
  #moveOrEdit(key: string): boolean {
    const line = this.#line;
    const at = this.#cursor;
    switch (key) {
      case "left":
        this.#cursor = previousChar(line, at);
        return true;
      case "right":
        this.#cursor = nextChar(line, at);
        return true;
      case "home":
        this.#cursor = 0;
        return true;
      case "end":
        this.#cursor = line.length;
        return true;
      case "word-left":
        this.#cursor = wordStart(line, at);
        return true;
      case "word-right":
        this.#cursor = wordEnd(line, at);
        return true;
      case "up":
        this.#browse(-1);
        return true;
      case "down":
        this.#browse(1);
        return true;
      case "rubout":
        this.#remove(previousChar(line, at), at);
        return true;
      case "delete":
      case "delete-or-end":
        this.#remove(at, nextChar(line, at));
        return true;
      case "kill-end":
        this.#kill(at, line.length);
        return true;
      case "kill-start":
        this.#kill(0, at);
        return true;
      case "kill-word":
        this.#kill(at, wordEnd(line, at));
        return true;
      case "rubout-word":
        this.#kill(blankWordStart(line, at), at);
        return true;
      case "yank":
        this.#insert(this.#killed);
        return true;
      case "transpose":
        this.#transpose();
        return true;
      default:
        return key === "ignore";
    }
  }

  #remove(from: number, to: number): void {
    this.#line = this.#line.slice(0, from) + this.#line.slice(to);
    this.#cursor = from;
  }

  #kill(from: number, to: number): void {
    if (to > from) this.#killed = this.#line.slice(from, to);
    this.#remove(from, to);
  }

  #transpose(): void {
    const at = Math.min(this.#cursor, this.#line.length - 1);
    if (at < 1) return;
    const line = this.#line;
    this.#line = line.slice(0, at - 1) + line[at]! + line[at - 1]! + line.slice(at + 1);
    this.#cursor = at + 1;
  }

  #browse(by: number): void {
    const { history } = this.#shell;
    const target = this.#historyAt + by;
    if (target < 0 || target > history.length) return;
    if (this.#historyAt === history.length) this.#draft = this.#line;
    this.#historyAt = target;
    this.#line = history[target] ?? this.#draft;
    this.#cursor = this.#line.length;
  }

  /** Ctrl-R: the last entry that has the text; again goes further back. */
  async #search(): Promise<Outcome> {
    const prompt = this.#prompt;
    const { history } = this.#shell;
    let query = "";
    let at = history.length;
    for (;;) {
      this.#prompt = `(reverse-i-search)\`${query}': `;
      await this.#paint();
      const key = await this.#readKey();
      if (key === undefined) return "end";
      if (key === "search") at = findBack(history, query, at - 1);
      else if (key === "rubout") query = query.slice(0, -1);
      else if (key.length === 1 && key >= " ") query += key;
      else {
        this.#prompt = prompt;
        if (key === "interrupt") this.#line = "";
        this.#cursor = this.#line.length;
        return key === "interrupt" ? this.#press("ignore") : this.#press(key);
      }
      if (key !== "search") at = findBack(history, query, history.length - 1);
      const found = history[at];
      if (found !== undefined) this.#line = found;
      this.#cursor = this.#line.length;
    }
  }

  async #complete(): Promise<void> {
    const { start, candidates } = await complete(this.#shell, this.#line.slice(0, this.#cursor));
    if (candidates.length === 0) return;
    const typed = this.#line.slice(start, this.#cursor);
    const [only] = candidates;
    const common = commonPrefix(candidates.map(({ text }) => text));
    if (candidates.length === 1 && only !== undefined) {
      this.#remove(start, this.#cursor);
      this.#insert(only.text + only.suffix);
    } else if (common.length > typed.length) {
      this.#remove(start, this.#cursor);
      this.#insert(common);
    } else if (this.#tabs > 1) await this.#list(candidates.map(({ label }) => label));
  }

  async #list(labels: readonly string[]): Promise<void> {
    const { columns } = await windowSize(this.#process, 1);
    const width = Math.max(...labels.map((label) => widthOf(label))) + 2;
    const perRow = Math.max(Math.floor(columns / width), 1);
    const rows: string[] = [];
    for (let i = 0; i < labels.length; i += perRow) {
      rows.push(
        labels
          .slice(i, i + perRow)
          .map((label) => label.padEnd(width))
          .join("")
          .trimEnd(),
      );
    }
    await this.#write(`\r\n${rows.join("\r\n")}\r\n`);
    this.#row = 0;
  }

  async #paint(): Promise<void> {
    const { columns } = await windowSize(this.#process, 1);
    const promptRows = this.#prompt.split("\n");
    const lastPrompt = promptRows.at(-1) ?? "";
    const width = visibleWidth(lastPrompt);
    const above = promptRows
      .slice(0, -1)
      .reduce((rows, row) => rows + Math.floor(visibleWidth(row) / columns) + 1, 0);
    const end = width + widthOf(this.#line);
    const cursor = width + widthOf(this.#line.slice(0, this.#cursor));
    const up = this.#row > 0 ? `\x1b[${this.#row}A` : "";
    // A line that just fills a row leaves the cursor on it: go to the next one, as the terminal would with more text.
    const fill = end > 0 && end % columns === 0 ? "\r\n" : "";
    const back = Math.floor(end / columns) - Math.floor(cursor / columns);
    const column = cursor % columns;
    const place = `${back > 0 ? `\x1b[${back}A` : ""}\r${column > 0 ? `\x1b[${column}C` : ""}`;
    await this.#write(`${up}\r\x1b[J${this.#prompt.replace(/\n/g, "\r\n")}${this.#line}${fill}${place}`);
    this.#row = above + Math.floor(cursor / columns);
  }

  async #write(text: string): Promise<void> {
    await this.#process.stderr.write(text);
  }
}

const rawModes = (modes: Termios): Termios => {
  const c_cc = modes.c_cc.slice();
  c_cc[VCC.MIN] = 1;
  c_cc[VCC.TIME] = 0;
  return {
    ...modes,
    c_iflag: modes.c_iflag & ~(IFLAG.ICRNL | IFLAG.IXON | IFLAG.INLCR),
    c_oflag: modes.c_oflag | OFLAG.OPOST,
    c_lflag: modes.c_lflag & ~(LFLAG.ICANON | LFLAG.ECHO | LFLAG.ISIG | LFLAG.IEXTEN),
    c_cc,
  };
};

/** Columns of a prompt: escape sequences take none. */
// oxlint-disable-next-line no-control-regex
const visibleWidth = (text: string): number => widthOf(text.replace(/\x1b\[[0-9;?]*[A-Za-z]/g, ""));

const isContinuation = (char: string | undefined): boolean =>
  char !== undefined && (char.charCodeAt(0) & 0xc0) === 0x80;

function previousChar(line: string, at: number): number {
  let to = Math.max(at - 1, 0);
  while (to > 0 && isContinuation(line[to])) to -= 1;
  return to;
}

function nextChar(line: string, at: number): number {
  let to = Math.min(at + 1, line.length);
  while (isContinuation(line[to])) to += 1;
  return to;
}

const isWordChar = (char: string | undefined): boolean => char !== undefined && /[\w\x80-\xff]/.test(char);

function wordStart(line: string, at: number): number {
  let to = at;
  while (to > 0 && !isWordChar(line[to - 1])) to -= 1;
  while (to > 0 && isWordChar(line[to - 1])) to -= 1;
  return to;
}

function wordEnd(line: string, at: number): number {
  let to = at;
  while (to < line.length && !isWordChar(line[to])) to += 1;
  while (to < line.length && isWordChar(line[to])) to += 1;
  return to;
}

/** Ctrl-W: words are what blanks separate. */
const blankWordStart = (line: string, at: number): number => line.slice(0, at).replace(/\S*\s*$/, "").length;

function findBack(history: readonly string[], query: string, from: number): number {
  for (let i = Math.min(from, history.length - 1); i >= 0; i--) if (history[i]!.includes(query)) return i;
  return -1;
}

function commonPrefix(texts: readonly string[]): string {
  const [first = ""] = texts;
  let length = first.length;
  for (const text of texts) while (!text.startsWith(first.slice(0, length))) length -= 1;
  return first.slice(0, length);
}
