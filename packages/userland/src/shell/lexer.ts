/**
 * Tokens of the shell language (XCU 2.3) and the inside of words: quoting, parameters, substitutions, here-documents.
 *
 * The lexer is driven by the parser one token at a time, since `$(…)` inside a word is parsed by the grammar again, which
 * the parser passes in. `IncompleteError` means that more input could complete the text.
 */
import type { ListNode, ParameterOperator, Word, WordPart } from "./ast.ts";

export class SyntaxError extends Error {
  readonly line: number;
  constructor(message: string, line: number) {
    super(message);
    this.name = "SyntaxError";
    this.line = line;
  }
}

/** The input ends inside a quote, a substitution, a here-document or a compound command. */
export class IncompleteError extends SyntaxError {
  constructor(message: string, line: number) {
    super(message, line);
    this.name = "IncompleteError";
  }
}

/** What the lexer needs of the parser. */
export interface Grammar {
  /** Commands from `at` to an unquoted `)`; `end` is after it. */
  substitution(source: string, at: number): { readonly body: ListNode; readonly end: number };
  script(source: string): ListNode;
}

export type Token =
  | { readonly kind: "word"; readonly word: Word; readonly start: number; readonly end: number }
  | { readonly kind: "operator"; readonly text: string; readonly start: number; readonly end: number }
  | { readonly kind: "io-number"; readonly fd: number; readonly start: number; readonly end: number }
  | { readonly kind: "newline"; readonly start: number; readonly end: number }
  | { readonly kind: "end"; readonly start: number; readonly end: number };

/** A here-document whose body comes after the next newline. */
export interface PendingDocument {
  readonly delimiter: string;
  readonly quoted: boolean;
  readonly stripTabs: boolean;
  readonly deliver: (body: Word) => void;
}

const OPERATORS = [
  "<<-",
  "&&",
  "||",
  ";;",
  "<<",
  ">>",
  "<&",
  ">&",
  "<>",
  ">|",
  "|",
  "&",
  ";",
  "<",
  ">",
  "(",
  ")",
];
const META = new Set(" \t\n|&;<>()");
const NAME = /[A-Za-z_][A-Za-z0-9_]*/y;
const SPECIAL = "@*#?-$!0123456789";
const PARAMETER_OPERATOR = /:?[-=?+]|%%?|##?/y;

export class Lexer {
  source: string;
  at: number;
  readonly #grammar: Grammar;
  #pending: PendingDocument[] = [];

  constructor(source: string, at: number, grammar: Grammar) {
    this.source = source;
    this.at = at;
    this.#grammar = grammar;
  }

  line(at: number = this.at): number {
    let line = 1;
    for (let i = this.source.indexOf("\n"); i >= 0 && i < at; i = this.source.indexOf("\n", i + 1)) line += 1;
    return line;
  }

  next(): Token {
    this.#skipBlanks();
    const { source } = this;
    const start = this.at;
    const char = source[start];
    if (char === undefined) {
      if (this.#pending.length > 0) throw this.incomplete("here-document is not ended");
      return { kind: "end", start, end: start };
    }
    if (char === "\n") {
      this.at += 1;
      this.#readDocuments();
      return { kind: "newline", start, end: start + 1 };
    }
    const operator = OPERATORS.find((text) => source.startsWith(text, start));
    if (operator !== undefined) {
      this.at += operator.length;
      return { kind: "operator", text: operator, start, end: this.at };
    }
    const digits = /\d+(?=[<>])/y;
    digits.lastIndex = start;
    const match = digits.exec(source);
    if (match !== null) {
      this.at += match[0].length;
      return { kind: "io-number", fd: Number(match[0]), start, end: this.at };
    }
    const word = this.#word();
    return { kind: "word", word, start, end: this.at };
  }

  /** Puts `text` in the place of [start, end) and goes on there: an alias. */
  splice(start: number, end: number, text: string): void {
    this.source = this.source.slice(0, start) + text + this.source.slice(end);
    this.at = start;
  }

  addDocument(document: PendingDocument): void {
    this.#pending.push(document);
  }

  incomplete(message: string): IncompleteError {
    return new IncompleteError(message, this.line());
  }

  #skipBlanks(): void {
    const { source } = this;
    for (;;) {
      const char = source[this.at];
      if (char === " " || char === "\t") this.at += 1;
      else if (char === "\\" && source[this.at + 1] === "\n") this.at += 2;
      else if (char === "#") {
        const end = source.indexOf("\n", this.at);
        this.at = end < 0 ? source.length : end;
      } else return;
    }
  }

