/** The command line of `alien vm`. Interface: `parseVmArguments`, `VM_USAGE`. */
import { type OptionSpec, parseInteger, parseOptions, Problem } from "../options.ts";

export interface VmArguments {
  readonly engine: "interpret" | "jit";
  /** The program's memory, hexadecimal. */
  readonly memory: string;
  /** The program, hexadecimal; undefined reads standard input. */
  readonly program: string | undefined;
  /** A file of cases, "-" for standard input; undefined runs one program. */
  readonly raw: string | undefined;
  readonly fuel: number;
}

const DEFAULT_FUEL = 100_000_000;

export const VM_USAGE = `usage: alien vm [--interpret|--jit] [--fuel N] [--program HEX] [MEMORY]
       alien vm [--interpret|--jit] [--fuel N] --raw FILE

Runs a BPF program that no verifier has seen; every access of memory is checked.

The program is read from standard input: the bytes of its instructions in hexadecimal, spaces and newlines ignored. MEMORY is
hexadecimal too; r1 is its address and r2 its length. Packet loads read it as the packet. r0 is printed in hexadecimal.

  --interpret      run in the interpreter (this is the default)
  --jit            compile to WebAssembly, and run that
  --fuel N         instructions after which the interpreter stops the program, or turns of loops and calls in compiled code
                   (${DEFAULT_FUEL})
  --program HEX    the program, instead of standard input
  --raw FILE       run the cases in FILE, one JSON object per line: { "insns": HEX, "mem": HEX }. Prints a line for each, in the
                   same order: { "result": "0x..." } or { "error": "..." }. - is standard input; gzip is decompressed
  --help           print this text

Exit status: 0; 1 where the program could not be run or did not exit, with the reason on standard error; 2 for a bad command
line. With --raw, errors of cases are in the output and the status is 0.
`;

const OPTIONS: readonly OptionSpec[] = [
  { name: "--interpret" },
  { name: "--jit" },
  { name: "--fuel", value: "N" },
  { name: "--program", value: "HEX" },
  { name: "--raw", value: "FILE" },
  { name: "--help" },
];

export function parseVmArguments(args: readonly string[]): VmArguments | Problem | "help" {
  const parsed = parseOptions(args, OPTIONS);
  if (parsed instanceof Problem) return parsed;
  const { values } = parsed;
  if (values.has("--help")) return "help";
  if (values.has("--interpret") && values.has("--jit"))
    return new Problem("--interpret and --jit: expected one of them");
  const fuelText = values.get("--fuel");
  const fuel = fuelText === undefined ? DEFAULT_FUEL : parseInteger("--fuel", fuelText, 1, 0x7fff_ffff);
  if (fuel instanceof Problem) return fuel;
  const operands = [...parsed.operands, ...parsed.rest];
  const raw = values.get("--raw");
  if (operands.length > (raw === undefined ? 1 : 0))
    return new Problem(`unexpected argument ${operands.at(-1)}`);
  return {
    engine: values.has("--jit") ? "jit" : "interpret",
    memory: operands[0] ?? "",
    program: values.get("--program"),
    raw,
    fuel,
  };
}
