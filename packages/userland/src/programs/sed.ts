/** sed(1): POSIX with GNU's `-E -i -s -z`, `I` and `M` flags, `Q T z F` functions and `first~step` addresses. */
import { O } from "@alien-ts/abi";
import { SystemError, ToolError, UsageError } from "../libc/errors.ts";
import { closeInput, openInput, openOutput, readFile, stat, chmod, tryRename } from "../libc/files.ts";
import type { Process } from "../libc/process.ts";
import { type Regex, type RegexMatch, withRegex } from "../libc/regex.ts";
import type { Stream } from "../libc/stdio.ts";
import { complain, parseCount, tool } from "../libc/tool.ts";
import {
  type Address,
  type ReplacementPart,
  type SedCommand,
  type Substitution,
  parseSedScript,
} from "./sed-script.ts";

/** The status where a search takes too long (GNU: a panic). */
const SEARCH_FAILED = 4;

export const sed = tool({
  name: "sed",
  usage: "sed [-Einrsuz] [-l COLUMNS] [-e SCRIPT]... [-f FILE]... [SCRIPT] [FILE]...",
  options: "Ee:f:il:nrsuz",
  long: {
    quiet: "n",
    silent: "n",
    expression: "e",
    file: "f",
    "regexp-extended": "E",
    "line-length": "l",
    separate: "s",
    "null-data": "z",
    "in-place": "in-place?",
    unbuffered: "u",
  },
  rewrite: (words) =>
    words.map((word) =>
      /^-i.+$/.test(word) && !/^-i[Enrsuz]+$/.test(word) ? `--in-place=${word.slice(2)}` : word,
    ),
  main: async (process, { options, operands }) => {
    const scripts: string[] = [];
    for (const [key, value] of options.all) {
      if (key === "e") scripts.push(value);
      if (key === "f") scripts.push((await readFile(process, value)).replace(/\n$/, ""));
    }
    const files = [...operands];
    if (scripts.length === 0) {
      const script = files.shift();
      if (script === undefined) throw new UsageError("no script specified");
      scripts.push(script);
    }
    const text = scripts.join("\n");
    const commands = parseSedScript(text, { extended: options.has("E") || options.has("r") });
    const inPlace = options.has("i") ? "" : options.value("in-place");
    const quiet = options.has("n") || text.startsWith("#n\n");
    const editor = new Editor(process, commands, {
      quiet,
      terminator: options.has("z") ? "\0" : "\n",
      lineLength: parseCount(options.value("l") ?? "70", "invalid line length"),
    });
    if (inPlace !== undefined) return editInPlace(process, editor, { files, suffix: inPlace });
    const groups = options.has("s") ? files.map((file) => [file]) : [files.length > 0 ? files : ["-"]];
    for (const group of groups) await editor.run(group, process.stdout);
    await editor.close();
    return editor.status;
  },
});

async function editInPlace(
  process: Process,
  editor: Editor,
  { files, suffix }: { readonly files: readonly string[]; readonly suffix: string },
): Promise<number> {
  for (const path of files) {
    const { st_mode } = await stat(process, path);
    const temporary = `${path}.sed-new`;
    const output = await openOutput(process, temporary, O.TRUNC);
    await editor.run([path], output);
    await output.close();
    await chmod(process, temporary, st_mode & 0o7777);
    if (suffix !== "") await tryRename(process, path, path + suffix);
    await tryRename(process, temporary, path);
  }
  await editor.close();
  return editor.status;
}

interface EditorOptions {
  readonly quiet: boolean;
  readonly terminator: string;
  /** Columns of the `l` function; 0 and 1 do not fold. */
  readonly lineLength: number;
}

/** How a cycle ends. */
type Outcome = "end" | "delete" | "restart" | "quit" | "quit-silently";

class Editor {
  readonly #process: Process;
  readonly #commands: readonly SedCommand[];
  readonly #options: EditorOptions;
  readonly #labels = new Map<string, number>();
  /** Ranges that are open, with the line at which they end where that is known. */
  readonly #ranges = new Map<SedCommand, number | undefined>();
  readonly #files = new Map<string, Stream>();
  #input: LineSource;
  #output: Stream;
  #pattern = "";
  #hold = "";
  #line = 0;
  #appended: { readonly text?: string; readonly file?: string }[] = [];
  #replaced = false;
  #lastRegex: Regex | undefined;
  #missingNewline = false;
  status = 0;