  #word(): Word {
    const parts = new Parts();
    for (;;) {
      const char = this.source[this.at];
      if (char === undefined || META.has(char)) return parts.done();
      this.#part(parts, char);
    }
  }

  /** One character, quote or substitution outside double quotes. */
  #part(parts: Parts, char: string): void {
    if (char === "'") return this.#singleQuotes(parts);
    if (char === '"') return this.#doubleQuotes(parts);
    if (char === "\\") {
      const next = this.source[this.at + 1];
      this.at += next === undefined ? 1 : 2;
      if (next !== "\n") parts.literal(next ?? "\\", next !== undefined);
      return;
    }
    if (char === "$" || char === "`") return this.#dollar(parts, false);
    this.at += 1;
    parts.literal(char, false);
  }

  #singleQuotes(parts: Parts): void {
    const end = this.source.indexOf("'", this.at + 1);
    if (end < 0) throw this.incomplete("unterminated quoted string");
    parts.literal(this.source.slice(this.at + 1, end), true);
    this.at = end + 1;
  }

  #doubleQuotes(parts: Parts): void {
    this.at += 1;
    parts.literal("", true);
    for (;;) {
      const char = this.source[this.at];
      if (char === undefined) throw this.incomplete("unterminated quoted string");
      if (char === '"') {
        this.at += 1;
        return;
      }
      this.#quotedPart(parts, char, '$`"\\\n');
    }
  }

  /** One character or substitution inside double quotes; a backslash quotes only `escapable`. */
  #quotedPart(parts: Parts, char: string, escapable: string): void {
    if (char === "$" || char === "`") return this.#dollar(parts, true);
    if (char !== "\\") {
      this.at += 1;
      parts.literal(char, true);
      return;
    }
    const next = this.source[this.at + 1];
    if (next !== undefined && escapable.includes(next)) {
      this.at += 2;
      if (next !== "\n") parts.literal(next, true);
      return;
    }
    this.at += 1;
    parts.literal("\\", true);
  }

  #dollar(parts: Parts, quoted: boolean): void {
    const { source } = this;
    if (source[this.at] === "`") return this.#backquotes(parts, quoted);
    const next = source[this.at + 1] ?? "";
    if (next === "(") return this.#parenthesis(parts, quoted);
    if (next === "{") return this.#braces(parts, quoted);
    if (next === "'" && !quoted) return this.#dollarQuotes(parts);
    NAME.lastIndex = this.at + 1;
    const name = NAME.exec(source)?.[0] ?? (next !== "" && SPECIAL.includes(next) ? next : undefined);
    if (name === undefined) {
      this.at += 1;
      parts.literal("$", quoted);
      return;
    }
    this.at += 1 + name.length;
    parts.add({ kind: "parameter", name, quoted, length: false });
  }

  /** `$'…'`, POSIX.1-2024. */
  #dollarQuotes(parts: Parts): void {
    const quoted = /(?:[^'\\]|\\[^])*/y;
    quoted.lastIndex = this.at + 2;
    const body = quoted.exec(this.source)?.[0] ?? "";
    this.at = quoted.lastIndex;
    if (this.source[this.at] !== "'") throw this.incomplete("unterminated quoted string");
    this.at += 1;
    parts.literal(unescapeAnsi(body), true);
  }

  #backquotes(parts: Parts, quoted: boolean): void {
    let text = "";
    let i = this.at + 1;
    for (; ; i++) {
      const char = this.source[i];
      if (char === undefined) throw this.incomplete("unterminated backquote");
      if (char === "`") break;
      const next = this.source[i + 1] ?? "";
      const isEscape = char === "\\" && (quoted ? '$`\\"' : "$`\\").includes(next) && next !== "";
      text += isEscape ? next : char;
      if (isEscape) i += 1;
    }
    this.at = i + 1;
    parts.add({ kind: "command", body: this.#grammar.script(text), quoted });
  }

  #parenthesis(parts: Parts, quoted: boolean): void {
    const { source } = this;
    if (source[this.at + 2] === "(") {
      const end = this.#arithmeticEnd(this.at + 3);
      if (end !== undefined) {
        const expression = this.#sub(source.slice(this.at + 3, end)).quotedText("$`\\\n");
        this.at = end + 2;
        parts.add({ kind: "arithmetic", expression, quoted });
        return;
      }
    }
    const { body, end } = this.#grammar.substitution(source, this.at + 2);
    this.at = end;
    parts.add({ kind: "command", body, quoted });
  }

  /** Where `))` closes an arithmetic expression; undefined where the text is a command after all. */
  #arithmeticEnd(from: number): number | undefined {
    let depth = 0;
    for (let i = from; i < this.source.length; i++) {
      const char = this.source[i];
      if (char === "(") depth += 1;
      else if (char === ")" && depth > 0) depth -= 1;
      else if (char === ")") return this.source[i + 1] === ")" ? i : undefined;
    }
    throw this.incomplete("unterminated arithmetic expression");
  }

  #braces(parts: Parts, quoted: boolean): void {
    this.at += 2;
    const { source } = this;
    const isLength = source[this.at] === "#" && !/[}:=?+%-]/.test(source[this.at + 1] ?? "}");
    if (isLength) this.at += 1;
    const name = this.#parameterName();
    if (isLength) {
      this.#expectBrace();
      parts.add({ kind: "parameter", name, quoted, length: true });
      return;
    }
    PARAMETER_OPERATOR.lastIndex = this.at;
    const operator = PARAMETER_OPERATOR.exec(source)?.[0];
    if (operator === undefined) {
      this.#expectBrace();
      parts.add({ kind: "parameter", name, quoted, length: false });
      return;
    }
    this.at += operator.length;
    const isPattern = operator.startsWith("%") || operator.startsWith("#");
    const word = this.#bracedWord(quoted && !isPattern);
    if (!isParameterOperator(operator)) throw new SyntaxError("bad substitution", this.line());
    parts.add({ kind: "parameter", name, quoted, length: false, operator, word });
  }

  #parameterName(): string {
    NAME.lastIndex = this.at;
    const digits = /\d+/y;
    digits.lastIndex = this.at;
    const char = this.source[this.at];
    if (char === undefined) throw this.incomplete("unterminated parameter expansion");
    const name =
      NAME.exec(this.source)?.[0] ??
      digits.exec(this.source)?.[0] ??
      (SPECIAL.includes(char) ? char : undefined);
    if (name === undefined) throw new SyntaxError("bad substitution", this.line());
    this.at += name.length;
    return name;
  }

  #expectBrace(): void {
    const char = this.source[this.at];
    if (char === undefined) throw this.incomplete("unterminated parameter expansion");
    if (char !== "}") throw new SyntaxError("bad substitution", this.line());
    this.at += 1;
  }

  #bracedWord(quoted: boolean): Word {
    const parts = new Parts();
    for (;;) {
      const char = this.source[this.at];
      if (char === undefined) throw this.incomplete("unterminated parameter expansion");
      if (char === "}") {
        this.at += 1;
        return parts.done();
      }
      if (!quoted) this.#part(parts, char);
      else if (char === '"') this.#doubleQuotes(parts);
      else this.#quotedPart(parts, char, '$`"\\\n}');
    }
  }

  #sub(text: string): Lexer {
    return new Lexer(text, 0, this.#grammar);
  }

  /** All of the source as inside double quotes, where a double quote is an ordinary character. */
  quotedText(escapable: string): Word {
    const parts = new Parts();
    while (this.at < this.source.length) {
      this.#quotedPart(parts, this.source[this.at]!, escapable);
    }
    return parts.done();
  }

  #readDocuments(): void {
    const pending = this.#pending;
    this.#pending = [];
    for (const document of pending) document.deliver(this.#document(document));
  }

  #document({ delimiter, quoted, stripTabs }: PendingDocument): Word {
    let body = "";
    for (;;) {
      if (this.at >= this.source.length) {
        throw this.incomplete(`here-document is not ended by ${delimiter}`);
      }
      const newline = this.source.indexOf("\n", this.at);
      const end = newline < 0 ? this.source.length : newline;
      let line = this.source.slice(this.at, end);
      this.at = newline < 0 ? end : end + 1;
      if (stripTabs) line = line.replace(/^\t+/, "");
      if (line === delimiter) break;
      body += `${line}\n`;
    }
    if (quoted) return [{ kind: "literal", text: body, quoted: true }];
    return this.#sub(body).quotedText("$`\\\n");
  }
}

