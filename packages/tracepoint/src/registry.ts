/**
 * The events of one kernel: their ids, and who consumes them.
 *
 * `TracepointRegistry<C>` gives each registered row an id, in order of registration; `C` is what the kernel says about the
 * place of an emission (task, CPU). An event without consumers is not armed, and its emitters test `isArmed` before they
 * collect values:
 *
 *     if (wakeup.isArmed) wakeup.emit(where, { comm, pid, prio, target_cpu });
 *
 * `emit` writes the record once, into scratch memory, and shows it to each consumer; the record is gone when the last one
 * returns. A consumer may cause events itself: up to SCRATCH_LEVELS records are alive at a time, and a deeper or larger one is
 * lost and counted (`missed`), as in Linux's perf (PERF_NR_CONTEXTS). Consumers must not sleep or throw.
 */
import type { KAddr, LinearMemory } from "@alien-ts/abi";
import type { Tracepoint, TraceFields, TraceValues } from "./event.ts";
import { type CommonFields, recordBytes, writeRecord } from "./record.ts";

/** Records that may be alive at a time: task, softirq, hardirq, NMI. */
export const SCRATCH_LEVELS = 4;
/** The largest record (Linux: PERF_MAX_TRACE_SIZE is 8192; ours hold no stacks). */
export const RECORD_BYTES_MAX = 2048;
export const SCRATCH_BYTES = SCRATCH_LEVELS * RECORD_BYTES_MAX;

/** What a kernel supplies. */
export interface TracepointPorts<C> {
  readonly mem: LinearMemory;
  /** SCRATCH_BYTES, 8-aligned, for records. */
  readonly scratch: KAddr;
  common(where: C): CommonFields;
}

/** Sees a record; `addr` is valid until it returns. */
export type TraceConsumer<C> = (where: C, addr: KAddr, sizeBytes: number) => void;

interface Scratch {
  level: number;
}

export class RegisteredEvent<C, F extends TraceFields = TraceFields> {
  readonly event: Tracepoint<F>;
  readonly id: number;
  /** Whether someone consumes it. */
  isArmed = false;
  /** Records that nobody saw: emitted too deep, or too large. */
  missed = 0;
  /** Told when `isArmed` changes: where the kernel hooks its emitters in and out. */
  onArmed: ((isArmed: boolean) => void) | undefined;
  /** Copied on write: a consumer may remove itself. */
  #consumers: readonly TraceConsumer<C>[] = [];
  readonly #ports: TracepointPorts<C>;
  readonly #scratch: Scratch;

  constructor(event: Tracepoint<F>, id: number, ports: TracepointPorts<C>, scratch: Scratch) {
    this.event = event;
    this.id = id;
    this.#ports = ports;
    this.#scratch = scratch;
  }

  /** Adds a consumer; they run in the order in which they came. The result removes it; a second call does nothing. */
  attach(consumer: TraceConsumer<C>): () => void {
    this.#setConsumers([...this.#consumers, consumer]);
    let isAttached = true;
    return () => {
      if (!isAttached) return;
      isAttached = false;
      const at = this.#consumers.indexOf(consumer);
      this.#setConsumers(this.#consumers.filter((_, i) => i !== at));
    };
  }

  /** Records the event and shows it to its consumers. */
  emit(where: C, values: TraceValues<F>): void {
    if (!this.isArmed) return;
    const { mem, scratch } = this.#ports;
    const { level } = this.#scratch;
    if (level === SCRATCH_LEVELS || recordBytes(this.event, values) > RECORD_BYTES_MAX) {
      this.missed += 1;
      return;
    }
    const addr = scratch + level * RECORD_BYTES_MAX;
    const size = writeRecord(mem, addr, this.event, this.id, this.#ports.common(where), values);
    this.#scratch.level = level + 1;
    for (const consumer of this.#consumers) consumer(where, addr, size);
    this.#scratch.level = level;
  }

  #setConsumers(consumers: readonly TraceConsumer<C>[]): void {
    this.#consumers = consumers;
    const isArmed = consumers.length > 0;
    if (isArmed === this.isArmed) return;
    this.isArmed = isArmed;
    this.onArmed?.(isArmed);
  }
}

/** An event of any fields, for those who list them. */
export type AnyEvent<C> = Pick<RegisteredEvent<C>, "event" | "id" | "isArmed" | "missed" | "attach">;

export class TracepointRegistry<C> {
  readonly #ports: TracepointPorts<C>;
  readonly #scratch: Scratch = { level: 0 };
  readonly #byName = new Map<string, AnyEvent<C>>();
  readonly #byId = new Map<number, AnyEvent<C>>();
  #nextId: number;
  /** Told of each event from now on: who lists them shows those of extensions too. */
  onRegistered: ((event: AnyEvent<C>) => void) | undefined;

  /** @param firstId the first id given; Linux's lie behind those of the built-in record types (ftrace:*). */
  constructor(ports: TracepointPorts<C>, firstId = 1) {
    this.#ports = ports;
    this.#nextId = firstId;
  }

  /** Throws when the system has an event of this name. */
  register<F extends TraceFields>(event: Tracepoint<F>): RegisteredEvent<C, F> {
    const name = `${event.system}:${event.name}`;
    if (this.#byName.has(name)) throw new Error(`two events are called ${name}`);
    const made = new RegisteredEvent<C, F>(event, this.#nextId++, this.#ports, this.#scratch);
    const listed = made as unknown as AnyEvent<C>;
    this.#byName.set(name, listed);
    this.#byId.set(made.id, listed);
    this.onRegistered?.(listed);
    return made;
  }

  /** By "system:name". */
  find(name: string): AnyEvent<C> | undefined {
    return this.#byName.get(name);
  }

  findId(id: number): AnyEvent<C> | undefined {
    return this.#byId.get(id);
  }

  /** In order of registration. */
  all(): readonly AnyEvent<C>[] {
    return [...this.#byName.values()];
  }
}
