/** The language of sed(1): addresses, functions and their arguments, parsed into commands. */
import { ToolError } from "../libc/errors.ts";
import { type Regex, RegexError, compileRegex } from "../libc/regex.ts";

export type Address =
  | { readonly kind: "line"; readonly line: number }
  | { readonly kind: "last" }
  | { readonly kind: "step"; readonly first: number; readonly step: number }
  /** Undefined: the last regular expression used. */
  | { readonly kind: "regex"; readonly regex: Regex | undefined };

export type EndAddress = Address | { readonly kind: "count"; readonly count: number };

export interface Substitution {
  readonly regex: Regex | undefined;
  readonly replacement: readonly ReplacementPart[];
  readonly global: boolean;
  /** Replace this match only (and, with `global`, those after it). */
  readonly nth: number;
  readonly print: boolean;
  readonly file: string | undefined;
}

export type ReplacementPart =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "group"; readonly group: number }
  | { readonly kind: "case"; readonly mode: "U" | "L" | "u" | "l" | "E" };

export interface SedCommand {
  readonly from: Address | undefined;
  readonly to: EndAddress | undefined;
  readonly negated: boolean;
  readonly name: string;
  /** Text of a, i, c; label of b, t, T, `:`; file of r, w; status of q, Q. */
  readonly text: string;
  readonly substitution: Substitution | undefined;
  readonly translation: ReadonlyMap<string, string> | undefined;
  /** For `{`: the index after its `}`. */
  jump: number;
}

export interface SedOptions {
  readonly extended: boolean;
}

export function parseSedScript(script: string, options: SedOptions): SedCommand[] {
  return new SedParser(script, options).parse();
}

class SedParser {
  readonly #script: string;
  readonly #options: SedOptions;
  #at = 0;

  constructor(script: string, options: SedOptions) {
    this.#script = script;
    this.#options = options;
  }

  parse(): SedCommand[] {
    const commands: SedCommand[] = [];
    const open: SedCommand[] = [];
    for (;;) {
      this.#skip(/[\s;]*/y);
      if (this.#at >= this.#script.length) break;
      const command = this.#command();
      if (command === undefined) continue;
      commands.push(command);
      if (command.name === "{") open.push(command);
      if (command.name !== "}") continue;
      const opener = open.pop();
      if (opener === undefined) throw this.#error("unexpected `}'");
      opener.jump = commands.length;
    }
    if (open.length > 0) throw this.#error("unmatched `{'");
    return commands;
  }

  #error(message: string): ToolError {
    return new ToolError(`-e expression #1, char ${this.#at}: ${message}`);
  }

