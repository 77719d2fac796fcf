/**
 * Which events are written to the trace buffer: what the `enable` files and `set_event` show and change.
 * Linux: kernel/trace/trace_events.c.
 */
import { EINVAL, type Result } from "@alien-ts/abi";
import { type AnyEvent, formatRecord } from "@alien-ts/tracepoint";
import type { Kernel } from "../core/kernel.ts";
import type { TraceOrigin } from "./trace-buffer.ts";

export type KernelEvent = AnyEvent<TraceOrigin>;

export class EventSwitches {
  readonly #kernel: Kernel;
  /** What ends the recording of an enabled event. */
  readonly #enabled = new Map<KernelEvent, () => void>();

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  isEnabled(event: KernelEvent): boolean {
    return this.#enabled.has(event);
  }

  set(events: readonly KernelEvent[], isOn: boolean): void {
    for (const event of events) {
      if (isOn === this.#enabled.has(event)) continue;
      if (isOn) this.#enabled.set(event, this.#record(event));
      else {
        this.#enabled.get(event)?.();
        this.#enabled.delete(event);
      }
    }
  }

  #record(event: KernelEvent): () => void {
    const { mem, traceBuffer } = this.#kernel;
    return event.attach((origin, addr) =>
      traceBuffer.appendFrom(origin, event.event.name, formatRecord(mem, addr, event.event)),
    );
  }

  /** "0", "1", or "X" where some are on: what an `enable` file of these events shows. */
  show(events: readonly KernelEvent[]): string {
    const on = events.filter((event) => this.isEnabled(event)).length;
    return `${on === 0 ? "0" : on === events.length ? "1" : "X"}\n`;
  }

  /** A write to an `enable` file: EINVAL for anything but 0 and 1. */
  write(events: readonly KernelEvent[], text: string): Result<0> {
    const value = parseSwitch(text);
    if (value === undefined) return EINVAL;
    this.set(events, value);
    return 0;
  }

  /** "sched:sched_switch" lines. */
  list(events: readonly KernelEvent[]): string {
    return events
      .filter((event) => this.isEnabled(event))
      .map((event) => `${fullName(event)}\n`)
      .join("");
  }

  /** Words of set_event: "system:event", "event", "system:", with * and ? and a leading ! to disable. EINVAL: nothing matches. */
  writeNames(text: string): Result<0> {
    for (const word of text.split(/\s+/).filter((part) => part !== "")) {
      const isOn = !word.startsWith("!");
      const matched = matching(this.#kernel.traceEvents.all(), isOn ? word : word.slice(1));
      if (matched.length === 0) return EINVAL;
      this.set(matched, isOn);
    }
    return 0;
  }
}

export const fullName = ({ event }: KernelEvent): string => `${event.system}:${event.name}`;

/** kstrtoul of a switch; undefined: not 0 or 1. */
export function parseSwitch(text: string): boolean | undefined {
  const digit = text.trim();
  return digit === "1" ? true : digit === "0" ? false : undefined;
}

function matching(events: readonly KernelEvent[], word: string): KernelEvent[] {
  const [first, ...rest] = word.split(":");
  if (rest.length === 0)
    return events.filter(({ event }) => glob(first ?? "", event.name) || glob(first ?? "", event.system));
  const name = rest.join(":");
  return events.filter(({ event }) => glob(first ?? "", event.system) && glob(name, event.name));
}

/** Linux: glob_match() of * and ?. An empty pattern matches all. */
function glob(pattern: string, text: string): boolean {
  if (pattern === "") return true;
  const source = pattern
    .replace(/[.+^${}()|[\]\\]/g, "\\$&")
    .replace(/\*/g, ".*")
    .replace(/\?/g, ".");
  return new RegExp(`^${source}$`).test(text);
}
