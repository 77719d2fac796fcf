/**
 * The part of the kernel's printf that print formats use: %d %i %u %x %X %o %c %s %p %%, the flags `-`, `0`, `+`, space and
 * `#`, widths, precisions of strings and integers, and the sizes hh, h, l, ll, z, t, j. Linux: lib/vsprintf.c,
 * Documentation/core-api/printk-formats.rst.
 *
 * Interface: `formatPrint`. A conversion without an argument stays as it is written.
 */
import type { PrintValue } from "./event.ts";

const CONVERSION = /%([-0+ #]*)(\d*)(?:\.(\d+))?(hh|h|ll|l|z|t|j)?([diuxXocsp%])/g;

interface Conversion {
  readonly flags: string;
  readonly width: number;
  readonly precision: number | undefined;
  readonly bits: number;
  readonly kind: string;
}

export function formatPrint(format: string, values: readonly PrintValue[]): string {
  let next = 0;
  return format.replace(
    CONVERSION,
    (
      whole: string,
      flags: string,
      width: string,
      precision: string | undefined,
      size: string | undefined,
      kind: string,
    ) => {
      if (kind === "%") return "%";
      const value = values[next++];
      if (value === undefined) return whole;
      const bits = BITS[kind === "p" ? "l" : (size ?? "")] ?? 32;
      return convert(
        {
          flags,
          width: Number(width),
          precision: precision === undefined ? undefined : Number(precision),
          bits,
          kind,
        },
        value,
      );
    },
  );
}

const BITS: Readonly<Record<string, number>> = { hh: 8, h: 16, "": 32, l: 64, ll: 64, z: 64, t: 64, j: 64 };
const RADIX: Readonly<Record<string, number>> = { x: 16, X: 16, o: 8 };
const PREFIX: Readonly<Record<string, string>> = { x: "0x", X: "0X", o: "0" };

function convert(conversion: Conversion, value: PrintValue): string {
  const { flags, precision, bits, kind } = conversion;
  if (kind === "s") {
    const text = String(value);
    return pad(conversion, "", precision === undefined ? text : text.slice(0, precision), " ");
  }
  if (kind === "c")
    return pad(
      conversion,
      "",
      typeof value === "string" ? value : String.fromCharCode(Number(value) & 0xff),
      " ",
    );
  const integer = toInteger(value);
  if (kind === "p")
    return pad(conversion, "", BigInt.asUintN(64, integer).toString(16).padStart(16, "0"), " ");
  const isSigned = kind === "d" || kind === "i";
  const wrapped = isSigned ? BigInt.asIntN(bits, integer) : BigInt.asUintN(bits, integer);
  const magnitude = (wrapped < 0n ? -wrapped : wrapped).toString(RADIX[kind] ?? 10);
  const digits = (kind === "X" ? magnitude.toUpperCase() : magnitude).padStart(precision ?? 0, "0");
  const sign = !isSigned
    ? ""
    : wrapped < 0n
      ? "-"
      : flags.includes("+")
        ? "+"
        : flags.includes(" ")
          ? " "
          : "";
  const prefix = flags.includes("#") && wrapped !== 0n ? (PREFIX[kind] ?? "") : "";
  return pad(conversion, sign + prefix, digits, flags.includes("0") && precision === undefined ? "0" : " ");
}

function toInteger(value: PrintValue): bigint {
  if (typeof value === "bigint") return value;
  return BigInt(typeof value === "number" ? Math.trunc(value) : Number(value) || 0);
}

/** Zeroes go between the sign and the digits, blanks outside. */
function pad({ flags, width }: Conversion, prefix: string, text: string, fill: string): string {
  const missing = Math.max(0, width - prefix.length - text.length);
  if (flags.includes("-")) return prefix + text + " ".repeat(missing);
  return fill === "0" ? prefix + "0".repeat(missing) + text : " ".repeat(missing) + prefix + text;
}
