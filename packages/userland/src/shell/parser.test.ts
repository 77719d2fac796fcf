/** What the parser makes of a text, in a short notation. */
import { expect, test } from "vitest";
import type { AndOrNode, CommandNode, ListNode, Redirect, Word, WordPart } from "./ast.ts";
import { ArithmeticError, evaluateArithmetic } from "./arithmetic.ts";
import { IncompleteError, SyntaxError } from "./lexer.ts";
import { parseScript } from "./parser.ts";

const showList = (list: ListNode): string =>
  list.items.map(({ command, background }) => showAndOr(command) + (background ? " &" : "")).join("; ");

const showAndOr = ({ first, rest }: AndOrNode): string =>
  [first, ...rest.map(({ pipeline }) => pipeline)]
    .map((pipeline, i) => {
      const operator = i === 0 ? "" : ` ${rest[i - 1]!.operator} `;
      return `${operator}${pipeline.negated ? "! " : ""}${pipeline.commands.map((each) => showCommand(each)).join(" | ")}`;
    })
    .join("");

function showCommand(node: CommandNode): string {
  switch (node.kind) {
    case "simple":
      return [
        ...node.assignments.map(({ name, value }) => `${name}:=${showWord(value)}`),
        ...node.words.map((word) => showWord(word)),
        ...node.redirects.map((redirect) => showRedirect(redirect)),
      ].join(" ");
    case "function":
      return `${node.name}()${showCommand(node.body)}`;
    default:
      return `${showCompound(node)}${node.redirects.map((redirect) => ` ${showRedirect(redirect)}`).join("")}`;
  }
}

function showCompound(node: Exclude<CommandNode, { kind: "simple" } | { kind: "function" }>): string {
  switch (node.kind) {
    case "group":
      return `{${showList(node.body)}}`;
    case "subshell":
      return `(${showList(node.body)})`;
    case "if":
      return `if${node.branches.map(({ condition, body }) => `[${showList(condition)}?${showList(body)}]`).join("")}${node.otherwise === undefined ? "" : `[${showList(node.otherwise)}]`}`;
    case "while":
      return `${node.until ? "until" : "while"}[${showList(node.condition)}][${showList(node.body)}]`;
    case "for":
      return `for ${node.name}[${node.words?.map((word) => showWord(word)).join(" ") ?? "@"}][${showList(node.body)}]`;
    case "case":
      return `case ${showWord(node.word)}${node.items.map(({ patterns, body }) => `[${patterns.map((word) => showWord(word)).join("|")}:${showList(body)}]`).join("")}`;
  }
}

const showRedirect = ({ fd, operator, target }: Redirect): string => `${fd}${operator}${showWord(target)}`;
const showWord = (word: Word): string => word.map((part) => showPart(part)).join("") || "''";

/** Quoted text in quotes; expansions in braces, with a quote before them where they are quoted. */
function showPart(part: WordPart): string {
  switch (part.kind) {
    case "literal":
      return part.quoted ? `'${part.text.replace(/\n/g, "\\n")}'` : part.text;
    case "parameter": {
      const operator = part.operator === undefined ? "" : part.operator + showWord(part.word ?? []);
      return `${part.quoted ? '"' : ""}{${part.length ? "#" : ""}${part.name}${operator}}`;
    }
    case "command":
      return `${part.quoted ? '"' : ""}$(${showList(part.body)})`;
    case "arithmetic":
      return `${part.quoted ? '"' : ""}$((${showWord(part.expression)}))`;
  }
}

