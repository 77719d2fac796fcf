/**
 * Arithmetic expansion, XCU 2.6.4: the integer expressions of C on 64-bit two's complement, with assignment to variables.
 *
 * The text has had its parameters expanded. A name without a value is 0; a value that is itself an expression is evaluated.
 */

export class ArithmeticError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "ArithmeticError";
  }
}

export interface ArithmeticVariables {
  get(name: string): string | undefined;
  set(name: string, value: string): void;
}

export function evaluateArithmetic(text: string, variables: ArithmeticVariables): bigint {
  return new Evaluator(text, variables, 0).run();
}

const TOKEN =
  /\s*(?:(0[xX][0-9a-fA-F]+|\d+)|([A-Za-z_]\w*)|(<<=|>>=|&&|\|\||==|!=|<=|>=|<<|>>|\+\+|--|[-+*/%&|^]=|[-+*/%&|^!~<>=?:(),]))/y;

const LEVELS: readonly (readonly string[])[] = [
  ["||"],
  ["&&"],
  ["|"],
  ["^"],
  ["&"],
  ["==", "!="],
  ["<", ">", "<=", ">="],
  ["<<", ">>"],
  ["+", "-"],
  ["*", "/", "%"],
];

const ASSIGNMENTS = new Set(["=", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<=", ">>="]);
const MAX_DEPTH = 64;

const wrap = (value: bigint): bigint => BigInt.asIntN(64, value);
const truth = (value: boolean): bigint => (value ? 1n : 0n);

interface ArithmeticToken {
  readonly kind: "number" | "name" | "operator" | "end";
  readonly text: string;
}

class Evaluator {
  readonly #text: string;
  readonly #variables: ArithmeticVariables;
  readonly #depth: number;
  #at = 0;
  #token: ArithmeticToken;
  /** Above zero in the branch that is not taken: nothing is assigned, and nothing is divided. */
  #skipping = 0;

  constructor(text: string, variables: ArithmeticVariables, depth: number) {
    if (depth > MAX_DEPTH) throw new ArithmeticError("expression recursion level exceeded");
    this.#text = text;
    this.#variables = variables;
    this.#depth = depth;
    this.#token = this.#scan();
  }

  run(): bigint {
    if (this.#atEnd()) return 0n;
    const value = this.#comma();
    if (!this.#atEnd()) throw this.#error();
    return value;
  }

  #atEnd(): boolean {
    return this.#token.kind === "end";
  }

  #error(): ArithmeticError {
    return new ArithmeticError(`arithmetic syntax error near "${this.#token.text || this.#text.trim()}"`);
  }

  #scan(): ArithmeticToken {
    TOKEN.lastIndex = this.#at;
    const match = TOKEN.exec(this.#text);
    if (match === null) {
      const rest = this.#text.slice(this.#at).trim();
      if (rest !== "") throw new ArithmeticError(`arithmetic syntax error near "${rest}"`);
      return { kind: "end", text: "" };
    }
    this.#at = TOKEN.lastIndex;
    if (match[1] !== undefined) return { kind: "number", text: match[1] };
    if (match[2] !== undefined) return { kind: "name", text: match[2] };
    return { kind: "operator", text: match[3]! };
  }

  #advance(): ArithmeticToken {
    const token = this.#token;
    this.#token = this.#scan();
    return token;
  }

  #accept(text: string): boolean {
    if (this.#token.kind !== "operator" || this.#token.text !== text) return false;
    this.#advance();
    return true;
  }

  #comma(): bigint {
    let value = this.#assignment();
    while (this.#accept(",")) value = this.#assignment();
    return value;
  }

  #assignment(): bigint {
    if (this.#token.kind === "name") {
      const saved = { at: this.#at, token: this.#token };
      const name = this.#advance().text;
      const operator = this.#token;
      if (operator.kind === "operator" && ASSIGNMENTS.has(operator.text)) {
        this.#advance();
        const right = this.#assignment();
        const old = operator.text === "=" ? 0n : this.#read(name);
        return this.#assign(
          name,
          operator.text === "=" ? right : this.#binary(operator.text.slice(0, -1), old, right),
        );
      }
      this.#at = saved.at;
      this.#token = saved.token;
    }
    return this.#conditional();
  }

  #conditional(): bigint {
    const condition = this.#level(0);
    if (!this.#accept("?")) return condition;
    const yes = this.#unless(condition === 0n, () => this.#comma());
    if (!this.#accept(":")) throw this.#error();
    const no = this.#unless(condition !== 0n, () => this.#assignment());
    return condition === 0n ? no : yes;
  }

  #unless(skip: boolean, evaluate: () => bigint): bigint {
    if (skip) this.#skipping += 1;
    const value = evaluate();
    if (skip) this.#skipping -= 1;
    return value;
  }

  #level(level: number): bigint {
    const operators = LEVELS[level];
    if (operators === undefined) return this.#unary();
    let left = this.#level(level + 1);
    while (this.#token.kind === "operator" && operators.includes(this.#token.text)) {
      const operator = this.#advance().text;
      const skip = (operator === "&&" && left === 0n) || (operator === "||" && left !== 0n);
      const known = left;
      const right = this.#unless(skip, () => this.#level(level + 1));
      left = this.#binary(operator, known, right);
    }
    return left;
  }

  #binary(operator: string, a: bigint, b: bigint): bigint {
    switch (operator) {
      case "||":
        return truth(a !== 0n || b !== 0n);
      case "&&":
        return truth(a !== 0n && b !== 0n);
      case "|":
        return a | b;
      case "^":
        return a ^ b;
      case "&":
        return a & b;
      case "==":
        return truth(a === b);
      case "!=":
        return truth(a !== b);
      case "<":
        return truth(a < b);
      case ">":
        return truth(a > b);
      case "<=":
        return truth(a <= b);
      case ">=":
        return truth(a >= b);
      case "<<":
        return wrap(a << (b & 63n));
      case ">>":
        return a >> (b & 63n);
      case "+":
        return wrap(a + b);
      case "-":
        return wrap(a - b);
      case "*":
        return wrap(a * b);
      default:
        return this.#divide(operator, a, b);
    }
  }

  #divide(operator: string, a: bigint, b: bigint): bigint {
    if (this.#skipping > 0) return 0n;
    if (b === 0n) throw new ArithmeticError("divide by zero");
    return wrap(operator === "/" ? a / b : a % b);
  }

  #unary(): bigint {
    if (this.#accept("++")) return this.#step(1n);
    if (this.#accept("--")) return this.#step(-1n);
    if (this.#accept("+")) return this.#unary();
    if (this.#accept("-")) return wrap(-this.#unary());
    if (this.#accept("~")) return ~this.#unary();
    if (this.#accept("!")) return truth(this.#unary() === 0n);
    return this.#primary();
  }

  #step(by: bigint): bigint {
    if (this.#token.kind !== "name") throw this.#error();
    const name = this.#advance().text;
    return this.#assign(name, wrap(this.#read(name) + by));
  }

  #primary(): bigint {
    if (this.#accept("(")) {
      const value = this.#comma();
      if (!this.#accept(")")) throw this.#error();
      return value;
    }
    const token = this.#advance();
    if (token.kind === "number") return parseNumber(token.text);
    if (token.kind !== "name")
      throw new ArithmeticError(`arithmetic syntax error near "${token.text || this.#text.trim()}"`);
    const value = this.#read(token.text);
    if (this.#accept("++")) this.#assign(token.text, wrap(value + 1n));
    else if (this.#accept("--")) this.#assign(token.text, wrap(value - 1n));
    return value;
  }

  #read(name: string): bigint {
    const text = (this.#variables.get(name) ?? "").trim();
    if (text === "" || this.#skipping > 0) return 0n;
    if (/^\d+$/.test(text)) return parseNumber(text);
    return new Evaluator(text, this.#variables, this.#depth + 1).run();
  }

  #assign(name: string, value: bigint): bigint {
    if (this.#skipping === 0) this.#variables.set(name, String(value));
    return value;
  }
}

function parseNumber(text: string): bigint {
  const isOctal = /^0\d+$/.test(text);
  if (isOctal && /[89]/.test(text)) throw new ArithmeticError(`${text}: value too great for base`);
  return wrap(BigInt(isOctal ? `0o${text.slice(1)}` : text));
}
