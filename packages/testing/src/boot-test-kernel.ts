/** `bootTestKernel`: from options to a machine whose init is up and waits for what the test asks. */
import { S, utf8Encode } from "@alien-ts/abi";
import { boot, type BootOptions, jitMemory, type WasmHost } from "@alien-ts/kernel";
import { createProgramHost, type ImageFile, imageFiles, type Program, PROGRAMS } from "@alien-ts/userland";
import { AGENT_PATH, agentProgram, type AgentRequest } from "./agent.ts";
import { Driver, type Settle } from "./driver.ts";
import { TrapGate } from "./gate.ts";
import { ByteList, TestKernel } from "./test-kernel.ts";

type KernelOptions = Pick<
  BootOptions,
  "cpus" | "seed" | "layout" | "release" | "observer" | "text" | "subsystems"
>;

export interface TestKernelOptions extends KernelOptions {
  /** Programs beside userland's own; one with the same path as one of those replaces it. */
  readonly programs?: readonly Program[];
  /** Files of the root file system by path, parents first; a path that ends in a slash is a directory. */
  readonly files?: Readonly<Record<string, string | Uint8Array>>;
  /** A multiple of 64 KiB, at least 16 MiB; 64 MiB by default. */
  readonly memoryBytes?: number;
  /** A program that awaits anything but system calls is an error. Default true: such a run does not repeat. */
  readonly strictTasks?: boolean;
  /** How BPF programs run: compiled by default, which net.core.bpf_jit_enable can change later. */
  readonly bpf?: "jit" | "interpreter";
}

const { WebAssembly } = globalThis as { readonly WebAssembly?: WasmHost };
const MEMORY_BYTES = 64 * 1024 * 1024;

/** The kallsyms table of kernels without text of their own, from the first that was linked: it is the same for all of them. */
let kallsyms: Uint8Array | undefined;

/** Boots a machine with userland's programs and the test's own. Rejects when it does not come up. */
export async function bootTestKernel(options: TestKernelOptions = {}): Promise<TestKernel> {
  const requests = new Map<number, AgentRequest>();
  const consoleOutput = new ByteList();
  const gate = new TrapGate();
  let settleReady: Settle<void> | undefined;
  const agent = agentProgram(requests, () => settleReady?.resolve());
  const programs = [...allPrograms(options.programs ?? []), agent];
  const { cpus, seed, layout, release, observer, text, subsystems } = options;
  const kernel = boot({
    ...defined({ cpus, seed, layout, release, observer, text, subsystems, kallsyms }),
    ...jitMemory(
      options.bpf === "interpreter" ? undefined : WebAssembly,
      options.memoryBytes ?? MEMORY_BYTES,
    ),
    programHost: gate.guard(createProgramHost(programs)),
    files: [...imageFiles(programs), ...extraFiles(options.files ?? {})],
    init: ["/sbin/init", "-c", `exec ${AGENT_PATH}`],
  });
  if (text === undefined) kallsyms = kernel.text.table;
  kernel.sched.strictTasks = options.strictTasks ?? true;
  kernel.console.isTerminal = false;
  kernel.console.onOutput = (bytes) => consoleOutput.add(bytes);
  const driver = new Driver(kernel, gate, () => consoleOutput.text());
  await driver.until<void>({ what: "boot" }, (settle) => {
    settleReady = settle;
  });
  return new TestKernel(kernel, driver, requests, consoleOutput);
}

function allPrograms(own: readonly Program[]): Program[] {
  const paths = new Set(own.map(({ path }) => path));
  return [...PROGRAMS.filter(({ path }) => !paths.has(path)), ...own];
}

function extraFiles(files: Readonly<Record<string, string | Uint8Array>>): ImageFile[] {
  return Object.entries(files).map(([path, content]) => {
    const isDirectory = path.endsWith("/");
    return {
      path: isDirectory ? path.slice(0, -1) : path,
      mode: isDirectory ? S.IFDIR | 0o755 : S.IFREG | 0o644,
      bytes: typeof content === "string" ? utf8Encode(content) : content,
    };
  });
}

type Defined<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

/** Options that were given: absent and undefined are not the same to the kernel. */
function defined<T extends object>(values: T): Defined<T> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Defined<T>;
}