  constructor(process: Process, commands: readonly SedCommand[], options: EditorOptions) {
    this.#process = process;
    this.#commands = commands;
    this.#options = options;
    this.#output = process.stdout;
    this.#input = new LineSource(process, [], options.terminator);
    commands.forEach(({ name, text }, i) => {
      if (name === ":") this.#labels.set(text, i);
    });
    for (const { name, text } of commands) {
      if ("btT".includes(name) && text !== "" && !this.#labels.has(text)) {
        throw new ToolError(`-e expression #1, char 0: can't find label for jump to \`${text}'`);
      }
    }
  }

  async run(files: readonly string[], output: Stream): Promise<void> {
    this.#output = output;
    this.#line = 0;
    this.#ranges.clear();
    this.#input = new LineSource(this.#process, files, this.#options.terminator);
    for (let outcome: Outcome = "end"; outcome !== "quit" && outcome !== "quit-silently";) {
      if (outcome !== "restart" && !(await this.#nextLine())) break;
      outcome = await this.#cycle();
      if (!this.#options.quiet && (outcome === "end" || outcome === "quit")) await this.#print(this.#pattern);
      if (outcome !== "quit-silently") await this.#flushAppended();
    }
    await this.#input.close();
    if (this.#input.failed) this.status = 2;
  }

  async close(): Promise<void> {
    for (const file of this.#files.values()) await file.close();
  }

  async #nextLine(): Promise<boolean> {
    const line = await this.#input.next();
    if (line === undefined) return false;
    this.#pattern = line.text;
    this.#missingNewline = !line.ended;
    this.#line += 1;
    return true;
  }

  async #print(text: string): Promise<void> {
    const isUnended = this.#missingNewline && (await this.#input.isLast());
    await this.#output.write(isUnended ? text : text + this.#options.terminator);
  }

  async #flushAppended(): Promise<void> {
    const appended = this.#appended;
    this.#appended = [];
    for (const { text, file } of appended) {
      if (text !== undefined) await this.#output.write(text);
      if (file !== undefined) await this.#output.write(await readOrNothing(this.#process, file));
    }
  }

  async #cycle(): Promise<Outcome> {
    this.#replaced = false;
    for (let i = 0; i < this.#commands.length;) {
      const command = this.#commands[i]!;
      i += 1;
      if ((await this.#selects(command)) === command.negated) {
        if (command.name === "{") i = command.jump;
        continue;
      }
      const result = await this.#execute(command);
      if (typeof result === "number") i = result;
      else if (result !== undefined) return result;
    }
    return "end";
  }

  async #selects(command: SedCommand): Promise<boolean> {
    const { from, to } = command;
    if (from === undefined) return true;
    if (to === undefined) return this.#matches(from);
    if (this.#ranges.has(command)) {
      const end = this.#ranges.get(command);
      const isOver = end === undefined ? to.kind !== "count" && (await this.#matches(to)) : this.#line >= end;
      if (isOver) this.#ranges.delete(command);
      // A line number before the current line ends the range before this line.
      return !(end !== undefined && this.#line > end && to.kind === "line");
    }
    if (!(await this.#matches(from))) return false;
    const end = to.kind === "line" ? to.line : to.kind === "count" ? this.#line + to.count : undefined;
    if (end === undefined || end > this.#line) this.#ranges.set(command, end);
    return true;
  }

  async #matches(address: Address): Promise<boolean> {
    switch (address.kind) {
      case "line":
        return this.#line === address.line;
      case "last":
        return this.#input.isLast();
      case "step":
        return address.step === 0
          ? this.#line === address.first
          : this.#line >= address.first && (this.#line - address.first) % address.step === 0;
      case "regex": {
        const regex = this.#regex(address.regex);
        return withRegex(SEARCH_FAILED, () => regex.test(this.#pattern));
      }
    }
  }

  #regex(regex: Regex | undefined): Regex {
    const used = regex ?? this.#lastRegex;
    if (used === undefined) throw new ToolError("no previous regular expression");
    this.#lastRegex = used;
    return used;
  }

  /** The outcome of the cycle, the index to go on at, or nothing. */
  async #execute(command: SedCommand): Promise<Outcome | number | undefined> {
    switch (command.name) {
      case "s":
        await this.#substitute(command.substitution!);
        return undefined;
      case "y":
        this.#pattern = [...this.#pattern].map((char) => command.translation?.get(char) ?? char).join("");
        return undefined;
      case "d":
        return "delete";
      case "D":
        return this.#deleteFirstLine();
      case "n":
        return this.#readNext();
      case "N":
        return this.#appendNext();
      case "b":
        return this.#target(command);
      case "t":
      case "T":
        return this.#branchOnReplaced(command);
      case "q":
      case "Q":
        this.status = Number(command.text || 0);
        return command.name === "q" ? "quit" : "quit-silently";
      case "c":
        return this.#change(command);
      default:
        await this.#printOrMove(command);
        return undefined;
    }
  }

  /** Commands that only print, or move text between the spaces. */
  async #printOrMove({ name, text }: SedCommand): Promise<void> {
    switch (name) {
      case "p":
        return this.#print(this.#pattern);
      case "P":
        return this.#output.write(this.#pattern.split("\n")[0]! + this.#options.terminator);
      case "=":
        return this.#output.write(`${this.#line}\n`);
      case "l":
        return this.#output.write(
          visible(this.#pattern, text === "" ? this.#options.lineLength : Number(text)),
        );
      case "F":
        return this.#output.write(`${this.#input.name}\n`);
      case "i":
        return this.#output.write(text);
      case "a":
        this.#appended.push({ text });
        return undefined;
      case "r":
        this.#appended.push({ file: text });
        return undefined;
      case "w":
        return (await this.#file(text)).write(`${this.#pattern}\n`);
      case "W":
        return (await this.#file(text)).write(`${this.#pattern.split("\n")[0]!}\n`);
      case "g":
        this.#pattern = this.#hold;
        return undefined;
      case "G":
        this.#pattern += `\n${this.#hold}`;
        return undefined;
      case "h":
        this.#hold = this.#pattern;
        return undefined;
      case "H":
        this.#hold += `\n${this.#pattern}`;
        return undefined;
      case "x":
        [this.#pattern, this.#hold] = [this.#hold, this.#pattern];
        return undefined;
      case "z":
        this.#pattern = "";
        return undefined;
      default:
        return undefined;
    }
  }

  #target({ text }: SedCommand): number {
    return text === "" ? this.#commands.length : this.#labels.get(text)!;
  }

  #branchOnReplaced(command: SedCommand): number | undefined {
    const replaced = this.#replaced;
    this.#replaced = false;
    return replaced === (command.name === "t") ? this.#target(command) : undefined;
  }

  #deleteFirstLine(): Outcome {
    const newline = this.#pattern.indexOf("\n");
    if (newline < 0) return "delete";
    this.#pattern = this.#pattern.slice(newline + 1);
    return "restart";
  }

  async #readNext(): Promise<Outcome | undefined> {
    if (await this.#input.isLast()) return this.#options.quiet ? "quit-silently" : "quit";
    if (!this.#options.quiet) await this.#print(this.#pattern);
    await this.#flushAppended();
    await this.#nextLine();
    return undefined;
  }

  async #appendNext(): Promise<Outcome | undefined> {
    // GNU prints the pattern space where there is no next line; POSIX would delete it.
    if (await this.#input.isLast()) return "quit";
    await this.#flushAppended();
    const pattern = this.#pattern;
    await this.#nextLine();
    this.#pattern = `${pattern}\n${this.#pattern}`;
    return undefined;
  }

  async #change(command: SedCommand): Promise<Outcome> {
    const inRange = command.to !== undefined && this.#ranges.has(command);
    if (!inRange || command.negated) await this.#output.write(command.text);
    return "delete";
  }

  async #substitute(substitution: Substitution): Promise<void> {
    const regex = this.#regex(substitution.regex);
    const { text, count } = withRegex(SEARCH_FAILED, () => replace(this.#pattern, regex, substitution));
    if (count === 0) return;
    this.#pattern = text;
    this.#replaced = true;
    if (substitution.print) await this.#print(text);
    if (substitution.file !== undefined) await (await this.#file(substitution.file)).write(`${text}\n`);
  }

  async #file(path: string): Promise<Stream> {
    if (path === "/dev/stdout") return this.#output;
    if (path === "/dev/stderr") return this.#process.stderr;
    const known = this.#files.get(path);
    if (known !== undefined) return known;
    const opened = await openOutput(this.#process, path, O.TRUNC);
    this.#files.set(path, opened);
    return opened;
  }
}

function replace(
  text: string,
  regex: Regex,
  { replacement, global, nth }: Substitution,
): { text: string; count: number } {
  let out = "";
  let copied = 0;
  let seen = 0;
  let count = 0;
  let previousEnd = -1;
  for (const match of regex.matches(text)) {
    const { index, end } = match;
    // An empty match at the end of another is none: "abc" with s/b*/x/g is "xaxcx".
    const isNone = index === end && index === previousEnd;
    previousEnd = end;
    if (isNone) continue;
    seen += 1;
    if (seen < nth || (seen > nth && !global)) continue;
    out += text.slice(copied, index) + expand(replacement, match);
    copied = end;
    count += 1;
  }
  return { text: out + text.slice(copied), count };
}

function expand(parts: readonly ReplacementPart[], match: RegexMatch): string {
  let out = "";
  let mode: "U" | "L" | "E" = "E";
  let once: "u" | "l" | undefined;
  for (const part of parts) {
    if (part.kind === "case") {
      if (part.mode === "u" || part.mode === "l") once = part.mode;
      else mode = part.mode;
      continue;
    }
    let text = part.kind === "text" ? part.text : (match.groups[part.group] ?? "");
    if (mode === "U") text = text.toUpperCase();
    if (mode === "L") text = text.toLowerCase();
    if (once !== undefined && text !== "") {
      text = (once === "u" ? text[0]!.toUpperCase() : text[0]!.toLowerCase()) + text.slice(1);
      once = undefined;
    }
    out += text;
  }
  return out;
}

const L_ESCAPES: Readonly<Record<string, string>> = {
  "\\": "\\\\",
  "\x07": "\\a",
  "\b": "\\b",
  "\f": "\\f",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
  "\v": "\\v",
};

/** The `l` function: what cannot be printed as escapes, folded to `columns` with a backslash, with `$` at the end. */
function visible(text: string, columns: number): string {
  const shown = [...text].map((char) => {
    const escape = L_ESCAPES[char];
    if (escape !== undefined) return escape;
    return /[ -~]/.test(char) ? char : `\\${char.charCodeAt(0).toString(8).padStart(3, "0")}`;
  });
  let out = "";
  let width = 0;
  for (const piece of shown) {
    if (columns > 1 && width + piece.length > columns - 1) {
      out += "\\\n";
      width = 0;
    }
    out += piece;
    width += piece.length;
  }
  return `${out}$\n`;
}

async function readOrNothing(process: Process, path: string): Promise<string> {
  try {
    return await readFile(process, path);
  } catch (error) {
    if (error instanceof SystemError) return "";
    throw error;
  }
}

/** The lines of all files as one sequence, with one line read ahead so that the last is known. */
class LineSource {
  readonly #process: Process;
  readonly #files: string[];
  readonly #terminator: string;
  #stream: Stream | undefined;
  #ahead: { readonly text: string; readonly ended: boolean } | undefined;
  name = "-";
  failed = false;

  constructor(process: Process, files: readonly string[], terminator: string) {
    this.#process = process;
    this.#files = [...files];
    this.#terminator = terminator;
  }

  async next(): Promise<{ readonly text: string; readonly ended: boolean } | undefined> {
    const line = this.#ahead ?? (await this.#read());
    this.#ahead = undefined;
    return line;
  }

  async isLast(): Promise<boolean> {
    this.#ahead ??= await this.#read();
    return this.#ahead === undefined;
  }

  async close(): Promise<void> {
    if (this.#stream !== undefined) await closeInput(this.#process, this.#stream);
    this.#stream = undefined;
  }

  async #read(): Promise<{ readonly text: string; readonly ended: boolean } | undefined> {
    for (;;) {
      const stream = this.#stream ?? (await this.#open());
      if (stream === undefined) return undefined;
      const line = await stream.readLine(this.#terminator.charCodeAt(0));
      if (line !== undefined) {
        const ended = line.endsWith(this.#terminator);
        return { text: ended ? line.slice(0, -1) : line, ended };
      }
      await this.close();
    }
  }

  async #open(): Promise<Stream | undefined> {
    for (let path = this.#files.shift(); path !== undefined; path = this.#files.shift()) {
      try {
        this.#stream = await openInput(this.#process, path);
        this.name = path;
        return this.#stream;
      } catch (error) {
        if (!(error instanceof SystemError)) throw error;
        this.failed = true;
        await complain(this.#process, "sed", `can't read ${error.message}`);
      }
    }
    return undefined;
  }
}
