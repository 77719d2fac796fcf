/**
 * Children: a new process from a function, from a program, and waiting for it.
 *
 * There is no fork with a copied address space. `startChild` is clone(CLONE_VM): the child has descriptors, directory,
 * mask, signal dispositions and pid of its own, and runs a function in the parent's memory; with `vfork` the parent
 * sleeps until the child has executed an image or exited. `spawn` is posix_spawn(3) on top of it.
 * The child starts with every signal blocked and caught signals reset, so that no handler of the parent runs in it.
 */
import { CLONE, ENOENT, ENOEXEC, NR, SIG, type UAddr } from "@alien-ts/abi";
import type { UserFunction } from "../host/program.ts";
import { SystemError, check, errnoOf, failed } from "./errors.ts";
import { Process } from "./process.ts";
import { ALL_SIGNALS, type SignalSet, setSignalMask, trySetSignal } from "./signals.ts";
import { withBlock } from "./structs.ts";
import { toBytes } from "./text.ts";

/** Stack of a child: room for the entry words and for signal frames. */
const CHILD_STACK_BYTES = 32_768 - 64;

type ChildBody = (child: Process) => number | Promise<number>;

/** Entry of every child: finds what to run by the argument word on its stack. */
const childEntry: UserFunction = (task, key) => {
  const routine = task.space.takeRoutine(key);
  if (routine === undefined) throw new Error("a child has nothing to run");
  return routine(task, key, 0, 0);
};

/** What a child does: it puts the signal state right, runs `body`, and exits. */
function childRoutine(parent: Process, mask: SignalSet, body: ChildBody): UserFunction {
  return async (task) => {
    const child = new Process(task, { argv: parent.argv, env: new Map(parent.env), auxv: parent.auxv });
    for (const signal of parent.caughtSignals) await trySetSignal(child, signal, "default");
    await setSignalMask(child, mask);
    await child.exit(await body(child));
  };
}

/**
 * Starts a child that runs `body` with a `Process` of its own; its result is the exit status. Resolves to the pid, with
 * `vfork` when the child has exec'd or exited. Throws EAGAIN, ENOMEM.
 */
export async function startChild(
  parent: Process,
  body: ChildBody,
  options: { readonly vfork?: boolean } = {},
): Promise<number> {
  await parent.stdout.flush();
  const mask = await setSignalMask(parent, ALL_SIGNALS);
  const stack = await parent.malloc(CHILD_STACK_BYTES);
  const { space } = parent.task;
  const key = space.putRoutine(childRoutine(parent, mask, body));
  const top = stack + CHILD_STACK_BYTES - 16 - ((stack + CHILD_STACK_BYTES) % 16);
  parent.memory.writeU64(top, space.addressOf(childEntry));
  parent.memory.writeU64(top + 8, key);
  const vfork = options.vfork === true ? CLONE.VFORK : 0;
  const pid = await parent.trap(NR.clone, CLONE.VM | vfork | SIG.CHLD, top);
  if (failed(pid)) space.takeRoutine(key);
  if (options.vfork === true || failed(pid)) await parent.free(stack);
  else stacksOf(parent).set(pid, stack);
  await setSignalMask(parent, mask);
  return check(pid, "clone");
}

/** Stacks of children that share the heap, freed when they have been waited for. */
const stacks = new WeakMap<object, Map<number, UAddr>>();

function stacksOf(process: Process): Map<number, UAddr> {
  const { heap } = process;
  const known = stacks.get(heap);
  if (known !== undefined) return known;
  const made = new Map<number, UAddr>();
  stacks.set(heap, made);
  return made;
}

/** execve(2): returns only when it failed, with the negated errno. */
export async function execve(
  process: Process,
  path: string,
  argv: readonly string[],
  env: ReadonlyMap<string, string>,
): Promise<number> {
  const variables = [...env].map(([name, value]) => `${name}=${value}`);
  const strings = [path, ...argv, ...variables].map((text) => toBytes(text));
  const textBytes = strings.reduce((sum, bytes) => sum + bytes.length + 1, 0);
  const pointers = argv.length + variables.length + 2;
  return withBlock(process, pointers * 8 + textBytes, async (block) => {
    const { memory } = process;
    const image = new Uint8Array(textBytes);
    const addresses: UAddr[] = [];
    let at = 0;
    for (const bytes of strings) {
      image.set(bytes, at);
      addresses.push(block + pointers * 8 + at);
      at += bytes.length + 1;
    }
    memory.write(block + pointers * 8, image);
    const [pathAt = 0, ...rest] = addresses;
    const vector = [...rest.slice(0, argv.length), 0, ...rest.slice(argv.length), 0];
    vector.forEach((pointer, i) => memory.writeU64(block + i * 8, pointer));
    return process.trap(NR.execve, pathAt, block, block + (argv.length + 1) * 8);
  });
}

