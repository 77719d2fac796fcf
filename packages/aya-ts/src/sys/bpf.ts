/**
 * bpf(2), one function per command, with the attribute that Aya passes: always 152 bytes, zeroed first.
 *
 * Functions that end in a number answer what the kernel did: a descriptor or 0, or a negated errno. Nothing here retries or
 * interprets, except `withLogRetry`. Authority: bpf(2), aya `sys/bpf.rs`.
 */
import * as abi from "@alien-ts/abi";
import { cString, ENOSPC, NR } from "@alien-ts/abi";
import type { Fields, StructDecl, UAddr, View } from "@alien-ts/abi";
import { encode } from "@alien-ts/bpf-isa";
import type { Insn } from "@alien-ts/bpf-isa";
import type { FuncInfo, LineInfo } from "@alien-ts/btf";
import { makeRecord } from "./record.ts";
import { cStringPart, failedWith, withParts } from "./sys.ts";
import type { Part, Sys } from "./sys.ts";

const { BPF_CMD } = abi;
const LOG_FIRST_BYTES = 10_240;
const LOG_MAX_BYTES = 0xff_ffff;
const LOG_TRIES = 10;
const NAME_BYTES = abi.BPF_OBJ_NAME_LEN - 1;

interface Request<F extends Fields, R> {
  readonly command: keyof typeof BPF_CMD;
  readonly slice: StructDecl<F>;
  /** What the attribute points to. */
  readonly parts?: readonly Part[];
  readonly fill: (attr: View<F>, at: readonly UAddr[]) => void;
  readonly read: (result: number, at: readonly UAddr[]) => R;
}

async function call<F extends Fields, R>(sys: Sys, request: Request<F, R>): Promise<R> {
  return withParts(sys, [abi.BPF_ATTR_SIZE, ...(request.parts ?? [])], async ([attrAt = 0, ...at]) => {
    const { view, bytes } = makeRecord(request.slice, abi.BPF_ATTR_SIZE);
    request.fill(view, at);
    sys.memory.write(attrAt, bytes);
    const result = await sys.trap(NR.bpf, BPF_CMD[request.command], attrAt, abi.BPF_ATTR_SIZE);
    return request.read(result, at);
  });
}

const same = (result: number): number => result;

/** A name that the kernel takes: 15 bytes at most; letters, digits, `_` and `.`. */
export const objectName = (name: string): string =>
  name.replaceAll(/[^A-Za-z0-9_.]/g, "_").slice(0, NAME_BYTES);

export interface MapCreate {
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags?: number;
  readonly innerFd?: number;
  readonly name?: string;
  readonly btfFd?: number;
  readonly btfKeyTypeId?: number;
  readonly btfValueTypeId?: number;
  readonly extra?: number;
}

export const mapCreate = (sys: Sys, map: MapCreate): Promise<number> =>
  call(sys, {
    command: "MAP_CREATE",
    slice: abi.bpf_attr_map_create,
    fill: (attr) => {
      attr.map_type = map.type;
      attr.key_size = map.keySize;
      attr.value_size = map.valueSize;
      attr.max_entries = map.maxEntries;
      attr.map_flags = map.flags ?? 0;
      attr.inner_map_fd = map.innerFd ?? 0;
      attr.map_name = map.name ?? "";
      attr.btf_fd = map.btfFd ?? 0;
      attr.btf_key_type_id = map.btfKeyTypeId ?? 0;
      attr.btf_value_type_id = map.btfValueTypeId ?? 0;
      attr.map_extra = map.extra ?? 0;
    },
    read: same,
  });

/** Key and value of a map operation; an absent key is NULL. */
interface Element {
  readonly fd: number;
  readonly key?: Uint8Array | undefined;
  readonly flags?: number;
}

type ElementCommand =
  | "MAP_LOOKUP_ELEM"
  | "MAP_UPDATE_ELEM"
  | "MAP_DELETE_ELEM"
  | "MAP_GET_NEXT_KEY"
  | "MAP_LOOKUP_AND_DELETE_ELEM";

