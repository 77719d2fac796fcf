/** `alien vm`: one program, or a file of cases. Interface: `runVm`; everything of the host is in `VmHost`. */
import type { VmArguments } from "./arguments.ts";
import { parseHex } from "./hex.ts";
import { LONGEST_LINE } from "./lines.ts";
import { VmRunner, type VmAnswer, type VmCase } from "./runner.ts";

export interface VmHost {
  /** All of standard input. */
  readInput(): Promise<string>;
  /** Lines of a file in groups, as `linesOf` gives them; "-" is standard input. Rejects where it cannot be read. */
  lines(path: string): AsyncIterable<readonly (string | undefined)[]>;
  print(text: string): void;
  complain(text: string): void;
}

/** Cases that are compiled together. */
const BATCH = 32;

/** Resolves to the exit status. */
export async function runVm(args: VmArguments, host: VmHost): Promise<number> {
  const runner = new VmRunner(args.engine, args.fuel);
  if (args.raw !== undefined) {
    await runRaw(runner, host.lines(args.raw), host);
    return 0;
  }
  const insns = parseHex(args.program ?? (await host.readInput()));
  const memory = parseHex(args.memory);
  if (insns === undefined || memory === undefined) {
    host.complain(`alien vm: the ${insns === undefined ? "program" : "memory"} is not hexadecimal bytes\n`);
    return 1;
  }
  const answer = runner.runAll([{ insns, memory }])[0]!;
  if ("error" in answer) {
    host.complain(`alien vm: ${answer.error}\n`);
    return 1;
  }
  host.print(`${answer.result.toString(16)}\n`);
  return 0;
}

async function runRaw(
  runner: VmRunner,
  groups: AsyncIterable<readonly (string | undefined)[]>,
  host: VmHost,
): Promise<void> {
  let batch: (VmCase | { readonly error: string })[] = [];
  const flush = (): void => {
    const cases = batch.filter((one) => "insns" in one);
    const answers = runner.runAll(cases);
    let at = 0;
    for (const one of batch) host.print(`${format("insns" in one ? answers[at++]! : one)}\n`);
    batch = [];
  };
  for await (const lines of groups) {
    for (const line of lines) {
      batch.push(parseCase(line));
      if (batch.length === BATCH) flush();
    }
    // Whoever sent these lines may be waiting for their answers.
    if (batch.length > 0) flush();
  }
}

function parseCase(line: string | undefined): VmCase | { readonly error: string } {
  if (line === undefined) return { error: `expected at most ${LONGEST_LINE} characters in a line` };
  let parsed: unknown;
  try {
    parsed = JSON.parse(line);
  } catch (error) {
    return { error: `not JSON: ${error instanceof Error ? error.message : String(error)}` };
  }
  if (typeof parsed !== "object" || parsed === null) return { error: "expected an object" };
  const { insns, mem = "" } = parsed as { readonly insns?: unknown; readonly mem?: unknown };
  const program = typeof insns === "string" ? parseHex(insns) : undefined;
  if (program === undefined) return { error: "insns: expected hexadecimal bytes" };
  const memory = typeof mem === "string" ? parseHex(mem) : undefined;
  if (memory === undefined) return { error: "mem: expected hexadecimal bytes" };
  return { insns: program, memory };
}

function format(answer: VmAnswer): string {
  return JSON.stringify("error" in answer ? answer : { result: `0x${answer.result.toString(16)}` });
}
