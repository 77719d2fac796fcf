/**
 * POSIX regular expressions (XBD chapter 9), basic and extended, with the GNU operators (`\+ \? \|` in basic ones, `\w \W
 * \s \S \b \B \< \>`), translated to the host's.
 *
 * Differs from POSIX: of several alternatives the first that matches is taken, not the longest. Text is in the C locale:
 * one character per byte.
 */

export interface RegexOptions {
  /** ERE; BRE otherwise. */
  readonly extended?: boolean;
  readonly ignoreCase?: boolean;
  /** `^` and `$` also match around newlines (sed's M flag). */
  readonly multiline?: boolean;
}

/** What is wrong with a pattern, in the words of regerror(3). */
export class RegexError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "RegexError";
  }
}

/** A global regular expression: set `lastIndex`, call `exec`. */
export function compileRegex(pattern: string, options: RegexOptions = {}): RegExp {
  const source = new Translator(pattern, options.extended === true).translate();
  const flags = `g${options.ignoreCase === true ? "i" : ""}${options.multiline === true ? "m" : ""}`;
  return new RegExp(source, flags);
}

/** A pattern that matches `text` itself. */
export const quoteRegex = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");

const CLASSES: Readonly<Record<string, string>> = {
  alpha: "A-Za-z",
  digit: "0-9",
  alnum: "0-9A-Za-z",
  upper: "A-Z",
  lower: "a-z",
  space: "\\t-\\r ",
  blank: "\\t ",
  punct: "!-\\/:-@\\[-`{-~",
  print: " -~",
  graph: "!-~",
  cntrl: "\\x00-\\x1f\\x7f",
  xdigit: "0-9A-Fa-f",
};

/** The inside of a bracket expression for a class name; undefined where there is no such class. */
export const classRange = (name: string): string | undefined =>
  Object.hasOwn(CLASSES, name) ? CLASSES[name] : undefined;

const ESCAPES: Readonly<Record<string, string>> = {
  w: "\\w",
  W: "\\W",
  s: "\\s",
  S: "\\S",
  b: "\\b",
  B: "\\B",
  "<": "\\b(?=\\w)",
  ">": "\\b(?<=\\w)",
  "`": "(?<![^])",
  "'": "(?![^])",
  n: "\\n",
  t: "\\t",
};

class Translator {
  readonly #pattern: string;
  readonly #extended: boolean;
  #at = 0;
  #out = "";
  #groups = 0;
  readonly #open: { readonly group: number; readonly start: number }[] = [];
  /** Where the last atom starts in `#out`, and whether a repetition follows it already. */
  #atomStart = 0;
  #isRepeated = false;
  /** Whether a repetition may follow: not at the start of the pattern, a group or an alternative. */
  #hasAtom = false;

  constructor(pattern: string, extended: boolean) {
    this.#pattern = pattern;
    this.#extended = extended;
  }

  translate(): string {
    while (this.#at < this.#pattern.length) this.#step();
    if (this.#open.length > 0) throw new RegexError("Unmatched ( or \\(");
    return this.#out;
  }

  #step(): void {
    const char = this.#pattern[this.#at]!;
    this.#at += 1;
    if (char === "\\") return this.#escape();
    if (char === "[") return this.#atom(this.#bracket());
    if (char === ".") return this.#atom("[^]");
    if (char === "*") return this.#hasAtom ? this.#repeat("*") : this.#atom("\\*");
    if (char === "^") return this.#startAnchor();
    if (char === "$") return this.#endAnchor();
    if (!this.#extended) return this.#atom(quoteRegex(char));
    return this.#extendedOperator(char);
  }

  #extendedOperator(char: string): void {
    if (char === "(") return this.#openGroup();
    if (char === ")") return this.#open.length > 0 ? this.#closeGroup() : this.#atom("\\)");
    if (char === "|") return this.#alternative();
    if (char === "+" || char === "?")
      return this.#hasAtom ? this.#repeat(char) : this.#atom(quoteRegex(char));
    if (char === "{" && this.#hasAtom && /^\d*,?\d*\}/.test(this.#pattern.slice(this.#at))) {
      return this.#interval("}");
    }
    return this.#atom(quoteRegex(char));
  }

  #escape(): void {
    const char = this.#pattern[this.#at];
    if (char === undefined) throw new RegexError("Trailing backslash");
    this.#at += 1;
    if (!this.#extended) {
      if (char === "(") return this.#openGroup();
      if (char === ")") return this.#closeGroup();
      if (char === "{") return this.#interval("\\}");
      if (char === "|") return this.#alternative();
      if (char === "+" || char === "?")
        return this.#hasAtom ? this.#repeat(char) : this.#atom(quoteRegex(char));
    }
    if (char >= "1" && char <= "9") return this.#backReference(Number(char));
    this.#atom(Object.hasOwn(ESCAPES, char) ? ESCAPES[char]! : quoteRegex(char));
  }