function element<R>(
  sys: Sys,
  command: ElementCommand,
  { fd, key, flags = 0 }: Element,
  value: Part,
  read: (result: number, valueAt: UAddr) => R,
): Promise<R> {
  return call(sys, {
    command,
    slice: abi.bpf_attr_map_elem,
    parts: [key ?? 0, value],
    fill: (attr, [keyAt = 0, valueAt = 0]) => {
      attr.map_fd = fd;
      attr.key = key === undefined ? 0 : keyAt;
      // `value` and `next_key` share their place.
      if (command !== "MAP_DELETE_ELEM") attr.value = valueAt;
      attr.flags = flags;
    },
    read: (result, at) => read(result, at[1] ?? 0),
  });
}

/** A number is a negated errno. */
const reader =
  (sys: Sys, size: number) =>
  (result: number, at: UAddr): Uint8Array | number =>
    result < 0 ? result : sys.memory.read(at, size);

export const mapLookup = (sys: Sys, at: Element, valueSize: number): Promise<Uint8Array | number> =>
  element(sys, "MAP_LOOKUP_ELEM", at, valueSize, reader(sys, valueSize));

export const mapLookupAndDelete = (sys: Sys, at: Element, valueSize: number): Promise<Uint8Array | number> =>
  element(sys, "MAP_LOOKUP_AND_DELETE_ELEM", at, valueSize, reader(sys, valueSize));

export const mapUpdate = (sys: Sys, at: Element, value: Uint8Array): Promise<number> =>
  element(sys, "MAP_UPDATE_ELEM", at, value, same);

export const mapDelete = (sys: Sys, at: Element): Promise<number> =>
  element(sys, "MAP_DELETE_ELEM", at, 0, same);

/** The first key when `at.key` is absent. */
export const mapGetNextKey = (sys: Sys, at: Element, keySize: number): Promise<Uint8Array | number> =>
  element(sys, "MAP_GET_NEXT_KEY", at, keySize, reader(sys, keySize));

export const mapFreeze = (sys: Sys, fd: number): Promise<number> =>
  call(sys, {
    command: "MAP_FREEZE",
    slice: abi.bpf_attr_map_elem,
    fill: (attr) => {
      attr.map_fd = fd;
    },
    read: same,
  });

const object = (sys: Sys, command: "OBJ_GET" | "OBJ_PIN", path: string, fd: number): Promise<number> =>
  call(sys, {
    command,
    slice: abi.bpf_attr_obj,
    parts: [cStringPart(path)],
    fill: (attr, [pathAt = 0]) => {
      attr.pathname = pathAt;
      attr.bpf_fd = fd;
    },
    read: same,
  });

export const objectGet = (sys: Sys, path: string): Promise<number> => object(sys, "OBJ_GET", path, 0);
export const objectPin = (sys: Sys, path: string, fd: number): Promise<number> =>
  object(sys, "OBJ_PIN", path, fd);

/** How much the verifier is to say. */
export interface LogRequest {
  /** 0: no log. */
  readonly level: number;
  readonly sizeBytes: number;
}

export interface Logged {
  /** A descriptor, or a negated errno. */
  readonly result: number;
  readonly log: string;
}

const NO_LOG: LogRequest = { level: 0, sizeBytes: 0 };

/**
 * First without a log; on an error again with one, which grows tenfold while the kernel says ENOSPC. The result is that of
 * the last attempt.
 */
export async function withLogRetry(
  level: number,
  load: (log: LogRequest) => Promise<Logged>,
): Promise<Logged> {
  let outcome = await load(NO_LOG);
  if (outcome.result >= 0 || level === 0) return outcome;
  let sizeBytes = LOG_FIRST_BYTES;
  for (let attempt = 0; attempt < LOG_TRIES; attempt++) {
    outcome = await load({ level, sizeBytes });
    if (!failedWith(outcome.result, ENOSPC) || sizeBytes === LOG_MAX_BYTES) break;
    sizeBytes = Math.min(sizeBytes * 10, LOG_MAX_BYTES);
  }
  return outcome;
}

const logReader =
  (sys: Sys, log: LogRequest) =>
  (result: number, at: UAddr): Logged => ({
    result,
    log: log.sizeBytes === 0 ? "" : cString(sys.memory.read(at, log.sizeBytes)).trimEnd(),
  });

