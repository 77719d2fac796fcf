/**
 * The grammar of the shell language, XCU 2.10: recursive descent over the lexer's tokens.
 *
 * `parseScript` parses a whole text; `parseNext` one complete command line at a time, which is what a shell does with a
 * script: a line runs before the next is parsed. Nothing is executed here.
 */
import {
  type AndOrNode,
  type Assignment,
  type CommandNode,
  type CompoundNode,
  type ListNode,
  type PipelineNode,
  type Redirect,
  type Word,
  literalText,
} from "./ast.ts";
import { Lexer, SyntaxError, type Token } from "./lexer.ts";

/** Words that the grammar gives a meaning where a command may begin. */
export const RESERVED: ReadonlySet<string> = new Set([
  "if",
  "then",
  "else",
  "elif",
  "fi",
  "do",
  "done",
  "case",
  "esac",
  "while",
  "until",
  "for",
  "{",
  "}",
  "!",
  "in",
]);
const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

export const isName = (text: string): boolean => NAME.test(text);

/** Texts by name. */
export type Aliases = ReadonlyMap<string, string>;

/** Parses all of `source`. Throws `SyntaxError`, `IncompleteError`. */
export const parseScript = (source: string, aliases?: Aliases): ListNode =>
  new Parser(source, 0, aliases).script();

/** A text as if it stood in double quotes: a prompt. */
export const parseQuoted = (text: string): Word => new Lexer(text, 0, GRAMMAR).quotedText("$`\\");

export class Parser {
  readonly #lexer: Lexer;
  #token: Token | undefined;
  readonly #aliases: Aliases;
  /** Aliases whose text is being read: they are not replaced again before it ends. */
  #active: { readonly name: string; end: number }[] = [];
  /** Where a text ended whose last character is a blank: the next word may be an alias too. */
  #aliasAt: number | undefined;

  constructor(source: string, at = 0, aliases: Aliases = new Map()) {
    this.#aliases = aliases;
    this.#lexer = new Lexer(source, at, GRAMMAR);
  }

  script(): ListNode {
    const items: ListNode["items"][number][] = [];
    for (let line = this.parseNext(); line !== undefined; line = this.parseNext()) items.push(...line.items);
    return { kind: "list", items };
  }

  /** The next line of commands, with all lines that it needs; undefined at the end. */
  parseNext(): ListNode | undefined {
    while (this.#peek().kind === "newline") this.#take();
    if (this.#peek().kind === "end") return undefined;
    const list = this.#list(true);
    const token = this.#peek();
    if (token.kind !== "newline" && token.kind !== "end") throw this.#unexpected(token);
    if (token.kind === "newline") this.#take();
    return list;
  }

  #peek(): Token {
    this.#token ??= this.#lexer.next();
    return this.#token;
  }

  #take(): Token {
    const token = this.#peek();
    this.#token = undefined;
    return token;
  }

