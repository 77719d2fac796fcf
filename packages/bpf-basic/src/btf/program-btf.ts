/**
 * What a loader says of its program's functions and lines: records of BPF_PROG_LOAD, checked against the program's BTF. Answers to
 * check_btf_info_early(), check_btf_func_early() and check_btf_line() in kernel/bpf/verifier.c.
 */
import { E2BIG, EFAULT, EINVAL, type Errno, isErr, type Result, type UAddr } from "@alien-ts/abi";
import type { Insn } from "@alien-ts/bpf-isa";
import type { Btf } from "@alien-ts/btf";
import type { ProgramBtf } from "@alien-ts/bpf-verifier";
import type { BpfEngine } from "../engine.ts";
import { withMemory } from "../commands/call.ts";
import type { BtfObject } from "./btf-object.ts";

/** Records in the loader's memory. */
export interface RecordSource {
  readonly at: UAddr;
  readonly count: number;
  readonly recordBytes: number;
}

/** A line record, with the numbers by which the program's information gives it back. */
export interface LineRecord {
  readonly insn: number;
  readonly file: string;
  readonly text: string;
  readonly line: number;
  readonly fileNameOffset: number;
  readonly lineOffset: number;
  /** line << 10 | column */
  readonly lineColumn: number;
}

export interface LoadedProgramBtf extends ProgramBtf {
  readonly object: BtfObject;
  readonly lines: readonly LineRecord[];
}

/** Why records are refused, in the log's words ("" for none). */
export class BadRecords {
  readonly errno: Errno;
  readonly message: string;

  constructor(errno: Errno, message = "") {
    this.errno = errno;
    this.message = message;
  }
}

export interface ProgramRecords {
  readonly object: BtfObject;
  readonly functions: RecordSource;
  readonly lines: RecordSource;
}

const FUNC_INFO_BYTES = 8;
const LINE_INFO_BYTES = 16;
const MAX_RECORD_BYTES = 252;

export function readProgramBtf(
  engine: BpfEngine,
  records: ProgramRecords,
  insns: readonly Insn[],
): LoadedProgramBtf | BadRecords {
  const { btf } = records.object;
  const functions = readFunctions(engine, records.functions, btf);
  if (functions instanceof BadRecords) return functions;
  const lines = readLines(engine, records.lines, { btf, insns });
  return lines instanceof BadRecords ? lines : { object: records.object, btf, functions, lines };
}

type Functions = LoadedProgramBtf["functions"];

function readFunctions(engine: BpfEngine, source: RecordSource, btf: Btf): Functions | BadRecords {
  const { count, recordBytes } = source;
  if (count === 0) return [];
  if (!isRecordSize(recordBytes, FUNC_INFO_BYTES))
    return new BadRecords(EINVAL, `invalid func info rec size ${recordBytes}`);
  const records = readWords(engine, source, FUNC_INFO_BYTES);
  if (records === E2BIG) return new BadRecords(E2BIG, "nonzero tailing record in func info");
  if (isErr(records)) return new BadRecords(records);
  let previous = 0;
  for (const [i, [insn = 0, id = 0]] of records.entries()) {
    if (i === 0 && insn !== 0)
      return new BadRecords(EINVAL, `nonzero insn_off ${insn} for the first func info record`);
    if (i > 0 && insn <= previous) {
      return new BadRecords(
        EINVAL,
        `same or smaller insn offset (${insn}) than previous func info record (${previous})`,
      );
    }
    if (btf.type(id)?.kind !== "func") return new BadRecords(EINVAL, `invalid type id ${id} in func info`);
    previous = insn;
  }
  return records.map(([insn = 0, type = 0]) => ({ insn, type }));
}

interface Program {
  readonly btf: Btf;
  readonly insns: readonly Insn[];
}

function readLines(
  engine: BpfEngine,
  source: RecordSource,
  { btf, insns }: Program,
): readonly LineRecord[] | BadRecords {
  const { count, recordBytes } = source;
  if (count === 0) return [];
  if (!isRecordSize(recordBytes, LINE_INFO_BYTES)) return new BadRecords(EINVAL);
  const records = readWords(engine, source, LINE_INFO_BYTES);
  if (records === E2BIG) return new BadRecords(E2BIG, "nonzero tailing record in line_info");
  if (isErr(records)) return new BadRecords(records);
  const lines: LineRecord[] = [];
  let previous = 0;
  for (const [i, [insn = 0, fileNameOffset = 0, lineOffset = 0, lineColumn = 0]] of records.entries()) {
    if ((i > 0 && insn <= previous) || insn >= insns.length) {
      const where = `(prev_offset:${previous} prog->len:${insns.length})`;
      return new BadRecords(EINVAL, `Invalid line_info[${i}].insn_off:${insn} ${where}`);
    }
    if (insns[insn]!.opcode === 0)
      return new BadRecords(EINVAL, `Invalid insn code at line_info[${i}].insn_off`);
    const [text, file] = [btf.string(lineOffset), btf.string(fileNameOffset)];
    if (text === undefined || file === undefined)
      return new BadRecords(EINVAL, `Invalid line_info[${i}].line_off or .file_name_off`);
    lines.push({ insn, file, text, line: lineColumn >>> 10, fileNameOffset, lineOffset, lineColumn });
    previous = insn;
  }
  return lines;
}

const isRecordSize = (bytes: number, least: number): boolean =>
  bytes >= least && bytes <= MAX_RECORD_BYTES && bytes % 4 === 0;

/** The known words of each record; E2BIG where something stands behind them. */
function readWords(engine: BpfEngine, source: RecordSource, knownBytes: number): Result<number[][]> {
  const { ports, m } = engine;
  const { at, count, recordBytes } = source;
  return withMemory<number[][]>(ports, count * recordBytes, (scratch) => {
    if (!ports.copyFromUser(scratch, at, count * recordBytes)) return EFAULT;
    const records: number[][] = [];
    for (let i = 0; i < count; i++) {
      const first = (scratch + i * recordBytes) >> 2;
      const words = Array.from(m.u32.subarray(first, first + recordBytes / 4));
      if (words.slice(knownBytes / 4).some((word) => word !== 0)) return E2BIG;
      records.push(words);
    }
    return records;
  });
}