export const btfLoad = (sys: Sys, btf: Uint8Array, log: LogRequest = NO_LOG): Promise<Logged> =>
  call(sys, {
    command: "BTF_LOAD",
    slice: abi.bpf_attr_btf_load,
    parts: [btf, log.sizeBytes],
    fill: (attr, [btfAt = 0, logAt = 0]) => {
      attr.btf = btfAt;
      attr.btf_size = btf.length;
      attr.btf_log_level = log.level;
      attr.btf_log_size = log.sizeBytes;
      attr.btf_log_buf = log.sizeBytes === 0 ? 0 : logAt;
    },
    read: (result, at) => logReader(sys, log)(result, at[1] ?? 0),
  });

export interface ProgLoad {
  readonly type: number;
  readonly insns: readonly Insn[];
  readonly license?: string;
  readonly name?: string;
  readonly flags?: number;
  readonly expectedAttachType?: number;
  readonly kernelVersion?: number;
  readonly btfFd?: number;
  /** What a tracing or LSM program is for, in the kernel's types. */
  readonly attachBtfId?: number;
  readonly funcInfo?: readonly FuncInfo[];
  readonly lineInfo?: readonly LineInfo[];
}

const FUNC_INFO_BYTES = 8;
const LINE_INFO_BYTES = 16;

export function progLoad(sys: Sys, program: ProgLoad, log: LogRequest = NO_LOG): Promise<Logged> {
  const hasBtf = program.btfFd !== undefined;
  const funcInfo = hasBtf ? (program.funcInfo ?? []) : [];
  const lineInfo = hasBtf ? (program.lineInfo ?? []) : [];
  return call(sys, {
    command: "PROG_LOAD",
    slice: abi.bpf_attr_prog_load,
    parts: [
      encode(program.insns),
      cStringPart(program.license ?? "GPL"),
      log.sizeBytes,
      words(funcInfo.flatMap(({ offset, typeId }) => [offset, typeId])),
      words(lineInfo.flatMap((line) => [line.offset, line.fileNameOffset, line.lineOffset, line.lineColumn])),
    ],
    fill: (attr, [insnsAt = 0, licenseAt = 0, logAt = 0, funcInfoAt = 0, lineInfoAt = 0]) => {
      attr.prog_type = program.type;
      attr.insn_cnt = program.insns.length;
      attr.insns = insnsAt;
      attr.license = licenseAt;
      attr.log_level = log.level;
      attr.log_size = log.sizeBytes;
      attr.log_buf = log.sizeBytes === 0 ? 0 : logAt;
      attr.kern_version = program.kernelVersion ?? 0;
      attr.prog_flags = program.flags ?? 0;
      attr.prog_name = program.name ?? "";
      attr.expected_attach_type = program.expectedAttachType ?? 0;
      attr.prog_btf_fd = program.btfFd ?? 0;
      attr.attach_btf_id = program.attachBtfId ?? 0;
      if (funcInfo.length > 0) {
        attr.func_info_rec_size = FUNC_INFO_BYTES;
        attr.func_info = funcInfoAt;
        attr.func_info_cnt = funcInfo.length;
      }
      if (lineInfo.length > 0) {
        attr.line_info_rec_size = LINE_INFO_BYTES;
        attr.line_info = lineInfoAt;
        attr.line_info_cnt = lineInfo.length;
      }
    },
    read: (result, at) => logReader(sys, log)(result, at[2] ?? 0),
  });
}

/** A link between a program and a perf event. */
export const linkCreatePerf = (sys: Sys, progFd: number, targetFd: number): Promise<number> =>
  call(sys, {
    command: "LINK_CREATE",
    slice: abi.bpf_attr_link_create,
    fill: (attr) => {
      attr.prog_fd = progFd;
      attr.target_fd = targetFd >>> 0;
      attr.attach_type = abi.BPF_ATTACH_TYPE.PERF_EVENT;
    },
    read: same,
  });

function words(values: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(values.length * 4);
  const view = new DataView(bytes.buffer);
  values.forEach((value, index) => view.setUint32(index * 4, value, true));
  return bytes;
}
