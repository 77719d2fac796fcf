/**
 * Event definitions: one row says an event's record, its `format` file and how `trace` prints it.
 *
 *     export const sched_wakeup = tracepoint("sched", "sched_wakeup",
 *       { comm: chars(16), pid: named("pid_t", s32), prio: s32, target_cpu: s32 },
 *       "comm=%s pid=%d prio=%d target_cpu=%03d");
 *
 * A record is `struct trace_entry` and then the fields, each at its natural alignment, in every kernel: records are ABI. A
 * `dynamicString` field holds where its text lies behind the fixed part (Linux: __data_loc, __string).
 *
 * Without `args` the format takes the fields in order; with it, each argument has its C text (for the `format` file) and its
 * value. A row is immutable and shared by all kernels: ids and consumers are the registry's (registry.ts).
 */
import {
  abiStruct,
  type CType,
  type Fields,
  Layout,
  nested,
  s32,
  type StructDecl,
  u16,
  u32,
  u8,
} from "@alien-ts/abi";

/** A string of any length: `__data_loc char[]`. */
export interface DynamicString {
  readonly form: "dynamic-string";
}

export const dynamicString: DynamicString = { form: "dynamic-string" };

export type TraceField = CType<never> | CType | DynamicString;

export interface TraceFields {
  readonly [name: string]: TraceField;
}

/** What an emitter passes for a field, and a reader gets. */
export type TraceValue<X> = X extends DynamicString
  ? string
  : X extends CType<{ readonly length: number; get(index: number): infer E }>
    ? readonly E[]
    : X extends CType<infer T>
      ? T
      : never;

export type TraceValues<F extends TraceFields> = { readonly [K in keyof F]: TraceValue<F[K]> };

export type PrintValue = number | bigint | string | boolean;

/** An argument of the print format. */
export interface PrintArgument<F extends TraceFields> {
  /** Its C text in the `format` file: "REC->prev_pid". */
  readonly c: string;
  value(record: TraceValues<F>): PrintValue;
}

/** One field in a record. */
export interface PlacedField {
  readonly name: string;
  readonly field: TraceField;
  readonly offset: number;
  readonly size: number;
}

export interface Tracepoint<F extends TraceFields = TraceFields> {
  readonly system: string;
  readonly name: string;
  readonly fields: F;
  /** Linux's name of the record's type: `struct trace_event_raw_<name>`. */
  readonly record: StructDecl;
  readonly placed: readonly PlacedField[];
  /** Bytes of the fixed part, in which dynamic strings do not count, and with its tail padding. */
  readonly fixedBytes: number;
  /** Where dynamic strings start. */
  readonly dataOffset: number;
  readonly format: string;
  readonly args: readonly PrintArgument<F>[];
}

/** include/linux/trace_events.h: what every record starts with. */
export const trace_entry = abiStruct("trace_entry", { type: u16, flags: u8, preempt_count: u8, pid: s32 });

export const TRACE_ENTRY_BYTES = 8;

export const isDynamic = (field: TraceField): field is DynamicString => "form" in field;

export function tracepoint<const F extends TraceFields>(
  system: string,
  name: string,
  fields: F,
  format: string,
  args?: readonly PrintArgument<F>[],
): Tracepoint<F> {
  const members: Record<string, CType<never> | CType> = {};
  for (const [field, type] of Object.entries(fields))
    members[memberName(field, type)] = isDynamic(type) ? u32 : type;
  const record: StructDecl = abiStruct(`trace_event_raw_${name}`, {
    ent: nested(trace_entry),
    ...members,
  } as Fields);
  const layout = Layout.natural().of(record);
  const placed = Object.entries(fields).map(([field, type]) => {
    const { offset, size } = layout.fields.get(memberName(field, type))!;
    return { name: field, field: type, offset, size };
  });
  const last = placed.at(-1);
  return Object.freeze({
    system,
    name,
    fields,
    record,
    placed,
    fixedBytes: layout.size,
    dataOffset: last === undefined ? TRACE_ENTRY_BYTES : last.offset + last.size,
    format,
    args: args ?? placed.map(({ name: field, field: type }) => fieldArgument<F>(field, type)),
  });
}

/** `REC->name`, or `__get_str(name)`, as an argument. */
function fieldArgument<F extends TraceFields>(name: string, type: TraceField): PrintArgument<F> {
  return {
    c: isDynamic(type) ? `__get_str(${name})` : `REC->${name}`,
    value: (record) => (record as Readonly<Record<string, unknown>>)[name] as PrintValue,
  };
}

const memberName = (field: string, type: TraceField): string =>
  isDynamic(type) ? `__data_loc_${field}` : field;