  #isOperator(text: string): boolean {
    const token = this.#peek();
    return token.kind === "operator" && token.text === text;
  }

  #isWord(text: string): boolean {
    const token = this.#peek();
    return token.kind === "word" && literalText(token.word) === text;
  }

  #unexpected(token: Token): SyntaxError {
    if (token.kind === "end") return this.#lexer.incomplete("unexpected end of file");
    const text =
      token.kind === "newline" ? "newline" : this.#lexer.source.slice(token.start, token.end).split("\n")[0]!;
    return new SyntaxError(`syntax error: unexpected "${text}"`, this.#lexer.line(token.start));
  }

  #expectWord(text: string): void {
    if (!this.#isWord(text)) throw this.#unexpected(this.#peek());
    this.#take();
  }

  #expectOperator(text: string): void {
    if (!this.#isOperator(text)) throw this.#unexpected(this.#peek());
    this.#take();
  }

  #skipNewlines(): void {
    while (this.#peek().kind === "newline") this.#take();
  }

  /** `$( … )`: the commands before its parenthesis, and where the text goes on. */
  substitution(): { body: ListNode; end: number } {
    const body = this.#compoundList();
    this.#expectOperator(")");
    return { body, end: this.#lexer.at };
  }

  /** Commands separated by `;` and `&`, to the end of the line. */
  #list(oneLine: boolean): ListNode {
    const items: ListNode["items"][number][] = [];
    for (;;) {
      const command = this.#andOr();
      const background = this.#isOperator("&");
      items.push({ command, background });
      if (background || this.#isOperator(";")) this.#take();
      else if (oneLine || this.#peek().kind !== "newline") return { kind: "list", items };
      if (!oneLine) this.#skipNewlines();
      if (!this.#startsCommand()) return { kind: "list", items };
    }
  }

  #compoundList(): ListNode {
    this.#skipNewlines();
    if (!this.#startsCommand()) return { kind: "list", items: [] };
    return this.#list(false);
  }

  /** A list that must have a command: the body of a compound command. */
  #body(): ListNode {
    const list = this.#compoundList();
    if (list.items.length === 0) throw this.#unexpected(this.#peek());
    return list;
  }

  #startsCommand(): boolean {
    const token = this.#peek();
    if (token.kind === "io-number") return true;
    if (token.kind === "operator")
      return ["(", "<", ">", ">>", "<<", "<<-", "<&", ">&", "<>", ">|"].includes(token.text);
    if (token.kind !== "word") return false;
    const text = literalText(token.word);
    return text === undefined || !["then", "else", "elif", "fi", "do", "done", "esac", "}"].includes(text);
  }

  #andOr(): AndOrNode {
    const { start } = this.#peek();
    const first = this.#pipeline();
    const rest: AndOrNode["rest"][number][] = [];
    for (;;) {
      const token = this.#peek();
      if (token.kind !== "operator" || (token.text !== "&&" && token.text !== "||")) break;
      this.#take();
      this.#skipNewlines();
      rest.push({ operator: token.text, pipeline: this.#pipeline() });
    }
    return { kind: "and-or", first, rest, source: this.#sourceFrom(start) };
  }

  #pipeline(): PipelineNode {
    const { start } = this.#peek();
    let negated = false;
    while (this.#isWord("!")) {
      this.#take();
      negated = !negated;
    }
    const commands = [this.#command()];
    while (this.#isOperator("|")) {
      this.#take();
      this.#skipNewlines();
      commands.push(this.#command());
    }
    return { kind: "pipeline", commands, negated, source: this.#sourceFrom(start) };
  }

  #sourceFrom(start: number): string {
    return this.#lexer.source.slice(start, this.#peek().start).trim();
  }

  /** XCU 2.3.1: replaces the next token while it is the name of an alias. */
  #expandAlias(): void {
    for (;;) {
      const token = this.#peek();
      const name = token.kind === "word" ? literalText(token.word) : undefined;
      const value = name === undefined ? undefined : this.#aliases.get(name);
      this.#active = this.#active.filter(({ end }) => token.start < end);
      if (name === undefined || value === undefined || this.#active.some((each) => each.name === name))
        return;
      const growth = value.length - (token.end - token.start);
      for (const outer of this.#active) outer.end += growth;
      if (this.#aliasAt !== undefined) this.#aliasAt += growth;
      this.#active.push({ name, end: token.start + value.length });
      this.#lexer.splice(token.start, token.end, value);
      this.#token = undefined;
      if (/[ \t]$/.test(value)) this.#aliasAt = token.start + value.length;
    }
  }

  #command(): CommandNode {
    this.#expandAlias();
    const token = this.#peek();
    if (token.kind === "operator" && token.text === "(") return this.#subshell();
    if (token.kind === "word") {
      const text = literalText(token.word);
      if (text !== undefined && RESERVED.has(text)) return this.#compound(text);
    }
    return this.#simple();
  }

  #compound(keyword: string): CompoundNode {
    switch (keyword) {
      case "{":
        return this.#group();
      case "if":
        return this.#if();
      case "while":
      case "until":
        return this.#while();
      case "for":
        return this.#for();
      case "case":
        return this.#case();
      default:
        throw this.#unexpected(this.#peek());
    }
  }

  #subshell(): CompoundNode {
    this.#take();
    const body = this.#body();
    this.#expectOperator(")");
    return { kind: "subshell", body, redirects: this.#redirects() };
  }

  #group(): CompoundNode {
    this.#take();
    const body = this.#body();
    this.#expectWord("}");
    return { kind: "group", body, redirects: this.#redirects() };
  }

  #if(): CompoundNode {
    const branches: { condition: ListNode; body: ListNode }[] = [];
    let otherwise: ListNode | undefined;
    do {
      this.#take();
      const condition = this.#body();
      this.#expectWord("then");
      branches.push({ condition, body: this.#body() });
    } while (this.#isWord("elif"));
    if (this.#isWord("else")) {
      this.#take();
      otherwise = this.#body();
    }
    this.#expectWord("fi");
    return { kind: "if", branches, ...(otherwise && { otherwise }), redirects: this.#redirects() };
  }

  #while(): CompoundNode {
    const until = this.#isWord("until");
    this.#take();
    const condition = this.#body();
    const body = this.#doGroup();
    return { kind: "while", until, condition, body, redirects: this.#redirects() };
  }

  #doGroup(): ListNode {
    this.#skipNewlines();
    this.#expectWord("do");
    const body = this.#body();
    this.#expectWord("done");
    return body;
  }

  #for(): CompoundNode {
    this.#take();
    const token = this.#take();
    const name = token.kind === "word" ? literalText(token.word) : undefined;
    if (name === undefined || !isName(name)) throw this.#unexpected(token);
    this.#skipNewlines();
    let words: Word[] | undefined;
    if (this.#isWord("in")) {
      this.#take();
      words = this.#wordsToSeparator();
    } else if (this.#isOperator(";")) this.#take();
    const body = this.#doGroup();
    return { kind: "for", name, ...(words && { words }), body, redirects: this.#redirects() };
  }

  #wordsToSeparator(): Word[] {
    const words: Word[] = [];
    for (let token = this.#peek(); token.kind === "word"; token = this.#peek()) {
      words.push(token.word);
      this.#take();
    }
    if (this.#isOperator(";")) this.#take();
    else if (this.#peek().kind !== "newline") throw this.#unexpected(this.#peek());
    return words;
  }

  #case(): CompoundNode {
    this.#take();
    const subject = this.#take();
    if (subject.kind !== "word") throw this.#unexpected(subject);
    this.#skipNewlines();
    this.#expectWord("in");
    this.#skipNewlines();
    const items: { patterns: Word[]; body: ListNode }[] = [];
    while (!this.#isWord("esac")) {
      items.push(this.#caseItem());
      if (this.#isOperator(";;")) this.#take();
      else if (!this.#isWord("esac")) throw this.#unexpected(this.#peek());
      this.#skipNewlines();
    }
    this.#take();
    return { kind: "case", word: subject.word, items, redirects: this.#redirects() };
  }

  #caseItem(): { patterns: Word[]; body: ListNode } {
    if (this.#isOperator("(")) this.#take();
    const patterns: Word[] = [];
    for (;;) {
      const token = this.#take();
      if (token.kind !== "word") throw this.#unexpected(token);
      patterns.push(token.word);
      if (!this.#isOperator("|")) break;
      this.#take();
    }
    this.#expectOperator(")");
    return { patterns, body: this.#compoundList() };
  }

  #simple(): CommandNode {
    const assignments: Assignment[] = [];
    const words: Word[] = [];
    const redirects: Redirect[] = [];
    const line = this.#lexer.line(this.#peek().start);
    for (;;) {
      const redirect = this.#redirect();
      if (redirect !== undefined) {
        redirects.push(redirect);
        continue;
      }
      if (this.#aliasAt !== undefined && this.#peek().start >= this.#aliasAt) {
        this.#aliasAt = undefined;
        this.#expandAlias();
      }
      const token = this.#peek();
      if (token.kind !== "word") break;
      this.#take();
      const assignment = words.length === 0 ? asAssignment(token.word) : undefined;
      if (assignment !== undefined) assignments.push(assignment);
      else words.push(token.word);
      if (words.length === 1 && assignments.length === 0 && redirects.length === 0 && this.#isOperator("(")) {
        return this.#function(token.word);
      }
    }
    if (assignments.length + words.length + redirects.length === 0) throw this.#unexpected(this.#peek());
    return { kind: "simple", assignments, words, redirects, line };
  }

  #function(nameWord: Word): CommandNode {
    const open = this.#take();
    const name = literalText(nameWord);
    if (name === undefined || !/^[A-Za-z_][\w.-]*$/.test(name)) throw this.#unexpected(open);
    this.#expectOperator(")");
    this.#skipNewlines();
    const body = this.#command();
    if (body.kind === "simple" || body.kind === "function") throw this.#unexpected(this.#peek());
    return { kind: "function", name, body };
  }

  #redirects(): Redirect[] {
    const redirects: Redirect[] = [];
    for (let next = this.#redirect(); next !== undefined; next = this.#redirect()) redirects.push(next);
    return redirects;
  }

  #redirect(): Redirect | undefined {
    let token = this.#peek();
    let fd: number | undefined;
    if (token.kind === "io-number") {
      fd = token.fd;
      this.#take();
      token = this.#peek();
    }
    if (token.kind !== "operator") return undefined;
    const operator = asRedirectOperator(token.text);
    if (operator === undefined) return undefined;
    const stripTabs = token.text === "<<-";
    this.#take();
    const target = this.#take();
    if (target.kind !== "word") throw this.#unexpected(target);
    const number = fd ?? (operator.startsWith("<") ? 0 : 1);
    return operator === "<<"
      ? this.#hereDocument(number, target.word, stripTabs)
      : { fd: number, operator, target: target.word };
  }

  #hereDocument(fd: number, word: Word, stripTabs: boolean): Redirect {
    const redirect: { fd: number; operator: "<<"; target: Word } = { fd, operator: "<<", target: [] };
    this.#lexer.addDocument({
      delimiter: word.map((part) => (part.kind === "literal" ? part.text : "")).join(""),
      quoted: word.some((part) => part.kind === "literal" && part.quoted),
      stripTabs,
      deliver: (body) => {
        redirect.target = body;
      },
    });
    return redirect;
  }
}

const GRAMMAR = {
  substitution: (source: string, at: number): { body: ListNode; end: number } =>
    new Parser(source, at).substitution(),
  script: (source: string): ListNode => parseScript(source),
};

const REDIRECTS = ["<", ">", ">>", ">|", "<>", "<&", ">&", "<<"] as const;

function asRedirectOperator(text: string): Redirect["operator"] | undefined {
  return text === "<<-" ? "<<" : REDIRECTS.find((operator) => operator === text);
}

function asAssignment(word: Word): Assignment | undefined {
  const [first, ...rest] = word;
  if (first?.kind !== "literal" || first.quoted) return undefined;
  const match = /^([A-Za-z_][A-Za-z0-9_]*)=([^]*)$/.exec(first.text);
  if (match === null) return undefined;
  const value = match[2] === "" ? rest : [{ ...first, text: match[2]! }, ...rest];
  return { name: match[1]!, value };
}
