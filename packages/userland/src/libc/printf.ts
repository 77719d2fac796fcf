/**
 * Formats as printf(1) and the tools use them: the conversions of XBD chapter 5, on text operands.
 *
 * `formatOperands` is printf(1) itself: the format is used again while operands remain. Integers are 64 bits wide.
 */

export interface Formatted {
  readonly text: string;
  /** Operands that were not numbers: messages for standard error. */
  readonly complaints: readonly string[];
}

const CONVERSION = /%([-+ #0]*)(\*|\d+)?(?:\.(\*|-?\d*))?([hlLjzt]*)([A-Za-z%])/y;

/** A `%b` operand with `\c`, or a `\c` in the format: all output ends there. */
const STOP = Symbol("stop");

class Formatter {
  readonly complaints: string[] = [];
  #operands: readonly string[];
  #used = 0;

  constructor(operands: readonly string[]) {
    this.#operands = operands;
  }

  get remaining(): number {
    return this.#operands.length - this.#used;
  }

  next(): string | undefined {
    return this.#used < this.#operands.length ? this.#operands[this.#used++] : undefined;
  }

  /** One pass over the format. */
  pass(format: string): { text: string; stopped: boolean } {
    let text = "";
    for (let i = 0; i < format.length;) {
      const char = format[i]!;
      if (char === "\\") {
        const escape = readEscape(format, i, false);
        if (escape.text === STOP) return { text, stopped: true };
        text += escape.text;
        i = escape.next;
        continue;
      }
      CONVERSION.lastIndex = i;
      const match = char === "%" ? CONVERSION.exec(format) : null;
      if (match === null) {
        text += char;
        i += 1;
        continue;
      }
      i = CONVERSION.lastIndex;
      const piece = this.#convert(match);
      text += piece.text;
      if (piece.stopped) return { text, stopped: true };
    }
    return { text, stopped: false };
  }

  #convert(match: RegExpExecArray): { text: string; stopped: boolean } {
    const letter = match[5]!;
    if (letter === "%") return { text: "%", stopped: false };
    let flags = match[1] ?? "";
    let width = match[2] === "*" ? Number(this.next() ?? 0) : Number(match[2] ?? 0);
    if (width < 0) {
      flags += "-";
      width = -width;
    }
    const rawPrecision = match[3] === "*" ? (this.next() ?? "0") : match[3];
    const precision = rawPrecision === undefined ? undefined : Math.max(Number(rawPrecision || 0), 0);
    const spec: Spec = { flags, width, precision, letter };
    if (letter === "b") {
      const { text, stopped } = expandEscapes(this.next() ?? "");
      return { text: pad(spec, precision === undefined ? text : text.slice(0, precision)), stopped };
    }
    return { text: this.#operand(spec), stopped: false };
  }

  #operand(spec: Spec): string {
    const operand = this.next();
    if (spec.letter === "s") return pad(spec, (operand ?? "").slice(0, spec.precision));
    if (spec.letter === "c") return pad(spec, (operand ?? "").slice(0, 1));
    if ("diouxX".includes(spec.letter)) return formatInteger(spec, this.#integer(operand ?? "0"));
    if ("eEfFgG".includes(spec.letter)) return formatFloat(spec, this.#float(operand ?? "0"));
    this.complaints.push(`%${spec.letter}: invalid conversion specification`);
    return "";
  }

  #integer(text: string): bigint {
    const value = parseInteger(text);
    if (value.complaint !== undefined) this.complaints.push(value.complaint);
    return value.value;
  }

  #float(text: string): number {
    if (/^["']./.test(text)) return text.charCodeAt(1);
    const value = text === "" ? 0 : Number(text.replace(/^([+-]?)inf(inity)?$/i, "$1Infinity"));
    if (!Number.isNaN(value) || /^nan$/i.test(text)) return value;
    this.complaints.push(`'${text}': expected a numeric value`);
    return Number.parseFloat(text) || 0;
  }
}

interface Spec {
  readonly flags: string;
  readonly width: number;
  readonly precision: number | undefined;
  readonly letter: string;
}

/** printf(1). */
export function formatOperands(format: string, operands: readonly string[]): Formatted {
  const formatter = new Formatter(operands);
  let text = "";
  for (;;) {
    const before = formatter.remaining;
    const pass = formatter.pass(format);
    text += pass.text;
    const usedNone = formatter.remaining === before;
    if (pass.stopped || formatter.remaining === 0 || usedNone) break;
  }
  return { text, complaints: formatter.complaints };
}

/** One number in one conversion, such as `%5.1f` (seq). */
export const formatNumber = (format: string, value: number): string =>
  new Formatter([String(value)]).pass(format).text;

function parseInteger(text: string): { value: bigint; complaint?: string } {
  if (/^["']./.test(text)) return { value: BigInt(text.charCodeAt(1)) };
  const match = /^\s*([+-]?)(0[xX][0-9a-fA-F]+|\d+)/.exec(text);
  if (match === null) {
    return text.trim() === ""
      ? { value: 0n }
      : { value: 0n, complaint: `'${text}': expected a numeric value` };
  }
  const digits = match[2]!;
  const isOctal = /^0[0-7]+$/.test(digits);
  const magnitude = BigInt(isOctal ? `0o${digits.slice(1)}` : digits);
  const value = match[1] === "-" ? -magnitude : magnitude;
  return match[0].length === text.length
    ? { value }
    : { value, complaint: `'${text}': value not completely converted` };
}

function formatInteger(spec: Spec, value: bigint): string {
  const { flags, letter } = spec;
  const isSigned = letter === "d" || letter === "i";
  const bits = isSigned ? BigInt.asIntN(64, value) : BigInt.asUintN(64, value);
  const radix = letter === "o" ? 8 : letter === "x" || letter === "X" ? 16 : 10;
  let digits = (bits < 0n ? -bits : bits).toString(radix);
  if (spec.precision !== undefined) digits = digits.padStart(spec.precision, "0");
  if (spec.precision === 0 && bits === 0n) digits = "";
  if (flags.includes("#") && radix === 8 && !digits.startsWith("0")) digits = `0${digits}`;
  let sign = "";
  if (isSigned) sign = bits < 0n ? "-" : flags.includes("+") ? "+" : flags.includes(" ") ? " " : "";
  if (flags.includes("#") && radix === 16 && bits !== 0n) sign = "0x";
  const zeros = flags.includes("0") && !flags.includes("-") && spec.precision === undefined;
  if (zeros) digits = digits.padStart(spec.width - sign.length, "0");
  const text = sign + digits;
  return pad(spec, letter === "X" ? text.toUpperCase() : text);
}

function formatFloat(spec: Spec, value: number): string {
  const { flags } = spec;
  const magnitude = Math.abs(value);
  const isNegative = value < 0 || Object.is(value, -0);
  const sign = isNegative ? "-" : flags.includes("+") ? "+" : flags.includes(" ") ? " " : "";
  const lower = spec.letter.toLowerCase();
  let body = Number.isFinite(magnitude)
    ? finiteFloat(lower, magnitude, spec)
    : Number.isNaN(magnitude)
      ? "nan"
      : "inf";
  if (flags.includes("0") && !flags.includes("-") && Number.isFinite(magnitude)) {
    body = body.padStart(spec.width - sign.length, "0");
  }
  const text = sign + body;
  return pad(spec, spec.letter === lower ? text : text.toUpperCase());
}

function finiteFloat(letter: string, value: number, spec: Spec): string {
  const precision = spec.precision ?? 6;
  if (letter === "f") return value.toFixed(Math.min(precision, 100));
  if (letter === "e") return exponent(value.toExponential(Math.min(precision, 100)));
  const significant = Math.max(precision, 1);
  const power = value === 0 ? 0 : Number(value.toExponential(significant - 1).split("e")[1]);
  const text =
    power < -4 || power >= significant
      ? exponent(value.toExponential(significant - 1))
      : value.toFixed(Math.min(significant - 1 - power, 100));
  if (spec.flags.includes("#") || !text.includes(".")) return text;
  return text.replace(/\.?0+(e|$)/, "$1");
}

/** C writes at least two digits of exponent. */
const exponent = (text: string): string => text.replace(/e([+-])(\d)$/, "e$10$2");

function pad(spec: Spec, text: string): string {
  return spec.flags.includes("-") ? text.padEnd(spec.width) : text.padStart(spec.width);
}

/** The escapes of echo and of `%b`: `\0nnn` octal, `\c` ends the output. */
export function expandEscapes(text: string): { text: string; stopped: boolean } {
  let out = "";
  for (let i = 0; i < text.length;) {
    if (text[i] !== "\\") {
      out += text[i]!;
      i += 1;
      continue;
    }
    const escape = readEscape(text, i, true);
    if (escape.text === STOP) return { text: out, stopped: true };
    out += escape.text;
    i = escape.next;
  }
  return { text: out, stopped: false };
}

const SIMPLE: Readonly<Record<string, string>> = {
  a: "\x07",
  b: "\b",
  e: "\x1b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
  "\\": "\\",
  '"': '"',
};

function readEscape(
  text: string,
  at: number,
  isOperand: boolean,
): { text: string | typeof STOP; next: number } {
  const letter = text[at + 1];
  if (letter === undefined) return { text: "\\", next: at + 1 };
  if (letter === "c") return { text: STOP, next: at + 2 };
  const simple = Object.hasOwn(SIMPLE, letter) ? SIMPLE[letter] : undefined;
  if (simple !== undefined) return { text: simple, next: at + 2 };
  const octal = (isOperand ? /^\\0?([0-7]{1,3})/ : /^\\([0-7]{1,3})/).exec(text.slice(at, at + 5));
  if (octal !== null) {
    return { text: String.fromCharCode(Number.parseInt(octal[1]!, 8) & 0xff), next: at + octal[0].length };
  }
  if (isOperand && letter === "0") return { text: "\0", next: at + 2 };
  const hex = /^\\x([0-9a-fA-F]{1,2})/.exec(text.slice(at, at + 4));
  if (hex !== null) {
    return { text: String.fromCharCode(Number.parseInt(hex[1]!, 16)), next: at + hex[0].length };
  }
  return { text: `\\${letter}`, next: at + 2 };
}
