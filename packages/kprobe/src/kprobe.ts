/**
 * One probe, and its builder.
 *
 * A `Kprobe` is made by `register_kprobe` from what a `KprobeBuilder` collected, belongs to the manager that made it, and is
 * dead after `unregister_kprobe`: its handlers never run again. Several probes may share an address, and then a point.
 */
import type { KAddr } from "@alien-ts/abi";
import type { CallBackFunc, ProbeArgs } from "./probe-args.ts";

/**
 * Runs before the instruction. Non-zero: the handler has set the pc, and the instruction and the handlers of the probes after
 * this one are skipped (Documentation/trace/kprobes.rst, "Changing Execution Path").
 */
export type PreHandler = (probe: Kprobe, args: ProbeArgs) => number;
/** Runs after the instruction, with the pc behind it. */
export type PostHandler = (probe: Kprobe, args: ProbeArgs) => void;

/** `k` a kprobe, `r` the entry of a kretprobe. */
export type KprobeType = "k" | "r";

export interface KprobeSpec {
  readonly type: KprobeType;
  readonly symbol: string | undefined;
  readonly address: KAddr | undefined;
  readonly offset: number;
  readonly isEnabled: boolean;
  readonly preHandler: PreHandler | undefined;
  readonly postHandler: PostHandler | undefined;
  readonly callbacks: ReadonlyMap<number, CallBackFunc>;
  readonly data: unknown;
}

export class Kprobe {
  /** Where the breakpoint is planted. */
  readonly addr: KAddr;
  readonly type: KprobeType;
  readonly symbol: string | undefined;
  readonly offset: number;
  readonly pre_handler: PreHandler | undefined;
  readonly post_handler: PostHandler | undefined;
  /** The owner's; the library does not look at it. */
  readonly data: unknown;
  /** Hits whose handlers did not run because a probe was being handled on that CPU. */
  nmissed = 0;
  /** Changed by `enable_kprobe` and `disable_kprobe` only. */
  isEnabled: boolean;
  /** Changed by `register_kprobe` and `unregister_kprobe` only. */
  isRegistered = false;
  /** The text that it was in was unloaded: it can only be unregistered (Linux: KPROBE_FLAG_GONE). */
  isGone = false;
  readonly #callbacks: Map<number, CallBackFunc>;

  /** Use `register_kprobe`. */
  constructor(spec: KprobeSpec, addr: KAddr) {
    this.addr = addr;
    this.type = spec.type;
    this.symbol = spec.symbol;
    this.offset = spec.offset;
    this.pre_handler = spec.preHandler;
    this.post_handler = spec.postHandler;
    this.data = spec.data;
    this.isEnabled = spec.isEnabled;
    this.#callbacks = new Map(spec.callbacks);
  }

  /** Adds or replaces the callback `id`; it runs at the next hit. */
  register_event_callback(id: number, callback: CallBackFunc): void {
    this.#callbacks.set(id, callback);
  }

  /** Whether there was a callback `id`. It does not run again, not even in a hit that is being handled. */
  unregister_event_callback(id: number): boolean {
    return this.#callbacks.delete(id);
  }

  /** Runs the handler and then the callbacks, in order of registration; non-zero if the instruction is to be skipped. */
  call_pre_handler(args: ProbeArgs): number {
    const verdict = this.pre_handler?.(this, args) ?? 0;
    return verdict !== 0 || !this.isRegistered ? verdict : this.#callEventCallbacks(args);
  }

  /** All callbacks run, whatever the others say: each is an event of its own. */
  #callEventCallbacks(args: ProbeArgs): number {
    let verdict = 0;
    for (const callback of this.#callbacks.values()) {
      verdict |= callback.call(args);
      if (!this.isRegistered) break;
    }
    return verdict;
  }
}

export class KprobeBuilder {
  #type: KprobeType = "k";
  #symbol: string | undefined;
  #address: KAddr | undefined;
  #offset = 0;
  #isEnabled = true;
  #preHandler: PreHandler | undefined;
  #postHandler: PostHandler | undefined;
  readonly #callbacks = new Map<number, CallBackFunc>();
  #data: unknown;

  /** `k` unless given. */
  with_type(type: KprobeType): this {
    this.#type = type;
    return this;
  }
  /** Exactly one of symbol and address must be given. */
  with_symbol(symbol: string): this {
    this.#symbol = symbol;
    return this;
  }
  with_symbol_addr(address: KAddr): this {
    this.#address = address;
    return this;
  }
  /** Bytes from the symbol or the address; 0 unless given. */
  with_offset(offset: number): this {
    this.#offset = offset;
    return this;
  }
  /** Registered but not planted if false (KPROBE_FLAG_DISABLED); true unless given. */
  with_enable(isEnabled: boolean): this {
    this.#isEnabled = isEnabled;
    return this;
  }
  with_pre_handler(handler: PreHandler): this {
    this.#preHandler = handler;
    return this;
  }
  with_post_handler(handler: PostHandler): this {
    this.#postHandler = handler;
    return this;
  }
  with_event_callback(id: number, callback: CallBackFunc): this {
    this.#callbacks.set(id, callback);
    return this;
  }
  with_data(data: unknown): this {
    this.#data = data;
    return this;
  }

  build(): KprobeSpec {
    return {
      type: this.#type,
      symbol: this.#symbol,
      address: this.#address,
      offset: this.#offset,
      isEnabled: this.#isEnabled,
      preHandler: this.#preHandler,
      postHandler: this.#postHandler,
      callbacks: new Map(this.#callbacks),
      data: this.#data,
    };
  }
}
