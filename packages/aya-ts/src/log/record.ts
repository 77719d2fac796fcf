/**
 * One record of aya-log: who logged, at which level, and the message, which the eBPF side sends as unformatted arguments.
 *
 * Wire format (aya-log-common): a u16 with the size of all that follows it; then fields `kind: u8, length: u16, bytes`: six of
 * the header, then arguments, where a display hint goes before each value. Words are little endian.
 */
import { utf8Decode } from "@alien-ts/abi";
import { formatArgument } from "./format.ts";

export const LOG_LEVELS = ["error", "warn", "info", "debug", "trace"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export interface LogRecord {
  readonly level: LogLevel;
  readonly target: string;
  readonly module: string;
  readonly file: string;
  readonly line: number;
  readonly message: string;
}

/** Kinds of the header's fields. */
const FIELD = { target: 0, level: 1, module: 2, file: 3, line: 4, numArgs: 5 } as const;
const SIZE_BYTES = 2;
const FIELD_HEADER_BYTES = 3;
/** Kind of an argument that says how the next one is shown. */
const DISPLAY_HINT = 0;

interface Field {
  readonly kind: number;
  readonly bytes: Uint8Array;
}

/** Undefined when `bytes` is no such record: a log must not stop the program that reads it. */
export function parseLogRecord(bytes: Uint8Array): LogRecord | undefined {
  const fields = readFields(bytes);
  if (fields === undefined) return undefined;
  const header = new Map(fields.slice(0, 6).map(({ kind, bytes: value }) => [kind, value]));
  const text = (kind: number): string => utf8Decode(header.get(kind) ?? new Uint8Array(0));
  const level = LOG_LEVELS[(header.get(FIELD.level)?.[0] ?? 0) - 1];
  const count = number(header.get(FIELD.numArgs));
  if (header.size !== 6 || level === undefined || count === undefined) return undefined;
  const message = formatArguments(fields.slice(6), count);
  if (message === undefined) return undefined;
  return {
    level,
    target: text(FIELD.target),
    module: text(FIELD.module),
    file: text(FIELD.file),
    line: number(header.get(FIELD.line)) ?? 0,
    message,
  };
}

function readFields(bytes: Uint8Array): Field[] | undefined {
  if (bytes.length < SIZE_BYTES) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = SIZE_BYTES + view.getUint16(0, true);
  if (end > bytes.length) return undefined;
  const fields: Field[] = [];
  let at = SIZE_BYTES;
  while (at < end) {
    if (at + FIELD_HEADER_BYTES > end) return undefined;
    const length = view.getUint16(at + 1, true);
    const start = at + FIELD_HEADER_BYTES;
    if (start + length > end) return undefined;
    fields.push({ kind: bytes[at]!, bytes: bytes.subarray(start, start + length) });
    at = start + length;
  }
  return fields;
}

/** @param count arguments that the record says it has, hints included. */
function formatArguments(fields: readonly Field[], count: number): string | undefined {
  if (fields.length < count) return undefined;
  let message = "";
  let hint: number | undefined;
  for (const { kind, bytes } of fields.slice(0, count)) {
    if (kind === DISPLAY_HINT) {
      hint = bytes[0];
      continue;
    }
    const text = formatArgument(kind, bytes, hint);
    if (text === undefined) return undefined;
    message += text;
    hint = undefined;
  }
  return message;
}

function number(bytes: Uint8Array | undefined): number | undefined {
  return bytes?.length === 4 ? new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true) : undefined;
}
