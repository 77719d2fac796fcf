/**
 * OBJ_GET_INFO_BY_FD: what a program, a map or a BTF object is. Answers to `bpf_obj_get_info_by_fd` in kernel/bpf/syscall.c.
 *
 * The caller's structure is copied in and zero extended; its counts say how much room its addresses have, and become how much
 * there is. Differs from Linux: compiled code is given as it is (a WebAssembly module), without symbols and line addresses.
 */
import {
  bpf_attr_info,
  bpf_btf_info,
  bpf_map_info,
  bpf_prog_info,
  BPF_TAG_SIZE,
  CAP,
  E2BIG,
  EBADFD,
  EFAULT,
  EINVAL,
  ENOSPC,
  type Fields,
  isErr,
  type KAddr,
  type Result,
  type StructDecl,
  type UAddr,
  utf8Encode,
  type View,
} from "@alien-ts/abi";
import { encode } from "@alien-ts/bpf-isa";
import type { BtfObject } from "../btf/btf-object.ts";
import type { BpfEngine } from "../engine.ts";
import type { MapFile } from "../maps/map-file.ts";
import { dumpInsns } from "../programs/dump.ts";
import type { BpfProgram } from "../programs/program.ts";
import { attributesOf, type BpfCall, isZero, withMemory, writeBack } from "./call.ts";

type ViewOf<D> = D extends { readonly fields: infer F extends Fields } ? View<F> : never;

export function objGetInfoByFd(call: BpfCall): Result<number> {
  const { engine } = call;
  const a = attributesOf(call, bpf_attr_info);
  const object = engine.ports.objectOf(a.bpf_fd | 0);
  if (isErr(object)) return EBADFD;
  switch (object?.kind) {
    case "program":
      return withInfo(call, bpf_prog_info, (info) => programInfo(engine, object, info));
    case "map":
      return withInfo(call, bpf_map_info, (info) => mapInfo(object, info));
    case "btf":
      return withInfo(call, bpf_btf_info, (info) => btfInfo(engine, object, info));
    default:
      return EINVAL;
  }
}

/** Copies the caller's structure in, lets `fill` fill it, and copies it and its length out. */
function withInfo<F extends Fields>(
  call: BpfCall,
  decl: StructDecl<F>,
  fill: (info: View<F>) => Result<0>,
): Result<number> {
  const { engine } = call;
  const { ports, m } = engine;
  const a = attributesOf(call, bpf_attr_info);
  const known = ports.layout.size(decl);
  const { info: from, info_len: length } = a;
  if (length > known) {
    const tail = tailIsZero(engine, from + known, length - known);
    if (isErr(tail)) return tail;
  }
  const copied = Math.min(length, known);
  return withMemory(ports, known, (scratch) => {
    if (!ports.copyFromUser(scratch, from, copied)) return EFAULT;
    const filled = fill(new (ports.layout.view(decl))(m, scratch));
    // A name that did not fit is told of with everything else.
    if (isErr(filled) && filled !== ENOSPC) return filled;
    if (!ports.copyToUser(from, scratch, copied)) return EFAULT;
    a.info_len = copied;
    const written = writeBack(call, ports.layout.offset(bpf_attr_info, "info_len"), 4);
    return isErr(written) ? written : filled;
  });
}

const MOST_INFO_BYTES = 4096;

function tailIsZero({ ports, m }: BpfEngine, from: UAddr, sizeBytes: number): Result<0> {
  if (sizeBytes > MOST_INFO_BYTES) return E2BIG;
  return withMemory<0>(ports, sizeBytes, (scratch) => {
    if (!ports.copyFromUser(scratch, from, sizeBytes)) return EFAULT;
    return isZero(m.u8, scratch, scratch + sizeBytes) ? 0 : E2BIG;
  });
}

/** Copies as many of the bytes as there is room for. */
function give({ ports, m }: BpfEngine, to: UAddr, room: number, bytes: Uint8Array): Result<0> {
  const size = Math.min(room, bytes.length);
  if (size === 0) return 0;
  return withMemory<0>(ports, size, (scratch: KAddr) => {
    m.u8.set(bytes.subarray(0, size), scratch);
    return ports.copyToUser(to, scratch, size) ? 0 : EFAULT;
  });
}

const words = (values: readonly number[]): Uint8Array => new Uint8Array(Uint32Array.from(values).buffer);

const FUNC_INFO_BYTES = 8;
const LINE_INFO_BYTES = 16;
const JITED_LINE_BYTES = 8;

type ProgramInfo = ViewOf<typeof bpf_prog_info>;