test.each([
  ["a b c", "a b c"],
  ["a;b&c", "a; b &; c"],
  ["a && b || c | d", "a && b || c | d"],
  ["! a | b", "! a | b"],
  ["a |\n b", "a | b"],
  ["x=1 y=$z a b=2", "x:=1 y:={z} a b=2"],
  ["x= a", "x:='' a"],
  ["a>b 2>>c <d 3<&0 >&- <>e >|f", "a 1>b 2>>c 0<d 3<&0 1>&- 0<>e 1>|f"],
  ["a2>b", "a2 1>b"],
  [`'a'"b"c\\d`, "'ab'c'd'"],
  ['"$a${b}`c`$(d e)$((1+$f))"', `''"{a}"{b}"$(c)"$(d e)"$(('1+'"{f}))`],
  ["${a:-b c} ${#d} ${e%%*.x} ${f:+'g h'}", "{a:-b c} {#d} {e%%*.x} {f:+'g h'}"],
  ['"${a-"b"}" ${#} ${#-x}', `''"{a-'b'} {#} {#-x}`],
  ["$1$23${12}$$$?", "{1}{2}3{12}{$}{?}"],
  ["a # b\nc#d", "a; c#d"],
  ["if a; then b; elif c; then d; else e; fi", "if[a?b][c?d][e]"],
  ["while a; do b; done >f", "while[a][b] 1>f"],
  ["until a\ndo\nb\ndone", "until[a][b]"],
  ["for i in a $b; do c; done", "for i[a {b}][c]"],
  ["for i\ndo c; done", "for i[@][c]"],
  ["case $a in b|c) d;; (e) f; g;; *) esac", "case {a}[b|c:d][e:f; g][*:]"],
  ["{ a; b; } 2>&1", "{a; b} 2>&1"],
  ["(a; (b))", "(a; (b))"],
  ["f() { a; }", "f(){a}"],
  ["f()\n(a) >b", "f()(a) 1>b"],
  ["echo if then { }", "echo if then { }"],
  ["cat <<A b\nx $y\nA\nc", "cat b 0<<'x '\"{y}'\\n'; c"],
  ["cat <<'A'\n$x\nA", "cat 0<<'$x\\n'"],
  ["cat <<-A\n\tx\n\tA", "cat 0<<'x\\n'"],
  ["cat <<A | b\nx\nA", "cat 0<<'x\\n' | b"],
  ["a $(cat <<E\nx )\nE\n) b", "a $(cat 0<<'x )\\n') b"],
  ["$((1 + (2)))", "$(('1 + (2)'))"],
  ["$( (a) )", "$((a))"],
  ["a\\\nb c", "ab c"],
])("%s", (script, shown) => {
  expect(showList(parseScript(script))).toBe(shown);
});

test.each([
  "'a",
  '"a',
  "a |",
  "a &&",
  "if a",
  "if a; then",
  "while a; do b",
  "{ a",
  "(a",
  "f()",
  "$(a",
  "${a:-b",
  "cat <<E",
  "`a",
  "case a in",
  "for i in a",
])("%s wants more input", (script) => {
  expect(() => parseScript(`${script}\n`)).toThrow(IncompleteError);
});

test.each([
  "fi",
  ";",
  "a;;b",
  "| a",
  "if; then a; fi",
  "for 1 in a; do b; done",
  "${a!b}",
  "a )",
  "f( { a; }",
  "{ a; } b",
  "a && && b",
])("%s is wrong", (script) => {
  let thrown: unknown;
  try {
    parseScript(script);
  } catch (error) {
    thrown = error;
  }
  expect(thrown).toBeInstanceOf(SyntaxError);
  expect(thrown).not.toBeInstanceOf(IncompleteError);
});

test.each([
  ["1 + 2 * 3", "7"],
  ["(1 + 2) * 3", "9"],
  ["10 - 3 - 2", "5"],
  ["7 % 4 ? 1 : 2", "1"],
  ["1 < 2 == 1", "1"],
  ["!5 + ~0", "-1"],
  ["a = 5, a * 2", "10"],
  ["x += 3", "8"],
  ["++x + x++", "12"],
  ["-x", "-5"],
  ["1 ? 2 : 3 ? 4 : 5", "2"],
  ["0x1f & 017", "15"],
  ["1 << 63", "-9223372036854775808"],
  ["y", "5"],
  ["", "0"],
])("the expression %s", (text, value) => {
  const variables = new Map([
    ["x", "5"],
    ["y", "x"],
  ]);
  const access = {
    get: (name: string): string | undefined => variables.get(name),
    set: (name: string, set: string): void => void variables.set(name, set),
  };
  expect(String(evaluateArithmetic(text, access))).toBe(value);
});

test.each(["1 +", "1 2", "(1", "1 = 2", "5 / 0", "09", "a b", "@"])(
  "the expression %s is refused",
  (text) => {
    const access = { get: () => undefined, set: () => {} };
    expect(() => evaluateArithmetic(text, access)).toThrow(ArithmeticError);
  },
);