  #atom(source: string, start: number = this.#out.length): void {
    this.#out += source;
    this.#atomStart = start;
    this.#isRepeated = false;
    this.#hasAtom = true;
  }

  #repeat(operator: string): void {
    // To the host "a*?" is a lazy "a*": a repetition of a repetition needs a group.
    if (this.#isRepeated) {
      this.#out = `${this.#out.slice(0, this.#atomStart)}(?:${this.#out.slice(this.#atomStart)})`;
    }
    this.#out += operator;
    this.#isRepeated = true;
  }

  #openGroup(): void {
    this.#groups += 1;
    this.#open.push({ group: this.#groups, start: this.#out.length });
    this.#out += "(";
    this.#hasAtom = false;
  }

  #closeGroup(): void {
    const opened = this.#open.pop();
    if (opened === undefined) throw new RegexError("Unmatched ) or \\)");
    this.#atom(")", opened.start);
  }

  #alternative(): void {
    this.#out += "|";
    this.#hasAtom = false;
  }

  #backReference(group: number): void {
    if (group > this.#groups || this.#open.some((open) => open.group === group)) {
      throw new RegexError("Invalid back reference");
    }
    this.#atom(`(?:\\${group})`);
  }

  #startAnchor(): void {
    const isAnchor = this.#extended || !this.#hasAtom;
    if (!isAnchor) return this.#atom("\\^");
    this.#out += "^";
    this.#hasAtom = false;
  }

  #endAnchor(): void {
    const rest = this.#pattern.slice(this.#at);
    const isAnchor = this.#extended || rest === "" || rest.startsWith("\\)") || rest.startsWith("\\|");
    this.#atom(isAnchor ? "$" : "\\$");
  }

  #interval(close: string): void {
    const end = this.#pattern.indexOf(close, this.#at);
    if (end < 0) throw new RegexError("Unmatched \\{");
    const text = this.#pattern.slice(this.#at, end);
    this.#at = end + close.length;
    const match = /^(\d*)(,?)(\d*)$/.exec(text);
    if (match === null || text === "") throw new RegexError("Invalid content of \\{\\}");
    if (!this.#hasAtom) throw new RegexError("Invalid preceding regular expression");
    const low = Number(match[1] || 0);
    const high = match[2] === "" ? low : match[3] === "" ? undefined : Number(match[3]);
    if (low > 32_767 || (high ?? 0) > 32_767) throw new RegexError("Regular expression too big");
    if (high !== undefined && high < low) throw new RegexError("Invalid content of \\{\\}");
    this.#repeat(`{${low},${high ?? ""}}`);
  }

  #bracket(): string {
    const { source, next } = translateBracket(this.#pattern, this.#at, "^");
    this.#at = next;
    return source;
  }
}

const hostClassChar = (char: string): string => (/[\\\]^[-]/.test(char) ? `\\${char}` : char);

/**
 * A bracket expression whose `[` is before `at`. `negation` is `^`, or `!^` for shell patterns.
 * Throws `RegexError` where it does not end.
 */
export function translateBracket(
  pattern: string,
  at: number,
  negation: string,
): { readonly source: string; readonly next: number } {
  let inside = "";
  let i = at;
  const isNegated = i < pattern.length && negation.includes(pattern[i]!);
  if (isNegated) i += 1;
  const first = i;
  for (;;) {
    const item = bracketItem(pattern, i, i === first);
    if (item === undefined) break;
    i = item.next;
    const isRange = pattern[i] === "-" && pattern[i + 1] !== "]" && i + 1 < pattern.length;
    if (item.char === undefined || !isRange) {
      inside += item.source;
      continue;
    }
    const end = bracketItem(pattern, i + 1, false);
    if (end?.char === undefined || end.char < item.char) throw new RegexError("Invalid range end");
    inside += `${item.source}-${end.source}`;
    i = end.next;
  }
  const source = inside === "" ? (isNegated ? "[^]" : "(?!)") : `[${isNegated ? "^" : ""}${inside}]`;
  return { source, next: i + 1 };
}

interface BracketItem {
  readonly source: string;
  /** The character, unless the item is a class. */
  readonly char?: string;
  readonly next: number;
}

/** One element of a bracket expression; undefined at its closing bracket. */
function bracketItem(pattern: string, at: number, isFirst: boolean): BracketItem | undefined {
  const char = pattern[at];
  if (char === undefined) throw new RegexError("Unmatched [, [^, [:, [., or [=");
  if (char === "]" && !isFirst) return undefined;
  const kind = pattern[at + 1];
  if (char !== "[" || kind === undefined || !":.=".includes(kind)) {
    return { source: hostClassChar(char), char, next: at + 1 };
  }
  const end = pattern.indexOf(`${kind}]`, at + 2);
  if (end < 0) throw new RegexError("Unmatched [, [^, [:, [., or [=");
  const name = pattern.slice(at + 2, end);
  if (kind !== ":") {
    if (name.length !== 1) throw new RegexError("Invalid collation character");
    return { source: hostClassChar(name), char: name, next: end + 2 };
  }
  const range = classRange(name);
  if (range === undefined) throw new RegexError("Invalid character class name");
  return { source: range, next: end + 2 };
}