/** `bpf_prog_get_info_by_fd` */
function programInfo(engine: BpfEngine, program: BpfProgram, info: ProgramInfo): Result<0> {
  const wrongSize =
    isWrongSize(info.nr_func_info, info.func_info_rec_size, FUNC_INFO_BYTES) ||
    isWrongSize(info.nr_line_info, info.line_info_rec_size, LINE_INFO_BYTES) ||
    isWrongSize(info.nr_jited_line_info, info.jited_line_info_rec_size, JITED_LINE_BYTES);
  describe(program, info);
  const given = give(engine, info.map_ids, 4 * info.nr_map_ids, words(program.maps.map(({ t }) => t.id)));
  info.nr_map_ids = program.maps.length;
  if (isErr(given)) return given;
  if (wrongSize) return EINVAL;
  info.func_info_rec_size = FUNC_INFO_BYTES;
  info.line_info_rec_size = LINE_INFO_BYTES;
  info.jited_line_info_rec_size = JITED_LINE_BYTES;
  info.nr_jited_ksyms = 0;
  info.nr_jited_func_lens = 0;
  info.nr_jited_line_info = 0;
  const { ports } = engine;
  if (ports.capable(CAP.BPF) || ports.capable(CAP.SYS_ADMIN)) return giveCode(engine, program, info);
  info.jited_prog_len = 0;
  info.xlated_prog_len = 0;
  info.nr_func_info = 0;
  info.nr_line_info = 0;
  info.nr_prog_tags = 0;
  return 0;
}

const isWrongSize = (count: number, size: number, expected: number): boolean =>
  (count !== 0 || size !== 0) && size !== expected;

const tagBytes = ({ tag }: BpfProgram): Uint8Array =>
  Uint8Array.from({ length: BPF_TAG_SIZE }, (_, i) => parseInt(tag.slice(2 * i, 2 * i + 2), 16));

function describe(program: BpfProgram, info: ProgramInfo): void {
  info.type = program.type;
  info.id = program.id;
  tagBytes(program).forEach((byte, i) => info.tag.set(i, byte));
  info.load_time = program.loadTimeNs;
  info.created_by_uid = program.uid;
  info.gpl_compatible = program.isGplCompatible ? 1 : 0;
  info.name = program.name;
  info.run_time_ns = 0;
  info.run_cnt = program.runCount;
  info.recursion_misses = program.missCount;
  info.verified_insns = program.verifiedInsns;
  info.btf_id = program.btf?.object.id ?? 0;
  info.attach_btf_id = program.attach.id;
  info.attach_btf_obj_id = program.attach.object?.id ?? 0;
}

/** Instructions, compiled code, functions and lines. */
function giveCode(engine: BpfEngine, program: BpfProgram, info: ProgramInfo): Result<0> {
  const xlated = encode(dumpInsns(program));
  const jited = program.prepared.compiled?.code ?? new Uint8Array();
  const functions = words(program.functions.flatMap(({ insn, type }) => [insn, type]));
  const lines = words(
    program.lines.flatMap((line) => [line.insn, line.fileNameOffset, line.lineOffset, line.lineColumn]),
  );
  const results = [
    give(engine, info.xlated_prog_insns, info.xlated_prog_len, xlated),
    give(engine, info.jited_prog_insns, info.jited_prog_len, jited),
    give(engine, info.func_info, FUNC_INFO_BYTES * info.nr_func_info, functions),
    give(engine, info.line_info, LINE_INFO_BYTES * info.nr_line_info, lines),
    give(engine, info.prog_tags, BPF_TAG_SIZE * info.nr_prog_tags, tagBytes(program)),
  ];
  info.xlated_prog_len = xlated.length;
  info.jited_prog_len = jited.length;
  info.nr_func_info = program.functions.length;
  info.nr_line_info = program.lines.length;
  info.nr_prog_tags = 1;
  return results.find(isErr) ?? 0;
}

/** `bpf_map_get_info_by_fd` */
function mapInfo({ map }: MapFile, info: ViewOf<typeof bpf_map_info>): Result<0> {
  info.type = map.mapType;
  info.id = map.t.id;
  info.key_size = map.keySize;
  info.value_size = map.valueSize;
  info.max_entries = map.maxEntries;
  info.map_flags = map.flags;
  info.name = map.name;
  info.ifindex = 0;
  info.btf_vmlinux_value_type_id = 0;
  info.netns_dev = 0;
  info.netns_ino = 0;
  info.btf_id = map.btf?.object.id ?? 0;
  info.btf_key_type_id = map.btf?.keyType ?? 0;
  info.btf_value_type_id = map.btf?.valueType ?? 0;
  info.btf_vmlinux_id = 0;
  info.map_extra = 0;
  return 0;
}

/** `btf_get_info_by_fd`. */
function btfInfo(engine: BpfEngine, object: BtfObject, info: ViewOf<typeof bpf_btf_info>): Result<0> {
  const { btf, id, name, isKernel } = object;
  const given = give(engine, info.btf, info.btf_size, btf.bytes);
  if (isErr(given)) return given;
  const room = info.name_len;
  if ((info.name === 0) !== (room === 0)) return EINVAL;
  info.id = id;
  info.btf_size = btf.bytes.length;
  info.kernel_btf = isKernel ? 1 : 0;
  info.name_len = name.length;
  return giveName(engine, info.name, room, name);
}

/** As much of the name as there is room for, and ENOSPC where that is not all. */
function giveName(engine: BpfEngine, to: UAddr, room: number, name: string): Result<0> {
  if (room === 0) return 0;
  const text = utf8Encode(`${name}\0`);
  if (room >= text.length) return give(engine, to, room, text);
  const cut = Uint8Array.from(text.subarray(0, room));
  cut[room - 1] = 0;
  const given = give(engine, to, room, cut);
  return isErr(given) ? given : ENOSPC;
}
