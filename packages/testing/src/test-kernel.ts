/**
 * A booted machine in the hands of a test: commands and functions run in it, time passes when the test says so, and probes see
 * what the kernel does.
 *
 *     await using machine = await bootTestKernel();
 *     expect(await machine.run("echo hello | wc -c")).toEqual({ stdout: "6\n", stderr: "", status: 0 });
 *
 * The machine moves only while a promise of this class is outstanding; in between every program stands still. Its clock is
 * virtual: sleeping costs nothing. One seed, one run: the same calls give the same results, times and process numbers.
 *
 * A kernel bug, the machine's end, and a wait that nothing can end reject every outstanding promise.
 */
import { O, SIG, utf8Decode, utf8Encode } from "@alien-ts/abi";
import {
  type FunctionHit,
  type Kernel,
  type Watch,
  watchEvent,
  watchFunction,
  watchReturn,
} from "@alien-ts/kernel";
import { close, fromBytes, open, type Process, readFile, toBytes, writeAll } from "@alien-ts/userland";
import type { AgentRequest, CommandRequest } from "./agent.ts";
import type { Driver } from "./driver.ts";

export interface RunResult {
  readonly stdout: string;
  readonly stderr: string;
  /** As a shell's `$?`: the exit status, or 128 + the signal that ended it. */
  readonly status: number;
}

export interface RunOptions {
  /** Standard input; /dev/null by default. */
  readonly stdin?: string;
  /** Working directory; "/" by default. */
  readonly cwd?: string;
  /** Added to the environment of init. */
  readonly env?: Readonly<Record<string, string>>;
  /** Milliseconds of kernel time after which `run` and `wait` are rejected; ten minutes by default. */
  readonly limitMs?: number;
}

/** A watch that `using` ends. */
export interface DisposableWatch extends Watch, Disposable {}

const LIMIT_MS = 600_000;

export class TestKernel implements AsyncDisposable {
  readonly kernel: Kernel;
  readonly #driver: Driver;
  readonly #requests: Map<number, AgentRequest>;
  readonly #consoleOutput: ByteList;
  #lastRequest = 0;

  /** Use `bootTestKernel`. */
  constructor(kernel: Kernel, driver: Driver, requests: Map<number, AgentRequest>, consoleOutput: ByteList) {
    this.kernel = kernel;
    this.#driver = driver;
    this.#requests = requests;
    this.#consoleOutput = consoleOutput;
  }

  /** Runs `sh -c command` to its end. */
  async run(command: string, options: RunOptions = {}): Promise<RunResult> {
    const spawned = await this.spawn(command, options);
    return spawned.wait();
  }

  /** Starts `sh -c command`; it goes on whenever the machine moves. */
  spawn(command: string, options: RunOptions = {}): Promise<SpawnedCommand> {
    const limitNs = (options.limitMs ?? LIMIT_MS) * 1e6;
    const what = `run(${JSON.stringify(command)})`;
    return this.#driver.until<SpawnedCommand>({ what, limitNs }, (settle) => {
      const events: CommandEvents = { onEnd: undefined };
      let spawned: SpawnedCommand | undefined;
      const request: CommandRequest = {
        kind: "command",
        command: bytesOf(command),
        stdin: bytesOf(options.stdin ?? ""),
        cwd: bytesOf(options.cwd ?? "/"),
        env: Object.entries(options.env ?? {}).map(([name, value]) => [bytesOf(name), bytesOf(value)]),
        started: (pid) => {
          spawned = new SpawnedCommand(this, this.#driver, { pid, what, limitNs }, events);
          settle.resolve(spawned);
        },
        output: (stream, bytes) => spawned?.take(stream, bytes),
        ended: (status) => spawned?.end(status),
        failed: (error) => {
          settle.reject(error);
          spawned?.fail(error);
        },
      };
      this.#send(request);
    });
  }

  /** Runs a function of the test in a process of its own: `process` is a libc to make system calls with. */
  inProcess<T>(body: (process: Process) => Promise<T>): Promise<T> {
    return this.#driver.until<T>({ what: "inProcess" }, (settle) =>
      this.#send({
        kind: "body",
        body: async (process) => {
          try {
            settle.resolve(await body(process));
          } catch (error) {
            settle.reject(error);
          }
        },
      }),
    );
  }

  /** Lets `ms` milliseconds of kernel time pass. */
  advance(ms: number): Promise<void> {
    return this.#driver.until<void>({ what: `advance(${ms})` }, (settle) =>
      this.#send({ kind: "pause", seconds: ms / 1000, ended: () => settle.resolve() }),
    );
  }

  readFile(path: string): Promise<string> {
    return this.inProcess(async (process) => utf8Decode(toBytes(await readFile(process, bytesOf(path)))));
  }

  /** Makes or replaces a file. */
  writeFile(path: string, text: string): Promise<void> {
    return this.inProcess(async (process) => {
      const fd = await open(process, bytesOf(path), O.WRONLY | O.CREAT | O.TRUNC);
      await writeAll(process, fd, bytesOf(text));
      await close(process, fd);
    });
  }

  /** Calls `handler` whenever the kernel enters `symbol` (a kprobe). Throws where Linux refuses the probe. */
  probe(symbol: string, handler: (hit: FunctionHit) => void): DisposableWatch {
    return disposable(watchFunction(this.kernel, symbol, handler));
  }

  /** Calls `handler` whenever `symbol` returns (a kretprobe). */
  probeReturn(symbol: string, handler: (hit: FunctionHit) => void): DisposableWatch {
    return disposable(watchReturn(this.kernel, symbol, handler));
  }

  /** Calls `handler` with the text of each trace event "system:name". */
  traceEvent(name: string, handler: (text: string) => void): DisposableWatch {
    return disposable(watchEvent(this.kernel, name, handler));
  }

  /** What was written to the console. */
  get console(): string {
    return this.#consoleOutput.text();
  }

  /** Lines of the kernel log. */
  get log(): string[] {
    return this.kernel.log.from(0).map((line) => line.text);
  }

  /** Milliseconds of kernel time since boot. */
  get nowMs(): number {
    return this.kernel.clock.nowNs() / 1e6;
  }

  /** Stops the machine; programs never continue. */
  close(): void {
    this.#driver.stop();
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.close();
    return Promise.resolve();
  }

  #send(request: AgentRequest): void {
    this.#lastRequest += 1;
    this.#requests.set(this.#lastRequest, request);
    this.kernel.console.input(utf8Encode(`${this.#lastRequest}\n`));
  }
}

