/** `alien verify --raw FILE`: reads cases, prints verdicts. Files may be compressed with gzip; `-` is standard input. */
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { BtfError, parseBtf } from "@alien-ts/btf";
import type { Btf } from "@alien-ts/btf";
import { Problem, parseInteger } from "../options.ts";
import { verifyLine } from "./raw.ts";

export interface VerifyArguments {
  readonly raw: string;
  readonly programBtf: string | undefined;
  readonly kernelBtf: string | undefined;
  readonly logLevel: number;
}

const MAX_LEVEL = 15;

export function parseVerifyArguments(args: readonly string[]): VerifyArguments | Problem {
  const values = new Map<string, string>();
  for (let i = 0; i < args.length; i += 2) {
    const [name, value] = [args[i]!, args[i + 1]];
    if (!["--raw", "--prog-btf", "--btf", "--log-level"].includes(name))
      return new Problem(`unexpected argument ${name}`);
    if (value === undefined) return new Problem(`${name} expects a value`);
    values.set(name, value);
  }
  const raw = values.get("--raw");
  if (raw === undefined) return new Problem("expected --raw FILE");
  const level = parseInteger("--log-level", values.get("--log-level") ?? "2", 0, MAX_LEVEL);
  if (level instanceof Problem) return level;
  return { raw, programBtf: values.get("--prog-btf"), kernelBtf: values.get("--btf"), logLevel: level };
}

/** Exit status: 0, or 2 where a file cannot be read. */
export function runVerify(args: VerifyArguments): number {
  try {
    const options = {
      kernelBtf: args.kernelBtf === undefined ? undefined : btfOf(read(args.kernelBtf)),
      programBtf: args.programBtf === undefined ? new Map<string, Btf>() : programBtfs(read(args.programBtf)),
      logLevel: args.logLevel,
    };
    for (const line of new TextDecoder().decode(read(args.raw)).split("\n")) {
      if (line.trim() !== "") process.stdout.write(`${verifyLine(line, options)}\n`);
    }
    return 0;
  } catch (error) {
    process.stderr.write(`alien verify: ${error instanceof Error ? error.message : String(error)}\n`);
    return 2;
  }
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
