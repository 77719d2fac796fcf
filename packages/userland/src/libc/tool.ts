/**
 * What turns a function into a command: option parsing, usage text, error messages, exit status.
 *
 * `tool(spec)` gives the `Program` that goes into `programs.ts`. `runTool` runs the same command inside another process:
 * that is how the shell has some of them built in. A tool reports a failed operand with `complain` and goes on.
 */
import type { Program } from "../host/program.ts";
import { SystemError, ToolError, UsageError } from "./errors.ts";
import { type OptionSpec, type Options, parseOptions } from "./getopt.ts";
import { type Process, openProcess } from "./process.ts";

export interface ToolArguments {
  readonly options: Options;
  readonly operands: readonly string[];
  /** The words as they were given, without the name. */
  readonly words: readonly string[];
}

export interface ToolSpec extends OptionSpec {
  readonly name: string;
  /** What follows "Usage: ". */
  readonly usage: string;
  /** Exit status of wrong use; 1 where the original has no other. */
  readonly usageStatus?: number;
  /** Exit status of a failure that ends the tool. */
  readonly errorStatus?: number;
  /** The tool reads `words` itself: no option is parsed, not even `--help`. */
  readonly raw?: boolean;
  /** Turns historical forms (`head -5`) into options before they are parsed. */
  readonly rewrite?: (words: readonly string[]) => readonly string[];
  readonly path?: string;
  readonly main: (process: Process, args: ToolArguments) => number | Promise<number>;
}

export interface Tool extends Program {
  readonly spec: ToolSpec;
}

export function tool(spec: ToolSpec): Tool {
  return {
    name: spec.name,
    path: spec.path ?? `/bin/${spec.name}`,
    spec,
    main: async (task) => {
      const process = openProcess(task);
      return process.exit(await runTool(spec, process, process.argv.slice(1)));
    },
  };
}

/** Runs a tool in `process`; its exit status. Output may still be in the process's buffers. */
export async function runTool(spec: ToolSpec, process: Process, words: readonly string[]): Promise<number> {
  try {
    if (spec.raw) return await spec.main(process, { ...parseOptions(NO_OPTIONS, ["--", ...words]), words });
    const parsed = parseOptions(
      { ...spec, long: { ...spec.long, help: "help" } },
      spec.rewrite?.(words) ?? words,
    );
    if (parsed.options.has("help")) {
      await process.stdout.write(`Usage: ${spec.usage}\n`);
      return 0;
    }
    return await spec.main(process, { ...parsed, words });
  } catch (error) {
    return reportError(spec, process, error);
  }
}

const NO_OPTIONS: OptionSpec = { options: "" };

async function reportError(spec: ToolSpec, process: Process, error: unknown): Promise<number> {
  if (error instanceof UsageError) {
    await process.stderr.write(`${spec.name}: ${error.message}\nUsage: ${spec.usage}\n`);
    return spec.usageStatus ?? 1;
  }
  if (error instanceof ToolError) {
    await complain(process, spec.name, error.message);
    return error.status;
  }
  if (!(error instanceof SystemError)) throw error;
  if (error.call === "write") process.stdout.discard();
  await complain(process, spec.name, error.message);
  return spec.errorStatus ?? 1;
}

/** `name: message` on standard error, after what the tool has printed so far. */
export async function complain(process: Process, name: string, message: string): Promise<void> {
  await process.stdout.flush();
  await process.stderr.write(`${name}: ${message}\n`);
}

/** Runs `body` for every operand; a `SystemError` is reported and makes the status 1, and the rest goes on. */
export async function forEachOperand(
  process: Process,
  name: string,
  operands: readonly string[],
  body: (operand: string) => void | Promise<void>,
  describe: (error: SystemError, operand: string) => string = (error) => error.message,
): Promise<number> {
  let status = 0;
  for (const operand of operands) {
    try {
      await body(operand);
    } catch (error) {
      if (!(error instanceof SystemError) || error.call === "write") throw error;
      await complain(process, name, describe(error, operand));
      status = 1;
    }
  }
  return status;
}

/** A decimal operand or option value; throws `ToolError` with the tool's message. */
export function parseCount(text: string, what: string): number {
  if (!/^\d+$/.test(text)) throw new ToolError(`${what}: '${text}'`);
  return Number(text);
}
