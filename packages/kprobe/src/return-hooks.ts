/**
 * Return hooks: the trampoline, and who waits to return through it (Linux: kernel/trace/rethook.c).
 *
 * A hooked call has its return address replaced by the trampoline, which is a breakpoint in a slot. What it replaced lies in an
 * instance on the stack of the task that made the call, so that it survives sleeping and a change of CPU. Tasks are known by
 * identity alone. The trampoline exists while a kretprobe is registered or an instance is in flight.
 */
import { isErr, type KAddr, type Result } from "@alien-ts/abi";
import type { KprobeArch } from "./arch.ts";
import type { Kretprobe } from "./kretprobe.ts";
import type { KprobeAuxiliaryOps } from "./ops.ts";
import type { SlotCache } from "./slots.ts";

/** One hooked call. Belongs to the pool of its kretprobe. */
export class RetprobeInstance {
  readonly kretprobe: Kretprobe;
  /** Where the call really returns to; the trampoline, if another kretprobe had hooked it before. */
  returnAddress: KAddr = 0;
  /** For the entry and the return handler of one call: undefined at entry. */
  data: unknown = undefined;
  constructor(kretprobe: Kretprobe) {
    this.kretprobe = kretprobe;
  }
}

export class ReturnHooks {
  /** 0 while there is none. */
  trampoline: KAddr = 0;
  #users = 0;
  readonly #ops: KprobeAuxiliaryOps;
  readonly #arch: KprobeArch;
  readonly #slots: SlotCache;
  readonly #stacks = new Map<object, RetprobeInstance[]>();

  constructor(ops: KprobeAuxiliaryOps, arch: KprobeArch, slots: SlotCache) {
    this.#ops = ops;
    this.#arch = arch;
    this.#slots = slots;
  }

  /** Makes sure of the trampoline; each success is to be undone by `release`. ENOMEM. */
  acquire(): Result<void> {
    if (this.#users === 0) {
      const slot = this.#slots.alloc();
      if (isErr(slot)) return slot;
      const breakpoint = this.#arch.breakpoint(this.#arch.instructionBytesMax);
      this.#ops.set_writeable_for_address(slot, breakpoint.length, (bytes) => bytes.set(breakpoint));
      this.trampoline = slot;
    }
    this.#users += 1;
  }

  release(): void {
    this.#users -= 1;
    if (this.#users > 0) return;
    this.#slots.free(this.trampoline);
    this.trampoline = 0;
  }

  /** The current task will return through the trampoline. */
  push(instance: RetprobeInstance): void {
    this.#users += 1;
    const task = this.#ops.current_task();
    const stack = this.#stacks.get(task);
    if (stack === undefined) this.#stacks.set(task, [instance]);
    else stack.push(instance);
  }

  /** The instances of the call that returns now, the latest hook first; the last one knows the real return address. */
  pop(): RetprobeInstance[] {
    const task = this.#ops.current_task();
    const stack = this.#stacks.get(task) ?? [];
    const first = stack.findLastIndex(({ returnAddress }) => returnAddress !== this.trampoline);
    if (first < 0) throw new Error("a return through the trampoline that no kretprobe hooked");
    const returning = stack.splice(first).toReversed();
    if (stack.length === 0) this.#stacks.delete(task);
    return returning;
  }

  /** Forgets the calls of a task that will never return. */
  flush(task: object): void {
    for (const instance of this.#stacks.get(task) ?? []) {
      instance.kretprobe.recycle(instance);
      this.release();
    }
    this.#stacks.delete(task);
  }
}
