/** How arguments of aya-log records are shown: one row per argument kind, one per display hint (aya-log, aya-log-common). */
import { cString, utf8Decode } from "@alien-ts/abi";

/** enum DisplayHint */
const HINT = {
  default: 1,
  lowerHex: 2,
  upperHex: 3,
  ip: 4,
  lowerMac: 5,
  upperMac: 6,
  pointer: 7,
  str: 8,
} as const;

/** A decoded argument. */
type Argument =
  | { readonly type: "integer"; readonly value: bigint; readonly bits: number }
  | { readonly type: "float"; readonly value: number }
  | { readonly type: "bytes"; readonly value: Uint8Array }
  | { readonly type: "text"; readonly value: string };

const integer =
  (bits: number, isSigned: boolean) =>
  (bytes: Uint8Array): Argument | undefined => {
    if (bytes.length * 8 !== bits) return undefined;
    const unsigned = bytes.reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
    return { type: "integer", value: isSigned ? BigInt.asIntN(bits, unsigned) : unsigned, bits };
  };

const float =
  (size: 4 | 8) =>
  (bytes: Uint8Array): Argument | undefined => {
    if (bytes.length !== size) return undefined;
    const view = new DataView(bytes.buffer, bytes.byteOffset, size);
    return { type: "float", value: size === 4 ? view.getFloat32(0, true) : view.getFloat64(0, true) };
  };

const fixed =
  (size: number) =>
  (bytes: Uint8Array): Argument | undefined =>
    bytes.length === size ? { type: "bytes", value: bytes } : undefined;

const address =
  (size: number) =>
  (bytes: Uint8Array): Argument | undefined =>
    bytes.length === size ? { type: "text", value: formatIp(bytes) ?? "" } : undefined;

/** By kind number (enum ArgumentKind); 0 is the hint itself. */
const DECODERS: readonly ((bytes: Uint8Array) => Argument | undefined)[] = [
  () => undefined,
  integer(8, true),
  integer(16, true),
  integer(32, true),
  integer(64, true),
  integer(64, true),
  integer(8, false),
  integer(16, false),
  integer(32, false),
  integer(64, false),
  integer(64, false),
  float(4),
  float(8),
  address(4),
  address(16),
  fixed(4),
  fixed(6),
  fixed(16),
  // [u16; 8]: groups in the machine's byte order.
  (bytes) => (bytes.length === 16 ? { type: "bytes", value: swapPairs(bytes) } : undefined),
  (bytes) => ({ type: "bytes", value: bytes }),
  (bytes) => ({ type: "text", value: utf8Decode(bytes) }),
  integer(64, false),
];

/** Undefined for an unknown kind, a wrong length, or a hint that does not suit the argument. */
export function formatArgument(
  kind: number,
  bytes: Uint8Array,
  hint: number | undefined,
): string | undefined {
  const argument = DECODERS[kind]?.(bytes);
  switch (argument?.type) {
    case "integer":
      return formatInteger(argument.value, argument.bits, hint);
    case "float":
      return hint === undefined || hint === HINT.default ? String(argument.value) : undefined;
    case "bytes":
      return formatBytes(argument.value, hint);
    case "text":
      return argument.value;
    default:
      return undefined;
  }
}

function formatInteger(value: bigint, bits: number, hint: number | undefined): string | undefined {
  // Rust prints negative numbers in hexadecimal as two's complement.
  const hex = BigInt.asUintN(bits, value).toString(16);
  switch (hint) {
    case undefined:
    case HINT.default:
      return value.toString();
    case HINT.lowerHex:
      return hex;
    case HINT.upperHex:
      return hex.toUpperCase();
    case HINT.pointer:
      return `0x${hex}`;
    case HINT.ip:
      return bits === 32 ? [24n, 16n, 8n, 0n].map((shift) => (value >> shift) & 0xffn).join(".") : undefined;
    default:
      return undefined;
  }
}

function formatBytes(bytes: Uint8Array, hint: number | undefined): string | undefined {
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0"));
  switch (hint) {
    case HINT.lowerHex:
      return hex.join("");
    case HINT.upperHex:
      return hex.join("").toUpperCase();
    case HINT.ip:
      return formatIp(bytes);
    case HINT.lowerMac:
      return bytes.length === 6 ? hex.join(":") : undefined;
    case HINT.upperMac:
      return bytes.length === 6 ? hex.join(":").toUpperCase() : undefined;
    case HINT.str:
      return cString(bytes);
    default:
      return undefined;
  }
}

function formatIp(bytes: Uint8Array): string | undefined {
  if (bytes.length === 4) return bytes.join(".");
  if (bytes.length !== 16) return undefined;
  const groups = Array.from({ length: 8 }, (_, index) => (bytes[2 * index]! << 8) | bytes[2 * index + 1]!);
  return compressIpv6(groups);
}

/** RFC 5952: the longest run of two or more zero groups, the first of equals, becomes `::`. */
function compressIpv6(groups: readonly number[]): string {
  let best = { start: -1, length: 1 };
  for (let start = 0; start < groups.length; start++) {
    let length = 0;
    while (groups[start + length] === 0) length += 1;
    if (length > best.length) best = { start, length };
  }
  const show = (part: readonly number[]): string => part.map((group) => group.toString(16)).join(":");
  if (best.start < 0) return show(groups);
  return `${show(groups.slice(0, best.start))}::${show(groups.slice(best.start + best.length))}`;
}

function swapPairs(bytes: Uint8Array): Uint8Array {
  return bytes.map((_, index) => bytes[index ^ 1]!);
}
