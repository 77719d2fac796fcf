/**
 * The program inside the machine that does what the test asks for. It takes the place of init's shell, sleeps in a read of the
 * console, and starts a child for each request: commands, pauses, and functions of the test are processes like any other.
 *
 * The test and the agent share one JavaScript realm: the console carries a request's number, `requests` the request itself.
 */
import { NR, O, POLL, SIG } from "@alien-ts/abi";
import {
  chdir,
  close,
  execve,
  open,
  openProcess,
  pipe,
  type Process,
  type Program,
  setSignal,
  sleepFor,
  startChild,
  tryWait,
  unlink,
  waitFor,
  withBlock,
  writeAll,
} from "@alien-ts/userland";

/** Texts are byte strings, as in libc. */
export interface CommandRequest {
  readonly kind: "command";
  readonly command: string;
  readonly stdin: string;
  readonly cwd: string;
  readonly env: readonly (readonly [name: string, value: string])[];
  started(pid: number): void;
  output(stream: "stdout" | "stderr", bytes: Uint8Array): void;
  ended(status: number): void;
  failed(error: unknown): void;
}

export interface PauseRequest {
  readonly kind: "pause";
  readonly seconds: number;
  ended(): void;
}

/** A function of the test, run in a process of its own. */
export interface BodyRequest {
  readonly kind: "body";
  body(process: Process): Promise<void>;
}

export type AgentRequest = CommandRequest | PauseRequest | BodyRequest;

export const AGENT_PATH = "/sbin/alien-test-agent";

/** @param ready called when the system is up. */
export function agentProgram(requests: ReadonlyMap<number, AgentRequest>, ready: () => void): Program {
  return {
    name: "alien-test-agent",
    path: AGENT_PATH,
    main: async (task) => {
      const process = openProcess(task);
      await setSignal(process, SIG.HUP, "ignore");
      await setSignal(process, SIG.INT, "ignore");
      ready();
      let unread = "";
      for (;;) {
        const bytes = await readBytes(process, 0, 256);
        if (bytes.length === 0) return 0;
        unread += String.fromCharCode(...bytes);
        const lines = unread.split("\n");
        unread = lines.pop() ?? "";
        for (const line of lines) await startRequest(process, requests.get(Number(line)));
        await reapAll(process);
      }
    },
  };
}

async function startRequest(process: Process, request: AgentRequest | undefined): Promise<void> {
  if (request !== undefined) await startChild(process, (child) => serve(child, request));
}

const WNOHANG = 1;

async function reapAll(process: Process): Promise<void> {
  for (;;) {
    const result = await tryWait(process, -1, WNOHANG);
    if (typeof result === "number") return;
  }
}

async function serve(process: Process, request: AgentRequest): Promise<number> {
  switch (request.kind) {
    case "pause":
      await sleepFor(process, request.seconds);
      request.ended();
      return 0;
    case "body":
      await request.body(process);
      return 0;
    default:
      try {
        await runCommand(process, request);
        return 0;
      } catch (error) {
        request.failed(error);
        return 1;
      }
  }
}

/** Runs a command by the shell in a process group of its own, and takes what it writes until nobody can write any more. */
async function runCommand(process: Process, request: CommandRequest): Promise<void> {
  const input = await inputOf(process, request.stdin);
  const [fromOut, out] = await pipe(process);
  const [fromErr, err] = await pipe(process);
  const env = new Map([...process.env, ...request.env]);
  const pid = await startChild(
    process,
    async (child) => {
      await child.trap(NR.setpgid, 0, 0);
      await setSignal(child, SIG.HUP, "default");
      await setSignal(child, SIG.INT, "default");
      for (const [fd, source] of [input, out, err].entries()) await child.trap(NR.dup3, source, fd, 0);
      await chdir(child, request.cwd);
      await execve(child, "/bin/sh", ["sh", "-c", request.command], env);
      return NOT_EXECUTABLE;
    },
    { vfork: true },
  );
  for (const fd of [input, out, err]) await close(process, fd);
  request.started(pid);
  const ended = await process.call("pidfd_open", pid, 0);
  await collect(
    process,
    [
      { fd: fromOut, take: (bytes) => request.output("stdout", bytes) },
      { fd: fromErr, take: (bytes) => request.output("stderr", bytes) },
    ],
    { pidfd: ended, finish: async () => request.ended(await waitFor(process, pid)) },
  );
}

/** Exit status where there is no shell (POSIX, "Exit Status for Commands"). */
const NOT_EXECUTABLE = 126;

/** A descriptor with `text` to read. */
async function inputOf(process: Process, text: string): Promise<number> {
  if (text === "") return open(process, "/dev/null", O.RDONLY | O.CLOEXEC);
  const pid = await process.trap(NR.getpid);
  const path = `/tmp/.alien-test-input-${pid}`;
  const writer = await open(process, path, O.WRONLY | O.CREAT | O.EXCL | O.CLOEXEC, 0o600);
  await writeAll(process, writer, text);
  await close(process, writer);
  const reader = await open(process, path, O.RDONLY | O.CLOEXEC);
  await unlink(process, path);
  return reader;
}

interface Source {
  readonly fd: number;
  take(bytes: Uint8Array): void;
}

interface ChildEnd {
  readonly pidfd: number;
  /** Runs once, when the child has ended and what it wrote has been taken. */
  finish(): Promise<void>;
}

const POLLFD_BYTES = 8;
const CHUNK_BYTES = 65_536;

/** Reads the sources until each has ended; a child's background processes may hold them open after its end. */
async function collect(process: Process, sources: readonly Source[], child: ChildEnd): Promise<void> {
  const block = await process.malloc(POLLFD_BYTES * (sources.length + 1));
  const open = new Set(sources);
  let isRunning = true;
  while (isRunning || open.size > 0) {
    const watched = [...open];
    const fds = [...watched.map(({ fd }) => fd), ...(isRunning ? [child.pidfd] : [])];
    const ready = await poll(process, block, fds);
    for (const [i, source] of watched.entries()) {
      if (ready[i] !== true) continue;
      const bytes = await readBytes(process, source.fd, CHUNK_BYTES);
      if (bytes.length > 0) source.take(bytes);
      else {
        open.delete(source);
        await close(process, source.fd);
      }
    }
    if (isRunning && ready[watched.length] === true && !ready.slice(0, -1).includes(true)) {
      isRunning = false;
      await close(process, child.pidfd);
      await child.finish();
    }
  }
  await process.free(block);
}

/** One read(2); empty at the end. */
function readBytes(process: Process, fd: number, length: number): Promise<Uint8Array> {
  return withBlock(process, length, async (buffer) => {
    const got = await process.call("read", fd, buffer, length);
    return process.memory.read(buffer, got);
  });
}

/** ppoll(2) without a time limit: which descriptors have something to read, or have ended. */
async function poll(process: Process, block: number, fds: readonly number[]): Promise<boolean[]> {
  fds.forEach((fd, i) => {
    process.memory.writeU32(block + i * POLLFD_BYTES, fd);
    process.memory.writeU32(block + i * POLLFD_BYTES + 4, POLL.IN);
  });
  await process.call("ppoll", block, fds.length, 0, 0, 8);
  return fds.map((_, i) => process.memory.readU32(block + i * POLLFD_BYTES + 4) >>> 16 !== 0);
}