interface CommandEvents {
  onEnd: ((command: SpawnedCommand) => void) | undefined;
}

interface CommandFacts {
  readonly pid: number;
  readonly what: string;
  readonly limitNs: number;
}

/** A command that was started. */
export class SpawnedCommand {
  /** The shell's; also its process group. */
  readonly pid: number;
  readonly #machine: TestKernel;
  readonly #driver: Driver;
  readonly #facts: CommandFacts;
  readonly #events: CommandEvents;
  readonly #streams = { stdout: new ByteList(), stderr: new ByteList() };
  #status: number | undefined;
  #error: unknown;

  /** Use `TestKernel.spawn`. */
  constructor(machine: TestKernel, driver: Driver, facts: CommandFacts, events: CommandEvents) {
    this.pid = facts.pid;
    this.#machine = machine;
    this.#driver = driver;
    this.#facts = facts;
    this.#events = events;
  }

  /** What it has written so far. */
  get stdout(): string {
    return this.#streams.stdout.text();
  }
  get stderr(): string {
    return this.#streams.stderr.text();
  }
  /** Undefined while it runs. */
  get status(): number | undefined {
    return this.#status;
  }

  /** Runs the machine until the command has ended. */
  wait(): Promise<RunResult> {
    const { what, limitNs } = this.#facts;
    if (this.#error !== undefined) return Promise.reject(this.#error);
    const result = this.#result();
    if (result !== undefined) return Promise.resolve(result);
    return this.#driver.until<RunResult>({ what, limitNs }, (settle) => {
      const next = this.#events.onEnd;
      this.#events.onEnd = () => {
        next?.(this);
        const ended = this.#result();
        if (ended === undefined) settle.reject(this.#error);
        else settle.resolve(ended);
      };
    });
  }

  /** Sends a signal to its process group. */
  async kill(signal: number = SIG.TERM): Promise<void> {
    await this.#machine.inProcess((process) => process.call("kill", -this.pid, signal));
  }

  /** The agent's side. */
  take(stream: "stdout" | "stderr", bytes: Uint8Array): void {
    this.#streams[stream].add(bytes);
  }
  end(status: number): void {
    this.#status = status;
    this.#events.onEnd?.(this);
  }
  fail(error: unknown): void {
    this.#error = error;
    this.#events.onEnd?.(this);
  }

  #result(): RunResult | undefined {
    if (this.#status === undefined) return undefined;
    return { stdout: this.stdout, stderr: this.stderr, status: this.#status };
  }
}

/** Bytes in parts: a character may be cut between two of them. */
export class ByteList {
  #parts: Uint8Array[] = [];

  add(bytes: Uint8Array): void {
    this.#parts.push(bytes.slice());
  }

  text(): string {
    const all = new Uint8Array(this.#parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of this.#parts) {
      all.set(part, at);
      at += part.length;
    }
    this.#parts = [all];
    return utf8Decode(all);
  }
}

/** Text as libc has it: one character per byte. */
const bytesOf = (text: string): string => fromBytes(utf8Encode(text));

function disposable(watch: Watch): DisposableWatch {
  return { stop: () => watch.stop(), [Symbol.dispose]: () => watch.stop() };
}
