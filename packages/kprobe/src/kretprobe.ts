/**
 * Kretprobes: a handler when a function returns (Documentation/trace/kprobes.rst, "Return Probes").
 *
 * A kretprobe is a kprobe at a function's first instruction whose pre-handler hooks the return (return-hooks.ts). It has a pool
 * of `maxactive` instances: a call that finds it empty is not hooked, and counted in `nmissed`. Several kretprobes may hook one
 * call; their handlers run in the opposite order. Handlers run with the pc at the real return address.
 */
import { EINVAL, isErr, type KAddr, type Result } from "@alien-ts/abi";
import { type Kprobe, KprobeBuilder } from "./kprobe.ts";
import type { KprobeManager } from "./manager.ts";
import type { CallBackFunc, ProbeArgs } from "./probe-args.ts";
import { register_kprobe, unregister_kprobe } from "./register.ts";
import { RetprobeInstance } from "./return-hooks.ts";

/** Runs at the function's first instruction; non-zero: this call is not hooked. */
export type EntryHandler = (instance: RetprobeInstance, args: ProbeArgs) => number;
export type ReturnHandler = (instance: RetprobeInstance, args: ProbeArgs) => void;

interface Handlers {
  readonly entry: EntryHandler | undefined;
  readonly ret: ReturnHandler | undefined;
  readonly callbacks: ReadonlyMap<number, CallBackFunc>;
}

export class Kretprobe {
  readonly maxactive: number;
  /** Calls that found the pool empty. (Nested hits are counted in `probe.nmissed`.) */
  nmissed = 0;
  readonly #handlers: Handlers;
  readonly #callbacks: Map<number, CallBackFunc>;
  readonly #pool: RetprobeInstance[];
  #probe: Kprobe | undefined;

  /** Use `register_kretprobe`. */
  constructor(maxactive: number, handlers: Handlers) {
    this.maxactive = maxactive;
    this.#handlers = handlers;
    this.#callbacks = new Map(handlers.callbacks);
    this.#pool = Array.from({ length: maxactive }, () => new RetprobeInstance(this));
  }

  /** The kprobe at the function's entry: for `enable_kprobe` and `disable_kprobe`. */
  get probe(): Kprobe {
    if (this.#probe === undefined) throw new Error("the kretprobe was never registered");
    return this.#probe;
  }

  /** Called once, by `register_kretprobe`. */
  attach(probe: Kprobe): void {
    this.#probe = probe;
  }

  register_event_callback(id: number, callback: CallBackFunc): void {
    this.#callbacks.set(id, callback);
  }
  unregister_event_callback(id: number): boolean {
    return this.#callbacks.delete(id);
  }

  /** Linux: pre_handler_kretprobe */
  hook({ returns }: KprobeManager, args: ProbeArgs): void {
    const instance = this.#pool.pop();
    if (instance === undefined) {
      this.nmissed += 1;
      return;
    }
    instance.returnAddress = args.returnAddress();
    if ((this.#handlers.entry?.(instance, args) ?? 0) !== 0) {
      this.recycle(instance);
      return;
    }
    returns.push(instance);
    args.setReturnAddress(returns.trampoline);
  }

  /** The function returned: after `unregister_kretprobe`, nothing runs. */
  call_ret_handler(instance: RetprobeInstance, args: ProbeArgs): void {
    if (!this.probe.isRegistered) return;
    this.#handlers.ret?.(instance, args);
    for (const callback of this.#callbacks.values()) {
      if (!this.probe.isRegistered) return;
      callback.call(args);
    }
  }

  recycle(instance: RetprobeInstance): void {
    instance.data = undefined;
    this.#pool.push(instance);
  }
}

export class KretprobeBuilder {
  readonly #maxactive: number;
  readonly #probe = new KprobeBuilder();
  readonly #callbacks = new Map<number, CallBackFunc>();
  #entry: EntryHandler | undefined;
  #ret: ReturnHandler | undefined;

  /** @param maxactive calls in flight at most; 0: 10, as Linux with up to 5 CPUs. */
  constructor(maxactive: number = 0) {
    this.#maxactive = maxactive > 0 ? maxactive : 10;
  }
  with_symbol(symbol: string): this {
    this.#probe.with_symbol(symbol);
    return this;
  }
  with_symbol_addr(address: KAddr): this {
    this.#probe.with_symbol_addr(address);
    return this;
  }
  with_offset(offset: number): this {
    this.#probe.with_offset(offset);
    return this;
  }
  with_enable(isEnabled: boolean): this {
    this.#probe.with_enable(isEnabled);
    return this;
  }
  with_data(data: unknown): this {
    this.#probe.with_data(data);
    return this;
  }
  with_entry_handler(handler: EntryHandler): this {
    this.#entry = handler;
    return this;
  }
  with_ret_handler(handler: ReturnHandler): this {
    this.#ret = handler;
    return this;
  }
  /** Runs at the return. */
  with_event_callback(id: number, callback: CallBackFunc): this {
    this.#callbacks.set(id, callback);
    return this;
  }

  build(): { readonly kretprobe: Kretprobe; readonly probe: KprobeBuilder } {
    const handlers = { entry: this.#entry, ret: this.#ret, callbacks: this.#callbacks };
    return { kretprobe: new Kretprobe(this.#maxactive, handlers), probe: this.#probe };
  }
}

/** The errors of `register_kprobe`; EINVAL if the address is not a function's entry (Linux: kprobe_on_func_entry). */
export function register_kretprobe(manager: KprobeManager, builder: KretprobeBuilder): Result<Kretprobe> {
  const { kretprobe, probe: entry } = builder.build();
  const failed = manager.returns.acquire();
  if (isErr(failed)) return failed;
  entry.with_type("r").with_pre_handler((_, args) => {
    kretprobe.hook(manager, args);
    return 0;
  });
  const probe = register_kprobe(manager, entry);
  if (isErr(probe)) {
    manager.returns.release();
    return probe;
  }
  kretprobe.attach(probe);
  if (manager.ops.lookup_address(probe.addr)?.addr === probe.addr) return kretprobe;
  unregister_kretprobe(manager, kretprobe);
  return EINVAL;
}

/** EINVAL if it is not registered. Calls in flight return as usual, without handlers. */
export function unregister_kretprobe(manager: KprobeManager, kretprobe: Kretprobe): Result<void> {
  const failed = unregister_kprobe(manager, kretprobe.probe);
  if (isErr(failed)) return failed;
  manager.returns.release();
}

/** For a task that exits inside a hooked call (Linux: kprobe_flush_task). */
export const kprobe_flush_task = (manager: KprobeManager, task: object): void => manager.returns.flush(task);
