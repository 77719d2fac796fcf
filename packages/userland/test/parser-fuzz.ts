/**
 * The random suite of the shell's parser: any text gives commands or a `SyntaxError`, read whole as read line by line, in bounded
 * steps; blank lines and comments around it change nothing; and arithmetic gives a number or an `ArithmeticError`.
 */
import { type Prng, type Reach, subjectSuite } from "@alien-ts/testkit";
import { ArithmeticError, evaluateArithmetic } from "../src/shell/arithmetic.ts";
import type { ListNode } from "../src/shell/ast.ts";
import { SyntaxError } from "../src/shell/lexer.ts";
import { Parser, parseScript } from "../src/shell/parser.ts";

interface Subject {
  /** All commands of a text. */
  whole(source: string): ListNode;
  /** The next line's; undefined at the end. */
  line(parser: Parser): ListNode | undefined;
  arithmetic(text: string): bigint;
}

const variables = new Map<string, string>();
const shell: Subject = {
  whole: (source) => parseScript(source),
  line: (parser) => parser.parseNext(),
  arithmetic: (text) =>
    evaluateArithmetic(text, {
      get: (name) => variables.get(name) ?? "",
      set: (name, value) => void variables.set(name, value),
    }),
};

const BUGS: Readonly<Record<string, Subject>> = {
  "an unexpected ;; throws what is no syntax error": {
    ...shell,
    whole: (source) => {
      try {
        return parseScript(source);
      } catch (error) {
        if (String(error).includes(";;")) throw new TypeError("no token", { cause: error });
        throw error;
      }
    },
  },
  "a line with a background job ends the script": {
    ...shell,
    line: (parser) => {
      const line = parser.parseNext();
      return line?.items.some(({ background }) => background) === true ? undefined : line;
    },
  },
  "division by zero is the host's": {
    ...shell,
    arithmetic: (text) => {
      if (/[/%]\s*0/.test(text)) return 1n / 0n;
      return shell.arithmetic(text);
    },
  },
};

const WORDS = [
  "echo",
  "a",
  "x=1",
  "$x",
  '"$x y"',
  "'q'",
  "\\",
  '"',
  "'",
  "`",
  "`a`",
  "$(",
  ")",
  "$(a)",
  "${x:-b}",
  "${",
  "}",
  "$((1+2))",
  "$((",
  "))",
  "if",
  "then",
  "else",
  "elif",
  "fi",
  "while",
  "until",
  "do",
  "done",
  "for",
  "in",
  "case",
  "esac",
  ";;",
  "{",
  "(",
  "f()",
  "!",
  "|",
  "||",
  "&&",
  "&",
  ";",
  "\n",
  "\n",
  " ",
  " ",
  "<",
  ">",
  ">>",
  "2>&1",
  "<<E\nx\nE\n",
  "<<-'E'",
  "#c",
  "*",
  "[a-",
  "~",
  "é",
  "\0",
  "=",
  "0",
  "if a; then b; fi",
  "case a in b) c;; esac",
  "for i in 1 2; do e; done",
  "while a; do b; done",
  "{ a; }",
  "( a )",
  "f() { a; }",
];
const NUMBERS = ["1", "0", "x", "007", "0x1f", "9223372036854775807", "09", "(", ")", " ", "é"];
const OPERATORS = [
  "+",
  "-",
  "*",
  "/",
  "%",
  "<<",
  ">>",
  "&&",
  "||",
  "!",
  "~",
  "?",
  ":",
  "=",
  "+=",
  "++",
  ",",
  "==",
  "<",
];
/** More lines than any text here has. */
const LINES_MOST = 1000;

export const parserFuzz = subjectSuite("sh-parser", shell, BUGS, (subject, random, reach) => {
  const source = randomText(random, WORDS, 1 + random.below(24));
  variables.clear();
  const number = randomText(random, [...NUMBERS, ...NUMBERS, ...OPERATORS], 1 + random.below(8));
  return parseProblem(subject, source, reach) ?? arithmeticProblem(subject, number, reach);
});

function randomText(random: Prng, words: readonly string[], count: number): string {
  let text = "";
  for (let i = 0; i < count; i++) text += `${random.pick(words)}${random.oneIn(3) ? "" : " "}`;
  return text;
}

/** The commands as text without the numbers of their lines, or what is wrong with them. Throws what is not a syntax error. */
function outcome(parse: () => ListNode): string {
  try {
    return JSON.stringify(parse().items, (key, value: unknown) => (key === "line" ? undefined : value));
  } catch (error) {
    if (error instanceof SyntaxError) return error.name;
    throw error;
  }
}

function parseProblem(subject: Subject, source: string, reach: Reach): string | undefined {
  const shown = JSON.stringify(source);
  try {
    const whole = outcome(() => subject.whole(source));
    reach(whole.startsWith("[") ? "parses" : whole);
    for (const [, kind] of whole.matchAll(/"kind":"([a-z]+)"/g)) reach(`has ${kind}`);
    const lines = outcome(() => byLines(subject, source));
    if (lines !== whole) return `${shown} is ${whole}, and line by line ${lines}`;
    const padded = outcome(() => subject.whole(`\n # comment\n\n${source}`));
    return padded === whole ? undefined : `${shown} is ${whole}, and behind a comment ${padded}`;
  } catch (error) {
    return `${shown} throws ${String(error)}`;
  }
}

function byLines(subject: Subject, source: string): ListNode {
  const parser = new Parser(source);
  const items: ListNode["items"][number][] = [];
  for (let i = 0; i < LINES_MOST; i++) {
    const line = subject.line(parser);
    if (line === undefined) return { kind: "list", items };
    items.push(...line.items);
  }
  throw new Error("the text does not end");
}

function arithmeticProblem(subject: Subject, text: string, reach: Reach): string | undefined {
  try {
    const value = subject.arithmetic(text);
    reach("arithmetic: number");
    return BigInt.asIntN(64, value) === value
      ? undefined
      : `$((${text})) is ${value}, which is no 64-bit number`;
  } catch (error) {
    if (!(error instanceof ArithmeticError)) return `$((${text})) throws ${String(error)}`;
    reach("arithmetic: error");
    return undefined;
  }
}
