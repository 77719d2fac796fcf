/**
 * `alien verify`: what the verifier says of the programs of an object file, or of cases in lines of JSON (`--raw`). Files may be
 * compressed with gzip; `-` is standard input.
 */
import { createReadStream, readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { BtfError, parseBtf } from "@alien-ts/btf";
import { PRIVILEGED, UNPRIVILEGED } from "@alien-ts/bpf-verifier";
import type { Btf } from "@alien-ts/btf";
import { LONGEST_LINE, linesOf } from "../vm/lines.ts";
import { Problem, parseInteger, parseOptions } from "../options.ts";
import type { Machine } from "./environment.ts";
import { verifyObject } from "./object.ts";
import { lineError, verifyLine } from "./raw.ts";
import { verdictJson, verdictText } from "./text.ts";

export interface VerifyArguments {
  readonly file: string;
  readonly isRaw: boolean;
  /** Of an object: the only program to judge. */
  readonly program: string | undefined;
  readonly isJson: boolean;
  /** As a user without capabilities loads it, where the machine lets everyone load. */
  readonly isUnprivileged: boolean;
  readonly programBtf: string | undefined;
  readonly kernelBtf: string | undefined;
  readonly logLevel: number;
}

const MAX_LEVEL = 15;
/** Machines whose features are known; those that verdicts depend on are the same on all. */
const ARCHITECTURES: readonly string[] = ["x86_64", "arm64", "riscv64"];

const OPTIONS = [
  { name: "--raw", value: "FILE" },
  { name: "--prog", value: "NAME" },
  { name: "--prog-btf", value: "FILE" },
  { name: "--btf", value: "FILE" },
  { name: "--log-level", value: "N" },
  { name: "--arch", value: "NAME" },
  { name: "--json" },
  { name: "--unprivileged" },
  { name: "--help" },
];

export const VERIFY_USAGE = `usage: alien verify FILE.bpf.o [--prog NAME] [--btf FILE] [--unprivileged] [--log-level N] [--json] [--arch NAME]
       alien verify --raw FILE [--prog-btf FILE] [--btf FILE] [--unprivileged] [--log-level N] [--arch NAME]

Says of each program of an object file whether Linux would load it, and of a refused one why.

  --prog NAME       only the program called NAME
  --btf FILE        types of the kernel, such as /sys/kernel/btf/vmlinux; those of alien's own kernel otherwise
  --unprivileged    as a user without capabilities, where kernel.unprivileged_bpf_disabled is 0
  --log-level N     also print the kernel's log: 1, 2 (every instruction), 4 (statistics), or their sum
  --json            a line of JSON for each program
  --arch NAME       the machine: ${ARCHITECTURES.join(", ")}
  --raw FILE        cases, one line of JSON each; the level is 2 unless another is asked for
  --prog-btf FILE   of cases: the programs' types, lines of { "name", "base64" }

Exit status: 0 all were accepted, 1 some were refused, 2 something cannot be used; with --raw 0 or 2.
`;

export function parseVerifyArguments(args: readonly string[]): VerifyArguments | Problem | "help" {
  const parsed = parseOptions(args, OPTIONS);
  if (parsed instanceof Problem) return parsed;
  const { values, operands, rest } = parsed;
  if (values.has("--help")) return "help";
  const raw = values.get("--raw");
  const files = [...(raw === undefined ? [] : [raw]), ...operands, ...rest];
  const [file] = files;
  if (file === undefined || files.length > 1) return new Problem("expected one FILE, or --raw FILE");
  const isRaw = raw !== undefined;
  for (const name of isRaw ? ["--prog", "--json"] : ["--prog-btf"])
    if (values.has(name)) return new Problem(`${name} is ${isRaw ? "for object files" : "for --raw"}`);
  const arch = values.get("--arch") ?? "x86_64";
  if (!ARCHITECTURES.includes(arch))
    return new Problem(`--arch ${arch}: known are ${ARCHITECTURES.join(", ")}`);
  const level = parseInteger("--log-level", values.get("--log-level") ?? (isRaw ? "2" : "0"), 0, MAX_LEVEL);
  if (level instanceof Problem) return level;
  return {
    file,
    isRaw,
    program: values.get("--prog"),
    isJson: values.has("--json"),
    isUnprivileged: values.has("--unprivileged"),
    programBtf: values.get("--prog-btf"),
    kernelBtf: values.get("--btf"),
    logLevel: level,
  };
}

/**
 * Exit status: 0, 1 where a program of an object is refused, 2 where something cannot be used.
 * @param ownBtf the types of the kernel where the arguments name none.
 */
export async function runVerify(args: VerifyArguments, ownBtf: () => Uint8Array): Promise<number> {
  try {
    const { kernelBtf, logLevel } = args;
    const machine = {
      kernelBtf: kernelBtf === undefined ? btfOf(ownBtf()) : btfOf(read(kernelBtf), kernelBtf),
      logLevel,
      privileges: args.isUnprivileged ? UNPRIVILEGED : PRIVILEGED,
    };
    if (!args.isRaw) return runObject(args, machine);
    await runRaw(args, machine);
    return 0;
  } catch (error) {
    process.stderr.write(`alien verify: ${error instanceof Error ? error.message : String(error)}\n`);
    return 2;
  }
}

function runObject(args: VerifyArguments, machine: Machine): number {
  const verdicts = verifyObject(read(args.file), args.program, machine);
  const texts = verdicts.map((verdict) => (args.isJson ? `${verdictJson(verdict)}\n` : verdictText(verdict)));
  process.stdout.write(texts.join(args.isJson ? "" : "\n"));
  return verdicts.every(({ isAccepted }) => isAccepted) ? 0 : 1;
}

/** Answers lines as they come, so that those before the place where a file is broken have their answers. */
async function runRaw(args: VerifyArguments, machine: Machine): Promise<void> {
  const { file } = args;
  const programBtf = args.programBtf === undefined ? new Map<string, Btf>() : programBtfs(args.programBtf);
  const options = { ...machine, programBtf };
  try {
    for await (const lines of linesOf(file === "-" ? process.stdin : createReadStream(file)))
      for (const line of lines) {
        if (line === undefined)
          process.stdout.write(`${lineError(`expected at most ${LONGEST_LINE} characters`)}\n`);
        else if (line.trim() !== "") process.stdout.write(`${verifyLine(line, options)}\n`);
      }
  } catch (error) {
    throw located(file, error);
  }
}

function located(path: string, error: unknown): Error {
  const message = error instanceof Error ? error.message : String(error);
  return new Error(message.includes(path) ? message : `${path}: ${message}`, { cause: error });
}

function read(path: string): Uint8Array {
  try {
    const bytes = readFileSync(path === "-" ? 0 : path);
    return bytes[0] === 0x1f && bytes[1] === 0x8b ? gunzipSync(bytes) : bytes;
  } catch (error) {
    throw located(path, error);
  }
}

function btfOf(bytes: Uint8Array, path = "types"): Btf {
  const parsed = parseBtf(bytes);
  if (parsed instanceof BtfError) throw new Error(`${path}: ${parsed.message}`);
  return parsed;
}

/** Lines of `{ "name", "base64" }`. Types that are none are known as such, for the programs that name them. */
function programBtfs(path: string): Map<string, Btf | BtfError> {
  const found = new Map<string, Btf | BtfError>();
  for (const [i, line] of new TextDecoder().decode(read(path)).split("\n").entries()) {
    if (line.trim() === "") continue;
    const { name, base64 } = namedTypes(line, `${path}: line ${i + 1}`);
    found.set(name, parseBtf(Uint8Array.from(Buffer.from(base64, "base64"))));
  }
  return found;
}

function namedTypes(line: string, where: string): { readonly name: string; readonly base64: string } {
  let parsed: unknown;
  try {
    parsed = JSON.parse(line);
  } catch (error) {
    throw located(where, error);
  }
  const { name, base64 } = (parsed ?? {}) as { readonly name?: unknown; readonly base64?: unknown };
  if (typeof name !== "string" || typeof base64 !== "string")
    throw new Error(`${where}: expected a "name" and types in "base64"`);
  return { name, base64 };
}