/**
 * Executes `name`, looked up in `path` (PATH) unless it has a slash. A text file without `#!` is run by `/bin/sh`, as
 * execvp(3). Returns the errno of the failure: ENOENT where nothing was found, EACCES where only that was.
 */
export async function execFromPath(
  process: Process,
  argv: readonly string[],
  env: ReadonlyMap<string, string>,
  path: string,
): Promise<number> {
  const name = argv[0] ?? "";
  const candidates = name.includes("/") ? [name] : path.split(":").map((dir) => `${dir || "."}/${name}`);
  let failure = -ENOENT.number;
  for (const candidate of candidates) {
    const result = await execve(process, candidate, argv, env);
    if (result === -ENOEXEC.number) {
      return execve(process, "/bin/sh", ["sh", candidate, ...argv.slice(1)], env);
    }
    if (result !== -ENOENT.number && result !== -20) failure = result;
  }
  return failure;
}

export interface SpawnOptions {
  /** Descriptors of the child: [descriptor in the child, descriptor here]. */
  readonly descriptors?: readonly (readonly [number, number])[];
  /** Group to join; 0 makes the child the leader of a new one. */
  readonly group?: number;
  readonly env?: ReadonlyMap<string, string>;
}

/** posix_spawnp(3): the pid of the new process; throws the errno with which exec failed. */
export async function spawn(
  process: Process,
  argv: readonly string[],
  options: SpawnOptions = {},
): Promise<number> {
  let failure = 0;
  const pid = await startChild(
    process,
    async (child) => {
      if (options.group !== undefined) await child.trap(NR.setpgid, 0, options.group);
      for (const [target, source] of options.descriptors ?? []) await child.trap(NR.dup3, source, target, 0);
      const env = options.env ?? process.env;
      failure = await execFromPath(child, argv, env, process.env.get("PATH") ?? "/bin:/usr/bin");
      return 127;
    },
    { vfork: true },
  );
  if (failure === 0) return pid;
  await waitFor(process, pid);
  throw new SystemError("execve", errnoOf(failure), argv[0] ?? "");
}

export interface WaitResult {
  readonly pid: number;
  /** The word that wait(2) fills. */
  readonly status: number;
}

/** wait4(2), repeated after signals unless `interruptible`; undefined where no child is ready (WNOHANG). */
export async function tryWait(
  process: Process,
  pid: number,
  flags: number,
  options: { readonly interruptible?: boolean } = {},
): Promise<WaitResult | number> {
  return withBlock(process, 16, async (addr) => {
    for (;;) {
      const result = await process.trap(NR.wait4, pid, addr, flags, 0);
      if (result === -4 && options.interruptible !== true) continue;
      if (result <= 0) return result;
      const status = process.memory.readU32(addr) | 0;
      if (!isStopped(status) && !isContinued(status)) await freeStack(process, result);
      return { pid: result, status };
    }
  });
}

async function freeStack(process: Process, pid: number): Promise<void> {
  const stack = stacksOf(process).get(pid);
  if (stack === undefined) return;
  stacksOf(process).delete(pid);
  await process.free(stack);
}

/** waitpid(2) for one child that ends: its status as a shell gives it, 128 + signal where one ended it. */
export async function waitFor(process: Process, pid: number): Promise<number> {
  const result = await tryWait(process, pid, 0);
  if (typeof result === "number") throw new SystemError("wait4", errnoOf(result));
  return shellStatus(result.status);
}

export const isExited = (status: number): boolean => (status & 0x7f) === 0;
export const isStopped = (status: number): boolean => (status & 0xff) === 0x7f;
export const isContinued = (status: number): boolean => status === 0xffff;
export const isSignaled = (status: number): boolean =>
  !isExited(status) && !isStopped(status) && !isContinued(status);
export const exitStatus = (status: number): number => (status >> 8) & 0xff;
export const termSignal = (status: number): number => status & 0x7f;
export const stopSignal = (status: number): number => (status >> 8) & 0xff;

/** `$?` after a child with this status. */
export function shellStatus(status: number): number {
  if (isExited(status)) return exitStatus(status);
  return 128 + (isStopped(status) ? stopSignal(status) : termSignal(status));
}
