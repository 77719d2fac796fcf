/**
 * `.BTF.ext`: function, line and CO-RE relocation records per program section (Documentation/bpf/btf.rst §4).
 *
 * Offsets of records are bytes inside the section that they name. Names are resolved against the object's `.BTF`.
 */
import type { Btf } from "./btf.ts";
import { BtfError } from "./error.ts";
import { BTF_EXT_HEADER_MIN, BTF_EXT_HEADER_SIZE, checkStart } from "./header.ts";

export interface FuncInfo {
  readonly offset: number;
  readonly typeId: number;
}

export interface LineInfo {
  readonly offset: number;
  /** Offset of the file name in the string section; `.BTF` numbers stay valid as long as its strings are loaded unchanged. */
  readonly fileNameOffset: number;
  readonly lineOffset: number;
  /** line << 10 | column */
  readonly lineColumn: number;
}

export interface CoreRelocation {
  readonly offset: number;
  readonly typeId: number;
  /** Access path, e.g. "0:1:2". */
  readonly access: string;
  /** enum bpf_core_relo_kind. */
  readonly kind: number;
}

/** Records by section name. */
export interface BtfExt {
  readonly funcInfo: ReadonlyMap<string, readonly FuncInfo[]>;
  readonly lineInfo: ReadonlyMap<string, readonly LineInfo[]>;
  readonly coreRelocations: ReadonlyMap<string, readonly CoreRelocation[]>;
}

export function parseBtfExt(bytes: Uint8Array, btf: Btf): BtfExt | BtfError {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const hasCore = bytes.length >= 8 && view.getUint32(4, btf.littleEndian) >= BTF_EXT_HEADER_SIZE;
  const start = checkStart(view, hasCore ? BTF_EXT_HEADER_SIZE : BTF_EXT_HEADER_MIN);
  if (start instanceof BtfError) return start;
  if (start.littleEndian !== btf.littleEndian) return new BtfError("Invalid magic", 0);
  const table = <T>(
    field: number,
    size: number,
    read: (at: number) => T | BtfError,
  ): Map<string, T[]> | BtfError =>
    parseTable(
      { view, btf, from: start.headerSize + view.getUint32(field, start.littleEndian) },
      view.getUint32(field + 4, start.littleEndian),
      { size, read },
    );
  const u32 = (at: number): number => view.getUint32(at, start.littleEndian);
  const funcInfo = table(8, 8, (at) => ({ offset: u32(at), typeId: u32(at + 4) }));
  if (funcInfo instanceof BtfError) return funcInfo;
  const lineInfo = table(16, 16, (at) => ({
    offset: u32(at),
    fileNameOffset: u32(at + 4),
    lineOffset: u32(at + 8),
    lineColumn: u32(at + 12),
  }));
  if (lineInfo instanceof BtfError) return lineInfo;
  if (!hasCore) return { funcInfo, lineInfo, coreRelocations: new Map() };
  const coreRelocations = table(24, 16, (at) => {
    const access = btf.string(u32(at + 8));
    if (access === undefined) return new BtfError(`Invalid name_offset:${u32(at + 8)}`, at);
    return { offset: u32(at), typeId: u32(at + 4), access, kind: u32(at + 12) };
  });
  return coreRelocations instanceof BtfError ? coreRelocations : { funcInfo, lineInfo, coreRelocations };
}

interface TableSource {
  readonly view: DataView;
  readonly btf: Btf;
  readonly from: number;
}

interface RecordFormat<T> {
  /** Bytes of a record that we understand; a longer one has a tail that is skipped. */
  readonly size: number;
  readonly read: (at: number) => T | BtfError;
}

function parseTable<T>(
  source: TableSource,
  length: number,
  format: RecordFormat<T>,
): Map<string, T[]> | BtfError {
  const { view, btf, from } = source;
  const out = new Map<string, T[]>();
  if (length === 0) return out;
  const end = from + length;
  if (end > view.byteLength || length < 4) return new BtfError("Invalid section offset", from);
  const recordSize = view.getUint32(from, btf.littleEndian);
  if (recordSize < format.size || recordSize % 4 !== 0)
    return new BtfError(`Invalid record size ${recordSize}`, from);
  let at = from + 4;
  while (at < end) {
    if (at + 8 > end) return new BtfError("Section header not found", at);
    const name = btf.string(view.getUint32(at, btf.littleEndian));
    const count = view.getUint32(at + 4, btf.littleEndian);
    if (name === undefined) return new BtfError("Invalid section name", at);
    at += 8;
    if (count === 0 || at + count * recordSize > end)
      return new BtfError(`Invalid record count ${count}`, at);
    const records = out.get(name) ?? [];
    for (let i = 0; i < count; i++, at += recordSize) {
      const record = format.read(at);
      if (record instanceof BtfError) return record;
      records.push(record);
    }
    out.set(name, records);
  }
  return out;
}
