/**
 * Records in linear memory: written by an emitter, read by consumers, printed as `trace` prints them.
 *
 * Text is a byte string, one character per byte, in `chars` fields and dynamic strings alike: the kernel does not know encodings.
 *
 * Interface: `recordBytes`, `writeRecord`, `readRecord`, `formatRecord`. Linux: include/trace/stages/, kernel/trace/trace_output.c.
 */
import type { CType, KAddr, LinearMemory } from "@alien-ts/abi";
import { isDynamic, type PlacedField, type Tracepoint, type TraceFields, type TraceValues } from "./event.ts";
import { formatPrint } from "./printf.ts";

/** The fields that every record starts with, but for the event's id. */
export interface CommonFields {
  /** TRACE_FLAG.*. */
  readonly flags: number;
  readonly preemptCount: number;
  readonly pid: number;
}

type Values = Readonly<Record<string, unknown>>;

/** Size of the record that `values` need. */
export function recordBytes<F extends TraceFields>(event: Tracepoint<F>, values: TraceValues<F>): number {
  let bytes = event.fixedBytes;
  for (const { name, field } of event.placed)
    if (isDynamic(field)) bytes += ((values as Values)[name] as string).length + 1;
  return bytes;
}

/**
 * Writes a record of `recordBytes` at `addr`, which is 8-aligned.
 * @returns its size.
 */
export function writeRecord<F extends TraceFields>(
  mem: LinearMemory,
  addr: KAddr,
  event: Tracepoint<F>,
  id: number,
  common: CommonFields,
  values: TraceValues<F>,
): number {
  mem.u8.fill(0, addr, addr + event.fixedBytes);
  mem.dv.setUint16(addr, id, true);
  mem.u8[addr + 2] = common.flags;
  mem.u8[addr + 3] = common.preemptCount;
  mem.dv.setInt32(addr + 4, common.pid, true);
  let dataAt = event.dataOffset;
  for (const placed of event.placed) {
    const value = (values as Values)[placed.name];
    if (isDynamic(placed.field)) dataAt += writeString(mem, addr, placed, value as string, dataAt);
    else writeField(mem, addr + placed.offset, placed.field as CType, value);
  }
  return event.fixedBytes + dataAt - event.dataOffset;
}

/** The low half of a __data_loc is the text's offset in the record, the high half its size with the NUL. */
function writeString(
  mem: LinearMemory,
  addr: KAddr,
  { offset }: PlacedField,
  text: string,
  dataAt: number,
): number {
  const length = text.length + 1;
  for (let i = 0; i < text.length; i++) mem.u8[addr + dataAt + i] = text.charCodeAt(i);
  mem.u8[addr + dataAt + text.length] = 0;
  mem.dv.setUint32(addr + offset, ((length << 16) | dataAt) >>> 0, true);
  return length;
}

function writeField(mem: LinearMemory, at: KAddr, type: CType, value: unknown): void {
  const accessor = type.define(0);
  const place = { m: mem, addr: at };
  if (Array.isArray(value)) {
    const elements = accessor.get?.call(place) as { set(index: number, element: unknown): void };
    value.forEach((element, i) => elements.set(i, element));
  } else accessor.set?.call(place, value);
}

/** The fields of the record at `addr`. */
export function readRecord<F extends TraceFields>(
  mem: LinearMemory,
  addr: KAddr,
  event: Tracepoint<F>,
): TraceValues<F> {
  const values: Record<string, unknown> = {};
  for (const { name, field, offset } of event.placed)
    values[name] = isDynamic(field)
      ? readString(mem, addr, offset)
      : readField(mem, addr + offset, field as CType);
  return values as TraceValues<F>;
}

function readString(mem: LinearMemory, addr: KAddr, offset: number): string {
  const location = mem.dv.getUint32(addr + offset, true);
  const start = addr + (location & 0xffff);
  const end = start + (location >>> 16);
  let text = "";
  for (let at = start; at < end && mem.u8[at] !== 0; at++) text += String.fromCharCode(mem.u8[at]!);
  return text;
}

function readField(mem: LinearMemory, at: KAddr, type: CType): unknown {
  const value: unknown = type.define(0).get?.call({ m: mem, addr: at });
  if (type.kind !== "array" || typeof value !== "object" || value === null || !("get" in value)) return value;
  const elements = value as { readonly length: number; get(index: number): unknown };
  return Array.from({ length: elements.length }, (_, i) => elements.get(i));
}

/** What `trace` prints behind "<event>: ". */
export function formatRecord<F extends TraceFields>(
  mem: LinearMemory,
  addr: KAddr,
  event: Tracepoint<F>,
): string {
  const record = readRecord(mem, addr, event);
  return formatPrint(
    event.format,
    event.args.map((arg) => arg.value(record)),
  );
}
