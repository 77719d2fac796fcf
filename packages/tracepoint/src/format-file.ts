/**
 * The text of `events/<system>/<name>/format`, which loaders and tracers parse. Linux: kernel/trace/trace_events.c (f_show).
 *
 * Interface: `formatFile`.
 */
import type { CType } from "@alien-ts/abi";
import { isDynamic, type PlacedField, type Tracepoint, type TraceFields } from "./event.ts";

const COMMON_LINES = [
  fieldLine("unsigned short common_type", 0, 2, false),
  fieldLine("unsigned char common_flags", 2, 1, false),
  fieldLine("unsigned char common_preempt_count", 3, 1, false),
  fieldLine("int common_pid", 4, 4, true),
].join("");

export function formatFile<F extends TraceFields>(event: Tracepoint<F>, id: number): string {
  const fields = event.placed.map(placedLine).join("");
  const args = event.args.map((arg) => `, ${arg.c}`).join("");
  return `name: ${event.name}\nID: ${id}\nformat:\n${COMMON_LINES}\n${fields}\nprint fmt: "${event.format}"${args}\n`;
}

function placedLine({ name, field, offset, size }: PlacedField): string {
  if (isDynamic(field)) return fieldLine(`__data_loc char[] ${name}`, offset, size, false);
  const type = field as CType;
  const array = type.kind === "array" ? `[${type.length ?? 0}]` : "";
  return fieldLine(`${spaced(type.c)}${name}${array}`, offset, size, isSigned(type));
}

/** "char *" needs no blank behind it. */
const spaced = (c: string): string => (c.endsWith("*") ? c : `${c} `);

/** Linux: is_signed_type(). Plain char is unsigned: the kernel is built with -funsigned-char. */
const isSigned = (type: CType): boolean =>
  type.c !== "char" && type.signed && type.kind !== "ptr" && type.kind !== "userptr";

function fieldLine(declaration: string, offset: number, size: number, signed: boolean): string {
  return `\tfield:${declaration};\toffset:${offset};\tsize:${size};\tsigned:${signed ? 1 : 0};\n`;
}
