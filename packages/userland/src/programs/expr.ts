/** expr(1): 0 where the value is neither empty nor zero, 1 where it is, 2 where the expression is wrong. */
import { ToolError, UsageError } from "../libc/errors.ts";
import { compileRegex, withRegex } from "../libc/regex.ts";
import { compareBytes } from "../libc/text.ts";
import { tool } from "../libc/tool.ts";

const SYNTAX = 2;

export const expr = tool({
  name: "expr",
  usage: "expr EXPRESSION",
  usageStatus: SYNTAX,
  options: "",
  raw: true,
  main: async (process, { words }) => {
    const operands = words[0] === "--" ? words.slice(1) : words;
    if (operands.length === 0) throw new UsageError("missing operand");
    const value = new Evaluator(operands).run();
    await process.stdout.writeLine(value);
    return isTrue(value) ? 0 : 1;
  },
});

const isTrue = (value: string): boolean => value !== "" && !/^-?0+$/.test(value);
const isInteger = (value: string): boolean => /^-?\d+$/.test(value);

/** Binary operators from the one that binds least. */
const LEVELS: readonly (readonly string[])[] = [
  ["|"],
  ["&"],
  ["=", "==", "!=", "<", "<=", ">", ">="],
  ["+", "-"],
  ["*", "/", "%"],
  [":"],
];

class Evaluator {
  readonly #words: readonly string[];
  #at = 0;

  constructor(words: readonly string[]) {
    this.#words = words;
  }

  run(): string {
    const value = this.#level(0);
    const rest = this.#words[this.#at];
    if (rest !== undefined) throw new ToolError(`syntax error: unexpected argument '${rest}'`, SYNTAX);
    return value;
  }

  #level(level: number): string {
    const operators = LEVELS[level];
    if (operators === undefined) return this.#primary();
    let left = this.#level(level + 1);
    for (;;) {
      const operator = this.#words[this.#at];
      if (operator === undefined || !operators.includes(operator)) return left;
      this.#at += 1;
      left = apply(operator, left, this.#level(level + 1));
    }
  }

  #primary(): string {
    const word = this.#words[this.#at];
    if (word === undefined)
      throw new ToolError(`syntax error: missing argument after '${this.#words.at(-1) ?? ""}'`, SYNTAX);
    this.#at += 1;
    const take = (): string => this.#primary();
    switch (word) {
      case "(": {
        const value = this.#level(0);
        if (this.#words[this.#at] !== ")") throw new ToolError("syntax error: expecting ')'", SYNTAX);
        this.#at += 1;
        return value;
      }
      case "length":
        return String(take().length);
      case "match":
        return match(take(), take());
      case "index": {
        const [text, characters] = [take(), take()];
        return String([...text].findIndex((char) => characters.includes(char)) + 1);
      }
      case "substr": {
        const [text, from, count] = [take(), Number(take()), Number(take())];
        return from >= 1 && count >= 1 ? text.slice(from - 1, from - 1 + count) : "";
      }
      default:
        return word;
    }
  }
}

function apply(operator: string, a: string, b: string): string {
  switch (operator) {
    case "|":
      return isTrue(a) ? a : isTrue(b) ? b : "0";
    case "&":
      return isTrue(a) && isTrue(b) ? a : "0";
    case ":":
      return match(a, b);
    default:
      return "+-*/%".includes(operator) ? calculate(operator, a, b) : compare(operator, a, b);
  }
}

function compare(operator: string, a: string, b: string): string {
  const order = isInteger(a) && isInteger(b) ? Number(BigInt(a) - BigInt(b)) : compareBytes(a, b);
  const results: Readonly<Record<string, boolean>> = {
    "=": order === 0,
    "==": order === 0,
    "!=": order !== 0,
    "<": order < 0,
    "<=": order <= 0,
    ">": order > 0,
    ">=": order >= 0,
  };
  return results[operator] === true ? "1" : "0";
}

function calculate(operator: string, a: string, b: string): string {
  if (!isInteger(a) || !isInteger(b)) throw new ToolError("non-integer argument", SYNTAX);
  const [x, y] = [BigInt(a), BigInt(b)];
  if (operator === "+") return String(x + y);
  if (operator === "-") return String(x - y);
  if (operator === "*") return String(x * y);
  if (y === 0n) throw new ToolError("division by zero", SYNTAX);
  return String(operator === "/" ? x / y : x % y);
}

/** The pattern is anchored at the start: its group, or the number of characters that match. */
function match(text: string, pattern: string): string {
  return withRegex(SYNTAX, () => {
    const regex = compileRegex(pattern, { bounds: "start" });
    const found = regex.exec(text);
    return regex.groups > 0 ? (found?.groups[1] ?? "") : String(found?.end ?? 0);
  });
}
