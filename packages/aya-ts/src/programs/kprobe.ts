/**
 * Programs on kernel functions: `kprobe` (entry) and `kretprobe` (return) sections.
 *
 * Attaching opens a perf event of the kprobe PMU and binds the program to it: by a BPF link where the kernel has them (the
 * event is the link's then), else by ioctls (and the event stays open). Authority: aya `perf_attach.rs`, perf_event_open(2).
 */
import { ProgramError, SyscallError } from "../errors.ts";
import { Features } from "../features.ts";
import { linkCreatePerf } from "../sys/bpf.ts";
import { closeFd, readText } from "../sys/files.ts";
import { perfDisable, perfEnable, perfEventOpenKprobe, perfSetBpf } from "../sys/perf.ts";
import type { SerialSys } from "../sys/sys.ts";
import { Program } from "./program.ts";

const PMU_FOLDER = "/sys/bus/event_source/devices/kprobe";

/** One attachment. Detached by `detach`, or at the end of an `await using` or `using` block. */
export class KProbeLink {
  /** e.g. "vfs_read" */
  readonly fnName: string;
  readonly offset: number;
  readonly #sys: SerialSys;
  /** Of the BPF link, or of the perf event where there are no links. */
  readonly #fd: number;
  readonly #isPerfEvent: boolean;
  #isAttached = true;

  constructor(
    sys: SerialSys,
    target: ProbeTarget,
    held: { readonly fd: number; readonly isPerfEvent: boolean },
  ) {
    this.#sys = sys;
    this.fnName = target.fnName;
    this.offset = target.offset;
    this.#fd = held.fd;
    this.#isPerfEvent = held.isPerfEvent;
  }

  get isAttached(): boolean {
    return this.#isAttached;
  }

  /** Descriptor of the link or the perf event. */
  get fd(): number {
    return this.#fd;
  }

  /** Throws `NotAttached` the second time. */
  async detach(): Promise<void> {
    if (!this.#isAttached)
      throw new ProgramError("NotAttached", `the probe on ${this.fnName} is not attached`);
    await this.close();
  }

  /** `detach`, or nothing. */
  async close(): Promise<void> {
    if (!this.#isAttached) return;
    this.#isAttached = false;
    if (this.#isPerfEvent) await perfDisable(this.#sys, this.#fd);
    await closeFd(this.#sys, this.#fd);
  }

  /** The system calls are made, but not waited for. */
  [Symbol.dispose](): void {
    void this.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

export interface ProbeTarget {
  readonly fnName: string;
  /** Bytes from the start of the function. */
  readonly offset: number;
}

export class KProbe extends Program {
  readonly #links = new Set<KProbeLink>();

  get isReturnProbe(): boolean {
    return this.spec.section.kind === "kretprobe";
  }

  /** Throws `AlreadyAttached` for a second attachment to the same place. */
  async attach(fnName: string, offset = 0): Promise<KProbeLink> {
    const progFd = this.fd;
    for (const link of this.#links) {
      if (!link.isAttached) this.#links.delete(link);
      else if (link.fnName === fnName && link.offset === offset)
        throw new ProgramError(
          "AlreadyAttached",
          `program ${this.name} is already attached to ${fnName}+${offset}`,
        );
    }
    const target = { fnName, offset };
    const perfFd = await this.#openEvent(target);
    const link = new KProbeLink(this.context.sys, target, await this.#bind(target, { perfFd, progFd }));
    this.#links.add(link);
    return link;
  }

  override async close(): Promise<void> {
    for (const link of this.#links) await link.close();
    this.#links.clear();
    await super.close();
  }

  async #openEvent(target: ProbeTarget): Promise<number> {
    const { sys } = this.context;
    const pmuType = await this.#pmuNumber("type", /^(\d+)$/);
    const returnBit = this.isReturnProbe
      ? await this.#pmuNumber("format/retprobe", /^config:(\d+)$/)
      : undefined;
    const fd = await perfEventOpenKprobe(sys, { ...target, pmuType, returnBit });
    if (fd < 0) throw this.#failed("perf_event_open", fd, target);
    return fd;
  }

  async #pmuNumber(file: string, pattern: RegExp): Promise<number> {
    const path = `${PMU_FOLDER}/${file}`;
    let text: string;
    try {
      text = (await readText(this.context.sys, path)).trim();
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new ProgramError("KProbeError", `program ${this.name}: this kernel has no kprobes: ${reason}`, {
        cause,
      });
    }
    const number = pattern.exec(text)?.[1];
    if (number === undefined)
      throw new ProgramError(
        "KProbeError",
        `${path}: expected ${pattern.source}, found ${JSON.stringify(text)}`,
      );
    return Number(number);
  }

  async #bind(
    target: ProbeTarget,
    { perfFd, progFd }: { readonly perfFd: number; readonly progFd: number },
  ): Promise<{ readonly fd: number; readonly isPerfEvent: boolean }> {
    const { sys } = this.context;
    if (await Features.of(sys).hasPerfLink()) {
      const fd = await linkCreatePerf(sys, progFd, perfFd);
      await closeFd(sys, perfFd);
      if (fd < 0) throw this.#failed("bpf_link_create", fd, target);
      return { fd, isPerfEvent: false };
    }
    const set = await perfSetBpf(sys, perfFd, progFd);
    const enabled = set < 0 ? set : await perfEnable(sys, perfFd);
    if (enabled < 0) {
      await closeFd(sys, perfFd);
      throw this.#failed(set < 0 ? "PERF_EVENT_IOC_SET_BPF" : "PERF_EVENT_IOC_ENABLE", enabled, target);
    }
    return { fd: perfFd, isPerfEvent: true };
  }

  #failed(call: string, result: number, { fnName, offset }: ProbeTarget): ProgramError {
    const cause = new SyscallError(call, -result);
    const place = offset === 0 ? fnName : `${fnName}+${offset}`;
    return new ProgramError("SyscallError", `program ${this.name} on ${place}: ${cause.message}`, { cause });
  }
}
