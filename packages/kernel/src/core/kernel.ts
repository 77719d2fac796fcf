/**
 * One kernel: what every subsystem finds in `cx.kernel`. Nothing else is global, so two kernels live side by side.
 *
 * The class holds what `core` itself owns. A subsystem adds its own state by declaring it here from its own folder and
 * setting it in its `init` (see subsystems.ts):
 *
 *     declare module "../core/kernel.ts" { interface Kernel { vfs: Vfs } }
 *
 * so that a layer is typed by those below it only, and an extension package adds state the same way.
 */
import type { KAddr, Layout, LinearMemory } from "@alien-ts/abi";
import type { KernelBtf } from "./btf.ts";
import type { Clock } from "./clock.ts";
import type { Cpu } from "./cpu.ts";
import type { Cx } from "./cx.ts";
import type { Observer } from "./observer.ts";
import type { KernelLog } from "./printk.ts";
import type { Prng } from "./prng.ts";
import type { KernelText } from "./text.ts";

/** What the app hands in; every field has been checked. */
export interface KernelConfig {
  /** uname -r. */
  readonly release: string;
  /** uname -v. */
  readonly version: string;
  readonly hostname: string;
  /** Number of simulated CPUs, 1 to 64. */
  readonly cpus: number;
  /** Draws every random choice of this kernel. */
  readonly seed: number;
  /** The kernel command line (/proc/cmdline). */
  readonly commandLine: string;
}

export interface KernelParts {
  readonly config: KernelConfig;
  readonly mem: LinearMemory;
  readonly layout: Layout;
  readonly clock: Clock;
  readonly log: KernelLog;
  readonly prng: Prng;
  readonly observer: Observer;
}

export class Kernel {
  readonly config: KernelConfig;
  readonly mem: LinearMemory;
  readonly layout: Layout;
  readonly clock: Clock;
  readonly log: KernelLog;
  readonly prng: Prng;
  readonly observer: Observer;
  /** Set by `boot` in this order: text, btf, cpus. */
  text!: KernelText;
  btf!: KernelBtf;
  cpus: Cpu[] = [];
  /** The context of code that runs for no task: boot, and tests. */
  bootCx!: Cx;
  /**
   * Who runs now. Kernel code gets its `cx` as a parameter; this is for the ports of libraries, which know no context. The
   * scheduler and the trap paths keep it.
   */
  current!: Cx;
  /** The object that owns the allocation at `addr`, set by mm. */
  ownerOf: (addr: KAddr) => unknown = () => undefined;

  constructor(parts: KernelParts) {
    this.config = parts.config;
    this.mem = parts.mem;
    this.layout = parts.layout;
    this.clock = parts.clock;
    this.log = parts.log;
    this.prng = parts.prng;
    this.observer = parts.observer;
  }
}

/** Stops the kernel: what only the kernel itself can cause. The app prints it as an oops. */
export class KernelBug extends Error {
  constructor(message: string) {
    super(message);
    this.name = "KernelBug";
  }
}

/** Linux: BUG_ON(!condition). */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new KernelBug(message);
}
