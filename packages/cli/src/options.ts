/**
 * Command lines: options with values (`--cpus 4`, `--cpus=4`, `-c true`), flags, and what follows `--`.
 *
 * Interface: `parseOptions`, `Problem`, `exitUsage`. A bad command line is a value (`Problem`), whose text says what is wrong.
 */

/** What is wrong with a command line. */
export class Problem {
  readonly message: string;
  constructor(message: string) {
    this.message = message;
  }
}

export interface OptionSpec {
  /** With its dashes. */
  readonly name: string;
  /** What the value is called in the usage text; a flag has none. */
  readonly value?: string;
}

export interface ParsedOptions {
  /** By name: the value given last, or "" for a flag. */
  readonly values: ReadonlyMap<string, string>;
  /** Arguments that are no options. */
  readonly operands: readonly string[];
  /** Arguments after `--`. */
  readonly rest: readonly string[];
}

export function parseOptions(args: readonly string[], specs: readonly OptionSpec[]): ParsedOptions | Problem {
  const values = new Map<string, string>();
  const operands: string[] = [];
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!;
    if (arg === "--") return { values, operands, rest: args.slice(i + 1) };
    if (!arg.startsWith("-") || arg === "-") {
      operands.push(arg);
      continue;
    }
    const equals = arg.startsWith("--") ? arg.indexOf("=") : -1;
    const name = equals < 0 ? arg : arg.slice(0, equals);
    const spec = specs.find((candidate) => candidate.name === name);
    if (spec === undefined) return new Problem(`unknown option ${name}`);
    if (spec.value === undefined) {
      if (equals >= 0) return new Problem(`${name} takes no value`);
      values.set(name, "");
      continue;
    }
    const value = equals < 0 ? args[++i] : arg.slice(equals + 1);
    if (value === undefined) return new Problem(`${name} expects a value: ${name} ${spec.value}`);
    values.set(name, value);
  }
  return { values, operands, rest: [] };
}

/** An integer in [low, high], or the problem. Decimal, or hexadecimal after 0x. */
export function parseInteger(name: string, text: string, low: number, high: number): number | Problem {
  const value = /^(\d+|0x[0-9a-f]+)$/i.test(text) ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(value) && value >= low && value <= high) return value;
  return new Problem(`${name} ${text}: expected an integer from ${low} to ${high}`);
}