  #skip(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const text = pattern.exec(this.#script)?.[0] ?? "";
    this.#at += text.length;
    return text;
  }

  #command(): SedCommand | undefined {
    if (this.#script[this.#at] === "#") {
      this.#skip(/[^\n]*/y);
      return undefined;
    }
    const from = this.#address();
    let to: EndAddress | undefined;
    this.#skip(/[ \t]*/y);
    if (from !== undefined && this.#script[this.#at] === ",") {
      this.#at += 1;
      this.#skip(/[ \t]*/y);
      to = this.#endAddress();
      if (to === undefined) throw this.#error("unexpected `,'");
    }
    this.#skip(/[ \t]*/y);
    const negated = this.#skip(/!+/y) !== "";
    this.#skip(/[ \t]*/y);
    const name = this.#script[this.#at];
    if (name === undefined) throw this.#error("missing command");
    this.#at += 1;
    const base = { from, to, negated, name, jump: 0 };
    return { ...base, ...this.#argument(name, from) };
  }

  #address(): Address | undefined {
    const char = this.#script[this.#at];
    if (char === undefined) return undefined;
    if (char === "$") {
      this.#at += 1;
      return { kind: "last" };
    }
    if (/\d/.test(char)) {
      const line = Number(this.#skip(/\d+/y));
      const step = /~(\d+)/y;
      step.lastIndex = this.#at;
      const match = step.exec(this.#script);
      if (match === null) return { kind: "line", line };
      this.#at += match[0].length;
      return { kind: "step", first: line, step: Number(match[1]) };
    }
    if (char !== "/" && char !== "\\") return undefined;
    this.#at += char === "\\" ? 2 : 1;
    const source = this.#delimited(this.#script[this.#at - 1]!, true);
    const flags = this.#skip(/[IM]*/y);
    return { kind: "regex", regex: this.#compile(source, flags) };
  }

  #endAddress(): EndAddress | undefined {
    if (this.#script[this.#at] !== "+") return this.#address();
    this.#at += 1;
    return { kind: "count", count: Number(this.#skip(/\d+/y)) };
  }

  #compile(source: string, flags: string): Regex | undefined {
    if (source === "") return undefined;
    try {
      return compileRegex(source, {
        syntax: this.#options.extended ? "extended" : "basic",
        ignoreCase: /[iI]/.test(flags),
        multiline: /[mM]/.test(flags),
      });
    } catch (error) {
      if (error instanceof RegexError) throw this.#error(error.message);
      throw error;
    }
  }

  /** Text up to the delimiter; inside brackets it does not delimit, and quoted it stands for itself. */
  #delimited(delimiter: string, isRegex: boolean): string {
    let text = "";
    let inBracket = false;
    for (;;) {
      const char = this.#script[this.#at];
      if (char === undefined || (char === "\n" && isRegex)) throw this.#error("unterminated address regex");
      this.#at += 1;
      if (char === delimiter && !inBracket) return text;
      if (char === "\\" && !inBracket) {
        const next = this.#script[this.#at] ?? "";
        this.#at += 1;
        if (next === delimiter) text += isRegex && /[.*[\]^$+?(){}|]/.test(next) ? `\\${next}` : next;
        else text += next === "\n" && isRegex ? "\\n" : `\\${next}`;
        continue;
      }
      if (isRegex && char === "[" && !inBracket) {
        inBracket = true;
        text += char + this.#skip(/\^?\]?/y);
        continue;
      }
      if (inBracket && char === "[" && /[:.=]/.test(this.#script[this.#at] ?? "")) {
        const end = this.#script.indexOf(`${this.#script[this.#at]!}]`, this.#at + 1);
        if (end > 0) {
          text += this.#script.slice(this.#at - 1, end + 2);
          this.#at = end + 2;
          continue;
        }
      }
      if (inBracket && char === "]") inBracket = false;
      text += char;
    }
  }

  #argument(
    name: string,
    from: Address | undefined,
  ): Pick<SedCommand, "text" | "substitution" | "translation"> {
    const none = { text: "", substitution: undefined, translation: undefined };
    switch (name) {
      case "{":
        return none;
      case "}":
        if (from !== undefined) throw this.#error("} doesn't want any addresses");
        return this.#ended(none);
      case "=":
      case "d":
      case "D":
      case "g":
      case "G":
      case "h":
      case "H":
      case "n":
      case "N":
      case "p":
      case "P":
      case "x":
      case "z":
      case "F":
        return this.#ended(none);
      case "a":
      case "i":
      case "c":
        return { ...none, text: this.#textArgument() };
      case ":":
        if (from !== undefined) throw this.#error(": doesn't want any addresses");
        return { ...none, text: this.#skip(/[^\n;]*/y).trim() };
      case "b":
      case "t":
      case "T":
        return { ...none, text: this.#skip(/[^\n;}]*/y).trim() };
      case "r":
      case "w":
      case "R":
      case "W":
        return { ...none, text: this.#skip(/[^\n]*/y).trim() };
      case "l":
      case "q":
      case "Q":
        return this.#ended({ ...none, text: this.#skip(/[ \t]*\d*/y).trim() });
      case "s":
        return { ...none, substitution: this.#substitution() };
      case "y":
        return this.#ended({ ...none, translation: this.#translation() });
      default:
        throw this.#error(`unknown command: \`${name}'`);
    }
  }

  #ended<T>(value: T): T {
    this.#skip(/[ \t]*/y);
    const char = this.#script[this.#at];
    if (char !== undefined && !/[;\n}#]/.test(char)) throw this.#error("extra characters after command");
    return value;
  }

  /** `a\` and a line (with continued lines), or GNU's text on the same line. */
  #textArgument(): string {
    this.#skip(/[ \t]*/y);
    if (this.#script[this.#at] === "\\") {
      this.#at += 1;
      // Text on the same line keeps its blanks (GNU).
      this.#skip(/[ \t]*\n/y);
    }
    if (this.#at >= this.#script.length) throw this.#error("expected \\ after `a', `c' or `i'");
    const text = this.#skip(/(?:\\[^]|[^\n\\])*/y);
    return `${text.replace(/\\([^])/g, "$1")}\n`;
  }

  #substitution(): Substitution {
    const delimiter = this.#script[this.#at];
    if (delimiter === undefined || delimiter === "\n" || delimiter === "\\")
      throw this.#error("unterminated `s' command");
    this.#at += 1;
    const source = this.#delimitedOrFail(delimiter, true);
    const replacement = this.#delimitedOrFail(delimiter, false);
    const flags = this.#skip(/[gpiImMe0-9]*/y);
    const file =
      this.#script[this.#at] === "w"
        ? this.#skip(/w[^\n]*/y)
            .slice(1)
            .trim()
        : undefined;
    if (file === undefined) this.#ended(undefined);
    const parts = parseReplacement(replacement);
    const regex = this.#compile(source, flags.replace(/[gp0-9]/g, ""));
    const groups = regex?.groups ?? 9;
    for (const part of parts) {
      if (part.kind === "group" && part.group > groups) {
        throw this.#error(`invalid reference \\${part.group} on \`s' command's RHS`);
      }
    }
    return {
      regex,
      replacement: parts,
      global: flags.includes("g"),
      nth: Number(/\d+/.exec(flags)?.[0] ?? 1),
      print: flags.includes("p"),
      file,
    };
  }

  #delimitedOrFail(delimiter: string, isRegex: boolean): string {
    try {
      return this.#delimited(delimiter, isRegex);
    } catch (error) {
      if (error instanceof ToolError) throw this.#error("unterminated `s' command");
      throw error;
    }
  }

  #translation(): ReadonlyMap<string, string> {
    const delimiter = this.#script[this.#at] ?? "";
    this.#at += 1;
    const unescape = (text: string): string =>
      text.replace(/\\([^])/g, (_, char: string) => (char === "n" ? "\n" : char));
    const from = unescape(this.#delimited(delimiter, false));
    const to = unescape(this.#delimited(delimiter, false));
    if (from.length !== to.length) throw this.#error("strings for `y' command are different lengths");
    return new Map([...from].map((char, i) => [char, to[i]!]));
  }
}

const REPLACEMENT_ESCAPES: Readonly<Record<string, string>> = {
  n: "\n",
  t: "\t",
  "\n": "\n",
  r: "\r",
  f: "\f",
  v: "\v",
  a: "\x07",
};

function parseReplacement(text: string): ReplacementPart[] {
  const parts: ReplacementPart[] = [];
  for (let i = 0; i < text.length; i++) {
    const char = text[i]!;
    if (char === "&") parts.push({ kind: "group", group: 0 });
    else if (char !== "\\") parts.push({ kind: "text", text: char });
    else {
      i += 1;
      const next = text[i] ?? "\\";
      if (/\d/.test(next)) parts.push({ kind: "group", group: Number(next) });
      else if (next === "U" || next === "L" || next === "u" || next === "l" || next === "E")
        parts.push({ kind: "case", mode: next });
      else parts.push({ kind: "text", text: REPLACEMENT_ESCAPES[next] ?? next });
    }
  }
  return parts;
}
