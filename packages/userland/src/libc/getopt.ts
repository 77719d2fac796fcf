/**
 * getopt(3) and its long form: options in any order before `--`, unless the tool stops at the first operand.
 *
 * The option string is POSIX's (`ab:c`: `b` takes an argument). A long option stands for a letter of it, or is a key of
 * its own: `key`, `key:` (argument), `key?` (argument after `=` only). Long names may be cut short while they are unique.
 */
import { UsageError } from "./errors.ts";

export interface OptionSpec {
  readonly options: string;
  readonly long?: Readonly<Record<string, string>>;
  readonly stopAtOperand?: boolean;
}

export class Options {
  readonly #found: (readonly [string, string])[] = [];

  add(key: string, value: string): void {
    this.#found.push([key, value]);
  }

  has(key: string): boolean {
    return this.#found.some(([name]) => name === key);
  }

  /** The last value given. */
  value(key: string): string | undefined {
    return this.#found.findLast(([name]) => name === key)?.[1];
  }

  values(key: string): string[] {
    return this.#found.filter(([name]) => name === key).map(([, value]) => value);
  }

  /** Which of these options came last. */
  last(...keys: readonly string[]): string | undefined {
    return this.#found.findLast(([name]) => keys.includes(name))?.[0];
  }

  /** Options in the order in which they were given. */
  get all(): readonly (readonly [string, string])[] {
    return this.#found;
  }
}

export interface Parsed {
  readonly options: Options;
  readonly operands: readonly string[];
}

/** `args` are the words after the command's name. Throws `UsageError`. */
export function parseOptions(spec: OptionSpec, args: readonly string[]): Parsed {
  const options = new Options();
  const operands: string[] = [];
  let rest: readonly string[] = [];
  for (let i = 0; i < args.length; i++) {
    const word = args[i]!;
    if (word === "--") {
      rest = args.slice(i + 1);
      break;
    }
    if (word === "-" || !word.startsWith("-")) {
      operands.push(word);
      if (!spec.stopAtOperand) continue;
      rest = args.slice(i + 1);
      break;
    }
    const takeNext = (): string | undefined => args[++i];
    if (word.startsWith("--")) parseLong(spec, word.slice(2), takeNext, options);
    else parseCluster(spec, word.slice(1), takeNext, options);
  }
  return { options, operands: operands.concat(rest) };
}

const takesArgument = (spec: OptionSpec, letter: string): boolean =>
  spec.options[spec.options.indexOf(letter) + 1] === ":";

function parseCluster(
  spec: OptionSpec,
  cluster: string,
  next: () => string | undefined,
  options: Options,
): void {
  for (let i = 0; i < cluster.length; i++) {
    const letter = cluster[i]!;
    if (letter === ":" || !spec.options.includes(letter))
      throw new UsageError(`invalid option -- '${letter}'`);
    if (!takesArgument(spec, letter)) {
      options.add(letter, "");
      continue;
    }
    const value = i + 1 < cluster.length ? cluster.slice(i + 1) : next();
    if (value === undefined) throw new UsageError(`option requires an argument -- '${letter}'`);
    options.add(letter, value);
    return;
  }
}

function parseLong(spec: OptionSpec, word: string, next: () => string | undefined, options: Options): void {
  const equals = word.indexOf("=");
  const given = equals < 0 ? word : word.slice(0, equals);
  const attached = equals < 0 ? undefined : word.slice(equals + 1);
  const target = findLong(spec.long ?? {}, given);
  const key = target.replace(/[:?]$/, "");
  const isLetter = target.length === 1;
  const wantsArgument = isLetter ? takesArgument(spec, target) : target.endsWith(":");
  if (wantsArgument) {
    const value = attached ?? next();
    if (value === undefined) throw new UsageError(`option '--${given}' requires an argument`);
    options.add(key, value);
    return;
  }
  if (attached !== undefined && !target.endsWith("?")) {
    throw new UsageError(`option '--${given}' doesn't allow an argument`);
  }
  options.add(key, attached ?? "");
}

function findLong(long: Readonly<Record<string, string>>, given: string): string {
  const exact = Object.hasOwn(long, given) ? long[given] : undefined;
  if (exact !== undefined) return exact;
  const candidates = Object.keys(long).filter((name) => name.startsWith(given));
  const targets = new Set(candidates.map((name) => long[name]));
  if (targets.size > 1) throw new UsageError(`option '--${given}' is ambiguous`);
  const found = long[candidates[0] ?? ""];
  if (found === undefined) throw new UsageError(`unrecognized option '--${given}'`);
  return found;
}
