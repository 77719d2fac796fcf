/** Runs programs on the fake kernel and tells what they printed. Test-only. */
import { createProgramHost } from "../host/program-host.ts";
import type { Program } from "../host/program.ts";
import { type ImageFile, imageFiles } from "../image.ts";
import { fromBytes, toBytes } from "../libc/text.ts";
import { type FakeFile, makeNode, makeTerminal, regularFile } from "./fake-files.ts";
import { FakeKernel } from "./fake-kernel.ts";

export interface Run {
  readonly stdout: string;
  readonly stderr: string;
  /** Exit status, or 128 + the signal that ended it. */
  readonly status: number;
  readonly kernel: FakeKernel;
}

export interface RunOptions {
  readonly programs: readonly Program[];
  readonly stdin?: string;
  /** Files to make first, by path; a path that ends in a slash is a directory. */
  readonly files?: Readonly<Record<string, string>>;
  readonly env?: readonly string[];
  /** Reads and writes move so many bytes at most, and are interrupted every other time. */
  readonly transferLimit?: number;
  /** Standard input, output and error are a terminal on which these keys have been typed. */
  readonly keys?: string;
}

/** Images are the same for every run of the same programs. */
const images = new WeakMap<readonly Program[], readonly ImageFile[]>();

function rootFiles(programs: readonly Program[]): readonly ImageFile[] {
  const known = images.get(programs);
  if (known !== undefined) return known;
  const made = imageFiles(programs);
  images.set(programs, made);
  return made;
}

/** Microtasks that a run may take before it counts as hung. */
const MAX_TURNS = 2_000_000;

/** Runs `argv` to its end; `argv[0]` is the path of the program. */
export async function run(argv: readonly string[], options: RunOptions): Promise<Run> {
  const kernel = new FakeKernel(createProgramHost(options.programs), rootFiles(options.programs));
  kernel.addFile("/dev/null", "");
  kernel.transferLimit = options.transferLimit;
  for (const [path, text] of Object.entries(options.files ?? {})) {
    kernel.addFile(path.replace(/\/$/, ""), text, path.endsWith("/") ? 0o040755 : 0o100644);
  }
  const stream = (text: string, flags: number): FakeFile =>
    regularFile(makeNode(0o100600, toBytes(text)), "", flags);
  const terminal = makeTerminal(options.keys ?? "");
  const plain = [stream(options.stdin ?? "", 0), stream("", 0x401), stream("", 0x401)];
  const files = options.keys === undefined ? plain : [terminal, terminal, terminal];
  const env = ["PATH=/bin:/sbin", "HOME=/root", ...(options.env ?? [])];
  const task = kernel.spawn(argv[0]!, argv, env, files);
  for (let turn = 0; task.status === undefined; turn++) {
    if (turn === MAX_TURNS)
      throw new Error(`${argv.join(" ")} hangs after ${kernel.log.slice(-8).join(" ")}`);
    await undefined;
  }
  const { status } = task;
  return {
    stdout: options.keys === undefined ? fromBytes(plain[1]!.node!.bytes) : terminal.screen,
    stderr: fromBytes(plain[2]!.node!.bytes),
    status: (status & 0x7f) === 0 ? status >> 8 : 128 + (status & 0x7f),
    kernel,
  };
}
