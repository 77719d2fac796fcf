/**
 * `alien verify`: what the verifier says of the programs of an object file, or of cases in lines of JSON (`--raw`). Files may be
 * compressed with gzip; `-` is standard input.
 */
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { BtfError, parseBtf } from "@alien-ts/btf";
import { PRIVILEGED, UNPRIVILEGED } from "@alien-ts/bpf-verifier";
import type { Btf } from "@alien-ts/btf";
import { Problem, parseInteger, parseOptions } from "../options.ts";
import type { Machine } from "./environment.ts";
import { verifyObject } from "./object.ts";
import { verifyLine } from "./raw.ts";
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
export function runVerify(args: VerifyArguments, ownBtf: () => Uint8Array): number {
  try {
    const { kernelBtf, logLevel } = args;
    const machine = {
      kernelBtf: btfOf(kernelBtf === undefined ? ownBtf() : read(kernelBtf)),
      logLevel,
      privileges: args.isUnprivileged ? UNPRIVILEGED : PRIVILEGED,
    };
    return args.isRaw ? runRaw(args, machine) : runObject(args, machine);
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

function runRaw(args: VerifyArguments, machine: Machine): number {
  const programBtf =
    args.programBtf === undefined ? new Map<string, Btf>() : programBtfs(read(args.programBtf));
  const options = { ...machine, programBtf };
  for (const line of new TextDecoder().decode(read(args.file)).split("\n")) {
    if (line.trim() !== "") process.stdout.write(`${verifyLine(line, options)}\n`);
  }
  return 0;
}

function read(path: string): Uint8Array {
  const bytes = readFileSync(path === "-" ? 0 : path);
  return bytes[0] === 0x1f && bytes[1] === 0x8b ? gunzipSync(bytes) : bytes;
}

function btfOf(bytes: Uint8Array): Btf {
  const parsed = parseBtf(bytes);
  if (parsed instanceof BtfError) throw parsed;
  return parsed;
}

/** Lines of `{ "name", "base64" }`. */
function programBtfs(bytes: Uint8Array): Map<string, Btf> {
  const found = new Map<string, Btf>();
  for (const line of new TextDecoder().decode(bytes).split("\n")) {
    if (line.trim() === "") continue;
    const { name, base64 } = JSON.parse(line) as { name: string; base64: string };
    found.set(name, btfOf(Uint8Array.from(Buffer.from(base64, "base64"))));
  }
  return found;
}
