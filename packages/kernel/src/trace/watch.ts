/**
 * Watching a kernel from the program that runs it: kprobes, kretprobes and trace events with handlers in TypeScript. What a
 * test suite or a visual tool uses; programs inside have perf, tracefs and BPF.
 *
 *     const watch = watchFunction(kernel, "vfs_read", (hit) => seen.push(`${hit.comm} ${hit.argument(2)}`));
 *     …
 *     watch.stop();
 *
 * Handlers run in the middle of the kernel's work: they must not call into it, sleep or throw. Symbols are those of
 * /proc/kallsyms. The functions throw where Linux answers an errno: a wrong symbol is a mistake in the caller's source.
 */
import { cString, isErr, type KAddr } from "@alien-ts/abi";
import {
  KprobeBuilder,
  KretprobeBuilder,
  type ProbeArgs,
  register_kretprobe,
  unregister_kretprobe,
} from "@alien-ts/kprobe";
import { formatRecord } from "@alien-ts/tracepoint";
import type { Kernel } from "../core/kernel.ts";
import { readUserString } from "../mm/uaccess.ts";
import { plantKprobe, removeKprobe } from "./kprobes.ts";

/** What ends a watch; a second call does nothing. */
export interface Watch {
  stop(): void;
}

/** A hit of a watched function. Valid until the handler returns. */
export class FunctionHit {
  readonly symbol: string;
  readonly pid: number;
  readonly comm: string;
  readonly cpu: number;
  /** Nanoseconds since boot. */
  readonly timeNs: number;
  readonly #kernel: Kernel;
  readonly #args: ProbeArgs;

  constructor(kernel: Kernel, symbol: string, args: ProbeArgs) {
    const { task, cpu } = kernel.current;
    this.symbol = symbol;
    this.pid = task.pid;
    this.comm = task.t.comm;
    this.cpu = cpu.id;
    this.timeNs = kernel.clock.nowNs();
    this.#kernel = kernel;
    this.#args = args;
  }

  /** The register of argument `n` (0 to 7), as an unsigned 64-bit value. */
  argument(n: number): bigint {
    return (BigInt(this.#args.argumentHigh(n) >>> 0) << 32n) | BigInt(this.#args.argumentLow(n) >>> 0);
  }

  /** The C string that argument `n` points to, in kernel memory or in the task's; undefined where there is none. */
  string(n: number): string | undefined {
    const { mem, current } = this.#kernel;
    const high = this.#args.argumentHigh(n) >>> 0;
    const low = this.#args.argumentLow(n) >>> 0;
    if (high === mem.baseHi)
      return low < mem.size ? cString(mem.u8.subarray(low, low + STRING_BYTES_MAX)) : undefined;
    const { mm } = current.task;
    const text = mm === null ? undefined : readUserString(mm, high * 2 ** 32 + low, STRING_BYTES_MAX);
    return text === undefined || isErr(text) ? undefined : cString(text);
  }

  /** What the function returned, as a signed 64-bit value; of a hit by `watchReturn` only. */
  get returnValue(): bigint {
    return (BigInt(this.#args.returnValueHigh()) << 32n) | BigInt(this.#args.returnValueLow() >>> 0);
  }
}

const STRING_BYTES_MAX = 4096;

/** Calls `handler` before the instruction at `symbol` + `offset`. */
export function watchFunction(
  kernel: Kernel,
  symbol: string,
  handler: (hit: FunctionHit) => void,
  offset: KAddr = 0,
): Watch {
  const builder = new KprobeBuilder()
    .with_symbol(symbol)
    .with_offset(offset)
    .with_pre_handler((_, args) => {
      handler(new FunctionHit(kernel, symbol, args));
      return 0;
    });
  const probe = plantKprobe(kernel.current, builder);
  if (isErr(probe)) throw new Error(`cannot probe ${symbol}: ${probe.message}`);
  return once(() => removeKprobe(kernel.current, probe));
}

/** Calls `handler` when `symbol` returns. */
export function watchReturn(kernel: Kernel, symbol: string, handler: (hit: FunctionHit) => void): Watch {
  const builder = new KretprobeBuilder(RETURNS_MAX)
    .with_symbol(symbol)
    .with_ret_handler((_, args) => handler(new FunctionHit(kernel, symbol, args)));
  const probe = register_kretprobe(kernel.kprobes, builder);
  if (isErr(probe)) throw new Error(`cannot probe ${symbol}: ${probe.message}`);
  return once(() => void unregister_kretprobe(kernel.kprobes, probe));
}

/** Calls of one function in flight that are seen to return. */
const RETURNS_MAX = 256;

/** Calls `handler` with the text that `trace` prints, for each "system:event". */
export function watchEvent(kernel: Kernel, name: string, handler: (text: string) => void): Watch {
  const event = kernel.traceEvents.find(name);
  if (event === undefined) throw new Error(`no trace event is called ${name}`);
  return once(event.attach((_, addr) => handler(formatRecord(kernel.mem, addr, event.event))));
}

function once(stop: () => void): Watch {
  let isOver = false;
  return {
    stop() {
      if (isOver) return;
      isOver = true;
      stop();
    },
  };
}
