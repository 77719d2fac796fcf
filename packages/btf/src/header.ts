/** The BTF header: checked as the kernel does (btf_parse_hdr), with its messages. */
import { BtfError } from "./error.ts";

export const BTF_MAGIC = 0xeb9f;
export const BTF_VERSION = 1;
export const BTF_HEADER_SIZE = 24;
/** Of .BTF.ext: without, and with the table of CO-RE relocations. */
export const BTF_EXT_HEADER_MIN = 24;
export const BTF_EXT_HEADER_SIZE = 32;

export interface BtfHeader {
  readonly littleEndian: boolean;
  readonly headerSize: number;
  /** Offsets are from the start of the blob. */
  readonly typesAt: number;
  readonly typesSize: number;
  readonly stringsAt: number;
  readonly stringsSize: number;
}

/** The byte order is that of the magic number; the kernel takes only its own. */
export function parseHeader(bytes: Uint8Array): BtfHeader | BtfError {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const start = checkStart(view, BTF_HEADER_SIZE);
  if (start instanceof BtfError) return start;
  const { littleEndian, headerSize } = start;
  const typesAt = headerSize + view.getUint32(8, littleEndian);
  const typesSize = view.getUint32(12, littleEndian);
  const stringsAt = headerSize + view.getUint32(16, littleEndian);
  const stringsSize = view.getUint32(20, littleEndian);
  if (typesAt % 4 !== 0) return new BtfError("Unaligned type_off", 8);
  if (typesAt > bytes.length || stringsAt > bytes.length) return new BtfError("Invalid section offset", 8);
  if (stringsAt < typesAt + typesSize) return new BtfError("Section overlap found", 16);
  if (stringsAt > typesAt + typesSize) return new BtfError("Unsupported section found", 16);
  if (stringsAt + stringsSize > bytes.length) return new BtfError("Total section length too long", 20);
  if (stringsAt + stringsSize < bytes.length) return new BtfError("String section is not at the end", 16);
  return { littleEndian, headerSize, typesAt, typesSize, stringsAt, stringsSize };
}

/** Magic, version, flags and header length: the same in `.BTF` and `.BTF.ext`. */
export function checkStart(
  view: DataView,
  minimum: number,
): { readonly littleEndian: boolean; readonly headerSize: number } | BtfError {
  if (view.byteLength < 8) return new BtfError("hdr_len not found", 0);
  const littleEndian = view.getUint16(0, true) === BTF_MAGIC;
  if (!littleEndian && view.getUint16(0, false) !== BTF_MAGIC) return new BtfError("Invalid magic", 0);
  if (view.getUint8(2) !== BTF_VERSION) return new BtfError("Unsupported version", 2);
  if (view.getUint8(3) !== 0) return new BtfError("Unsupported flags", 3);
  const headerSize = view.getUint32(4, littleEndian);
  if (headerSize < minimum || headerSize > view.byteLength) return new BtfError("btf_header not found", 4);
  for (let at = minimum; at < headerSize; at++)
    if (view.getUint8(at) !== 0) return new BtfError("Unsupported btf_header", at);
  return { littleEndian, headerSize };
}
