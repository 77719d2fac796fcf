/**
 * `PerfEvent`: what a perf event fd holds. Subclasses differ in what makes the event happen; this class has what all share:
 * enabling, the ring that readers map, ioctls, read, poll, references.
 *
 * A file, each map entry and each link hold one reference; the last one destroys the event, which detaches its programs.
 */
import {
  EBADF,
  EEXIST,
  EFAULT,
  EINVAL,
  ENOMEM,
  ENOSPC,
  ENOTTY,
  EPERM,
  isErr,
  type KAddr,
  PERF_EVENT_IOC,
  PERF_FORMAT,
  POLL,
  type Result,
  type UAddr,
  CAP,
} from "@alien-ts/abi";
import type { KernelAuxiliaryOps } from "../ports.ts";
import type { BpfProgram } from "../programs/program.ts";
import type { PerfAttributes } from "./attributes.ts";
import { PerfRing } from "./ring.ts";

export interface PerfEventOptions {
  readonly attributes: PerfAttributes;
  /** CPU, or -1 for any. */
  readonly cpu: number;
  /** Unique within the kernel. */
  readonly id: number;
}

export interface PerfMapping {
  /** Pages of the mapping, the header page included. */
  readonly pages: number;
  readonly pageOffset: number;
  readonly isShared: boolean;
  readonly isWritable: boolean;
}

export abstract class PerfEvent {
  readonly kind = "perf";
  readonly attributes: PerfAttributes;
  readonly cpu: number;
  readonly id: number;
  protected readonly ports: KernelAuxiliaryOps;
  protected ring: PerfRing | undefined;
  protected program: BpfProgram | undefined;
  protected isEnabled: boolean;
  protected lostSamples = 0;
  #references = 1;
  /** Mappings through this event's fd. */
  #mappings = 0;
  #enabledNs = 0;
  #enabledSinceNs: number;

  constructor(ports: KernelAuxiliaryOps, { attributes, cpu, id }: PerfEventOptions) {
    this.ports = ports;
    this.attributes = attributes;
    this.cpu = cpu;
    this.id = id;
    this.isEnabled = !attributes.isDisabled;
    this.#enabledSinceNs = ports.ktimeNs();
  }

  // --- Lifetime -----------------------------------------------------------------------------------------------------

