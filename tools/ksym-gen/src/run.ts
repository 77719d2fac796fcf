/**
 * The command line of ksym-gen as a pure function: arguments and a reader in, exit status, messages and files out.
 *
 * Exit status: 0 done, 1 the checked table is not that of the listing, 2 a bad argument, listing or file.
 */
import {
  CorruptKallsyms,
  InconsistentKallsyms,
  checkKallsyms,
  toAssembly,
  toModuleSource,
} from "@alien-ts/ksym";
import { generateBlob } from "./generate.ts";
import { NmError, parseNm } from "./nm.ts";

export const USAGE = `usage: ksym-gen [OPTION]... [LISTING]

Makes the compressed kallsyms table of LISTING, the output of \`nm -n\` (standard input where not given).

  --module FILE     write the table as an ES module
  --asm FILE        write it as a listing in GNU as format
  --blob FILE       write it as it is
  --check FILE      compare the table in FILE with LISTING: exit status 1 where they differ
  --at-least BYTES  pad the table to the length of the one before, when a link is repeated
  --help            print this
`;

/** What the command reads; a failing read throws an Error whose message says why. */
export interface Reader {
  /** The listing at `path`, or standard input. */
  text(path: string | undefined): string;
  bytes(path: string): Uint8Array;
}

export interface Outcome {
  readonly status: 0 | 1 | 2;
  readonly stdout: string;
  readonly stderr: string;
  /** Contents by path. */
  readonly files: ReadonlyMap<string, string | Uint8Array>;
}

export function run(args: readonly string[], reader: Reader): Outcome {
  const parsed = parseArguments(args);
  if (typeof parsed === "string") return failed(2, `${parsed}\n${USAGE.slice(0, USAGE.indexOf("\n"))}`);
  if (parsed.help) return { status: 0, stdout: USAGE, stderr: "", files: new Map() };
  try {
    return { status: 0, stdout: "", stderr: "", files: produce(parsed, reader) };
  } catch (error) {
    if (error instanceof InconsistentKallsyms) return failed(1, error.message);
    const isExpected =
      error instanceof NmError || error instanceof CorruptKallsyms || error instanceof ReadFailure;
    if (isExpected) return failed(2, error.message);
    throw error;
  }
}

interface Arguments {
  readonly listing: string | undefined;
  readonly module: string | undefined;
  readonly asm: string | undefined;
  readonly blob: string | undefined;
  readonly check: string | undefined;
  readonly atLeast: number;
  readonly help: boolean;
}

function produce(wanted: Arguments, reader: Reader): Map<string, string | Uint8Array> {
  const text = read(wanted.listing ?? "standard input", () => reader.text(wanted.listing));
  const { check } = wanted;
  if (check !== undefined) {
    const table = read(check, () => reader.bytes(check));
    const { symbols, baseHi } = parseNm(text);
    checkKallsyms(table, symbols, baseHi);
  }
  const files = new Map<string, string | Uint8Array>();
  const blob = generateBlob(text, { atLeast: wanted.atLeast });
  if (wanted.module !== undefined) files.set(wanted.module, toModuleSource(blob));
  if (wanted.asm !== undefined) files.set(wanted.asm, toAssembly(blob));
  if (wanted.blob !== undefined) files.set(wanted.blob, blob);
  return files;
}

/** The arguments, or what is wrong with them. */
function parseArguments(args: readonly string[]): Arguments | string {
  const values: Record<string, string | undefined> = {};
  const operands: string[] = [];
  const isHelp = args.includes("--help");
  for (let i = 0; i < args.length && !isHelp; i++) {
    const arg = args[i]!;
    if (!arg.startsWith("-") || arg === "-") {
      operands.push(arg);
      continue;
    }
    if (!OPTIONS.includes(arg)) return `unknown option ${arg}`;
    if (values[arg] !== undefined) return `${arg} is given twice`;
    const value = args[++i];
    if (value === undefined || value === "") return `${arg} expects a value`;
    values[arg] = value;
  }
  if (operands.length > 1) return `${operands.length} listings, expected at most one`;
  const atLeast = values["--at-least"] ?? "0";
  if (!/^\d{1,9}$/.test(atLeast)) return `--at-least ${atLeast} is not a number of bytes`;
  return {
    listing: operands[0] === "-" ? undefined : operands[0],
    module: values["--module"],
    asm: values["--asm"],
    blob: values["--blob"],
    check: values["--check"],
    atLeast: Number(atLeast),
    help: isHelp,
  };
}

const OPTIONS: readonly string[] = ["--module", "--asm", "--blob", "--check", "--at-least"];

class ReadFailure extends Error {}

function read<T>(what: string, reading: () => T): T {
  try {
    return reading();
  } catch (cause) {
    throw new ReadFailure(`${what}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
}

const failed = (status: 1 | 2, message: string): Outcome => {
  return { status, stdout: "", stderr: `ksym-gen: ${message}\n`, files: new Map() };
};