const PARAMETER_OPERATORS = ["-", ":-", "=", ":=", "?", ":?", "+", ":+", "%", "%%", "#", "##"] as const;
const isParameterOperator = (text: string): text is ParameterOperator =>
  PARAMETER_OPERATORS.some((operator) => operator === text);

const ANSI: Readonly<Record<string, string>> = {
  a: "\x07",
  b: "\b",
  e: "\x1b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
};

const unescapeAnsi = (text: string): string =>
  text.replace(/\\(x[0-9A-Fa-f]{1,2}|[0-7]{1,3}|[^])/g, (_, escape: string) => {
    if (/^x./.test(escape)) return String.fromCharCode(Number.parseInt(escape.slice(1), 16));
    if (/^[0-7]/.test(escape)) return String.fromCharCode(Number.parseInt(escape, 8) & 0xff);
    return Object.hasOwn(ANSI, escape) ? ANSI[escape]! : escape;
  });

/** Collects the parts of a word, joining neighbouring literals of one kind. */
class Parts {
  readonly #parts: WordPart[] = [];
  #text = "";
  #quoted = false;
  #hasText = false;

  literal(text: string, quoted: boolean): void {
    if (this.#hasText && this.#quoted !== quoted) this.#flush();
    this.#text += text;
    this.#quoted = quoted;
    this.#hasText = true;
  }

  add(part: WordPart): void {
    this.#flush();
    this.#parts.push(part);
  }

  done(): Word {
    this.#flush();
    return this.#parts;
  }

  #flush(): void {
    if (this.#hasText) this.#parts.push({ kind: "literal", text: this.#text, quoted: this.#quoted });
    this.#text = "";
    this.#hasText = false;
  }
}
