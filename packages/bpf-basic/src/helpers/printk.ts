/**
 * The formats of bpf_trace_printk: `bpf_bprintf_prepare` says which are good, vsnprintf what they print. %d %i %u %x %X with l
 * and ll, a width and the flags 0, -, +, space; %c; %s, %pks, %pus (strings in kernel or user memory); %p (hashed), %px, %pK,
 * %ps, %pS, %pB.
 */
import { EINVAL, isErr, type Result, utf8Decode } from "@alien-ts/abi";
import type { HelperHost } from "./host.ts";

export interface PrintkValue {
  readonly low: number;
  readonly high: number;
}

/** BPF_TRACE_PRINTK_SIZE, with the NUL. */
const OUTPUT_BYTES = 1024;
/** MAX_BPRINTF_BUF of one string. */
const STRING_BYTES = 512;
const PRINTABLE = /^[\t-\r -~]*$/;
const SPECIFIER = /^%([-0+ ]*)([1-9][0-9]*)?(?:p(ks|us|K|x|s|S|B)?|(ll?)?([diuxX])|([cs]))/;

/** The text of a format at `format`, which has a NUL within `sizeBytes`; EINVAL for one that Linux refuses. */
export function formatTrace(
  host: HelperHost,
  format: number,
  sizeBytes: number,
  values: readonly PrintkValue[],
): Result<string> {
  const bytes = host.m.bytes(format, sizeBytes);
  const end = bytes.indexOf(0);
  if (end < 0) return EINVAL;
  const text = utf8Decode(bytes.subarray(0, end));
  if (!PRINTABLE.test(text)) return EINVAL;
  let out = "";
  let used = 0;
  for (let at = 0; at < text.length;) {
    if (text[at] !== "%") {
      out += text[at++];
      continue;
    }
    if (text[at + 1] === "%") {
      out += "%";
      at += 2;
      continue;
    }
    const value = values[used++];
    const match = SPECIFIER.exec(text.slice(at));
    if (value === undefined || match === null) return EINVAL;
    const printed = print(host, match, value, text[at + match[0].length]);
    if (isErr(printed)) return printed;
    out += printed;
    at += match[0].length;
  }
  return out.slice(0, OUTPUT_BYTES - 1);
}

/** One specifier; `following` is the character behind it. */
function print(
  host: HelperHost,
  match: RegExpExecArray,
  value: PrintkValue,
  following: string | undefined,
): Result<string> {
  const [whole, flags = "", width = "0", pointer, long, integer, plain] = match;
  const isPointer = integer === undefined && plain === undefined;
  const isString = plain === "s" || pointer === "ks" || pointer === "us";
  // A letter behind %p or %s would be an extension that is not known.
  if (
    (isString || (isPointer && pointer === undefined)) &&
    following !== undefined &&
    /[A-Za-z0-9]/.test(following)
  ) {
    return EINVAL;
  }
  if (isPointer && !isString) return pad(printPointer(pointer, value), flags, Number(width));
  if (isString) return pad(string(host, value, pointer === "us"), flags, Number(width));
  if (plain === "c") return pad(String.fromCharCode(value.low & 0xff), flags, Number(width));
  return integer === undefined
    ? EINVAL
    : pad(printInteger(value, integer, long !== undefined, flags), flags, Number(width), whole);
}

function printInteger(
  { low, high }: PrintkValue,
  conversion: string,
  isLong: boolean,
  flags: string,
): string {
  const unsigned = isLong ? (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0) : BigInt(low >>> 0);
  if (conversion === "x") return unsigned.toString(16);
  if (conversion === "X") return unsigned.toString(16).toUpperCase();
  if (conversion === "u") return unsigned.toString();
  const signed = BigInt.asIntN(isLong ? 64 : 32, unsigned);
  const sign = signed < 0n ? "" : flags.includes("+") ? "+" : flags.includes(" ") ? " " : "";
  return sign + signed.toString();
}

const hex = ({ low, high }: PrintkValue): string =>
  (high >>> 0).toString(16).padStart(8, "0") + (low >>> 0).toString(16).padStart(8, "0");

/** %p prints a hash, so that a log gives no addresses away; NULL and error values are told as what they are. */
function printPointer(form: string | undefined, value: PrintkValue): string {
  if (form === "x") return hex(value);
  if (form === "s" || form === "S" || form === "B") return `0x${hex(value).replace(/^0+(?=.)/, "")}`;
  if (value.high === 0 && value.low === 0) return "0".repeat(16);
  let hash = Math.imul(value.low ^ 0x9e37_79b9, 0x85eb_ca6b) ^ Math.imul(value.high, 0xc2b2_ae35);
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b_3c6d);
  return hex({ low: hash ^ (hash >>> 13), high: 0 });
}

/** The string that a value points to; empty where it cannot be read. */
function string(host: HelperHost, { low, high }: PrintkValue, isUser: boolean): string {
  const bytes: number[] = [];
  const { ports, m } = host;
  for (let i = 0; i < STRING_BYTES - 1; i++) {
    const from = (low >>> 0) + i;
    const isRead =
      isUser || high >= 0
        ? high >= 0 && ports.readUserNofault(host.scratch, high * 0x1_0000_0000 + from, 1)
        : high === (m.baseHi | 0) && ports.readKernelNofault(host.scratch, from, 1);
    if (!isRead) return "";
    const byte = m.u8[host.scratch]!;
    if (byte === 0) break;
    bytes.push(byte);
  }
  return utf8Decode(Uint8Array.from(bytes));
}

function pad(text: string, flags: string, width: number, number?: string): string {
  if (flags.includes("-")) return text.padEnd(width);
  if (number === undefined || !flags.includes("0")) return text.padStart(width);
  const sign = /^[-+ ]/.exec(text)?.[0] ?? "";
  return sign + text.slice(sign.length).padStart(width - sign.length, "0");
}