  get(): void {
    this.#references += 1;
  }
  put(): void {
    this.#references -= 1;
    if (this.#references > 0) return;
    this.destroy();
    this.program?.put();
    this.ring?.put();
  }
  /** The file was closed. */
  release(): void {
    this.put();
  }
  /** Stops what makes the event happen. */
  protected abstract destroy(): void;

  // --- File operations ----------------------------------------------------------------------------------------------

  enable(): void {
    if (this.isEnabled) return;
    this.isEnabled = true;
    this.#enabledSinceNs = this.ports.ktimeNs();
  }

  disable(): void {
    if (!this.isEnabled) return;
    this.#enabledNs = this.#timeEnabledNs();
    this.isEnabled = false;
  }

  /** `perf_ioctl` */
  ioctl(request: number, argument: number): Result<number> {
    switch (request) {
      case PERF_EVENT_IOC.ENABLE:
        this.enable();
        return 0;
      case PERF_EVENT_IOC.DISABLE:
        this.disable();
        return 0;
      case PERF_EVENT_IOC.RESET:
        return 0;
      case PERF_EVENT_IOC.ID:
        return this.#copyId(argument);
      case PERF_EVENT_IOC.SET_BPF:
        return this.#setBpf(argument | 0);
      case PERF_EVENT_IOC.SET_OUTPUT:
        return this.#setOutput(argument | 0);
      case PERF_EVENT_IOC.PAUSE_OUTPUT:
        if (this.ring === undefined || this.ring.dataPages === 0) return EINVAL;
        this.ring.isPaused = argument !== 0;
        return 0;
      case PERF_EVENT_IOC.QUERY_BPF:
        return this.ports.capable(CAP.PERFMON) ? EINVAL : EPERM;
      case PERF_EVENT_IOC.REFRESH:
      case PERF_EVENT_IOC.PERIOD:
      case PERF_EVENT_IOC.SET_FILTER:
      case PERF_EVENT_IOC.MODIFY_ATTRIBUTES:
        return EINVAL;
      default:
        return ENOTTY;
    }
  }

  /** `perf_mmap`: the address of the header page, or EINVAL, ENOMEM. Call `unmap` when the mapping goes. */
  map({ pages, pageOffset, isShared, isWritable }: PerfMapping): Result<KAddr> {
    const dataPages = pages - 1;
    if (!isShared || pageOffset !== 0) return EINVAL;
    if (this.cpu === -1 && this.attributes.isInherited) return EINVAL;
    if (dataPages < 0 || (dataPages & (dataPages - 1)) !== 0) return EINVAL;
    if (this.ring !== undefined && this.ring.dataPages !== dataPages) return EINVAL;
    const ring = this.ring ?? this.#makeRing(dataPages, !isWritable);
    if (ring === undefined) return ENOMEM;
    this.ring = ring;
    this.#mappings += 1;
    return ring.base;
  }

  /** A mapping was copied (fork, split). */
  mapAgain(): void {
    this.#mappings += 1;
  }

  unmap(): void {
    this.#mappings -= 1;
    if (this.#mappings > 0) return;
    this.ring?.put();
    this.ring = undefined;
  }

  /** poll(2) events: POLLHUP where no ring is mapped. */
  poll(): number {
    if (this.ring === undefined) return POLL.HUP;
    return this.ring.isReadable ? POLL.IN | POLL.RDNORM : 0;
  }

  /**
   * read(2) of at most `sizeBytes`: writes the counters that `read_format` asks for to `into` (at least 48 bytes) and answers how
   * many bytes they take. ENOSPC for a buffer too small.
   */
  readCounters(into: Uint8Array, sizeBytes: number): Result<number> {
    const format = this.attributes.readFormat;
    const time = this.#timeEnabledNs();
    const words: number[] = (format & PERF_FORMAT.GROUP) !== 0 ? [1] : [0];
    if ((format & PERF_FORMAT.TOTAL_TIME_ENABLED) !== 0) words.push(time);
    if ((format & PERF_FORMAT.TOTAL_TIME_RUNNING) !== 0) words.push(time);
    if ((format & PERF_FORMAT.GROUP) !== 0) words.push(0);
    if ((format & PERF_FORMAT.ID) !== 0) words.push(this.id);
    if ((format & PERF_FORMAT.LOST) !== 0) words.push(this.lostSamples);
    if (sizeBytes < words.length * 8) return ENOSPC;
    const view = new DataView(into.buffer, into.byteOffset, into.byteLength);
    words.forEach((word, i) => putU64(view, 8 * i, word));
    return words.length * 8;
  }

  // --- Programs -----------------------------------------------------------------------------------------------------

  /** Refuses, or takes the reference to, a program that SET_BPF or a link attaches. */
  attach(program: BpfProgram): Result<0> {
    if (!this.accepts(program)) return EINVAL;
    if (this.program !== undefined) return EEXIST;
    program.get();
    this.program = program;
    return 0;
  }

  /** Whether programs of this type may be attached. */
  protected abstract accepts(program: BpfProgram): boolean;

  // ------------------------------------------------------------------------------------------------------------------

  #setBpf(fd: number): Result<number> {
    const object = this.ports.objectOf(fd);
    if (isErr(object)) return object;
    return object?.kind === "program" ? this.attach(object) : EINVAL;
  }

  #setOutput(fd: number): Result<number> {
    if (fd === -1) {
      if (this.#mappings > 0) return EINVAL;
      this.ring?.put();
      this.ring = undefined;
      return 0;
    }
    const target = this.ports.objectOf(fd);
    if (isErr(target)) return target;
    if (target?.kind !== "perf") return EBADF;
    if (this.#mappings > 0 || target === this || target.cpu !== this.cpu || target.ring === undefined)
      return EINVAL;
    target.ring.get();
    this.ring?.put();
    this.ring = target.ring;
    return 0;
  }

  #makeRing(dataPages: number, isOverwrite: boolean): PerfRing | undefined {
    return PerfRing.create(this.ports, {
      dataPages,
      isOverwrite,
      watermarkBytes: this.attributes.wakeupBytes,
    });
  }

  #timeEnabledNs(): number {
    return this.#enabledNs + (this.isEnabled ? this.ports.ktimeNs() - this.#enabledSinceNs : 0);
  }

  #copyId(to: UAddr): Result<number> {
    const scratch = this.ports.alloc(8);
    if (scratch === 0) return ENOMEM;
    putU64(this.ports.memory.dv, scratch, this.id);
    const isCopied = this.ports.copyToUser(to, scratch, 8);
    this.ports.free(scratch);
    return isCopied ? 0 : EFAULT;
  }
}

function putU64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value >>> 0, true);
  view.setUint32(at + 4, Math.floor(value / 0x1_0000_0000), true);
}
