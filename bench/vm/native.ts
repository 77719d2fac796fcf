/**
 * Native programs, and ubpf where it is given: a server in C that is built for the benchmark and driven by lines.
 *
 * Interface: `startServer`. Undefined where there is no C compiler. ubpf is given as a folder with `libubpf.a`, `ubpf.h` and
 * `ubpf_config.h` of one build.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Sample } from "./engines.ts";
import type { BenchProgram } from "./programs.ts";

export interface ServerOptions {
  /** bench/vm */
  readonly sources: string;
  /** A folder for the binary, and for programs and images, which are in it already. */
  readonly scratch: string;
  readonly name: string;
  readonly ubpf?: string;
}

export class NativeServer {
  private readonly child: ChildProcess;
  private readonly answers: AsyncIterator<string>;
  private readonly scratch: string;

  constructor(binary: string, scratch: string) {
    this.scratch = scratch;
    this.child = spawn(binary, { stdio: ["pipe", "pipe", "inherit"] });
    this.answers = createInterface({ input: this.child.stdout! })[Symbol.asyncIterator]();
  }

  /** Loads a program into ubpf; nanoseconds that loading and compiling took, undefined where ubpf refuses it. */
  async load(name: string): Promise<number | undefined> {
    const [status, took] = (await this.ask(`load ${name} ${join(this.scratch, `${name}.bpf`)}`)).split(" ");
    return status === "loaded" ? Number(took) : undefined;
  }

  async run(engine: "native" | "jit" | "interpreter", name: string, repeats: number): Promise<Sample> {
    const image = join(this.scratch, `${name}.image`);
    const [ns, r0, memory] = (await this.ask(`run ${engine} ${name} ${repeats} ${image}`)).split(" ");
    return { ns: Number(ns) / repeats, r0: r0!, memory: memory! };
  }

  stop(): void {
    this.child.kill();
  }

  private async ask(line: string): Promise<string> {
    this.child.stdin!.write(`${line}\n`);
    const answer = await this.answers.next();
    if (answer.done === true) throw new Error("the native server ended");
    return answer.value;
  }
}

export function startServer(
  options: ServerOptions,
  programs: readonly BenchProgram[],
): NativeServer | undefined {
  const { sources, scratch, name, ubpf } = options;
  const binary = join(scratch, name);
  writeFileSync(join(scratch, "names.h"), programs.map((program) => `PROGRAM(${program.name})\n`).join(""));
  const files = programs.map((program) => join(sources, "programs", `${program.name}.c`));
  const flags = ["-O2", "-w", `-I${scratch}`, join(sources, "server.c"), ...files, "-o", binary];
  const withUbpf = ubpf === undefined ? [] : ["-DWITH_UBPF", `-I${ubpf}`, join(ubpf, "libubpf.a"), "-lm"];
  try {
    execFileSync("cc", [...flags, ...withUbpf], { stdio: ["ignore", "ignore", "inherit"] });
  } catch (error) {
    if (ubpf !== undefined || (error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    return undefined;
  }
  return new NativeServer(binary, scratch);
}
