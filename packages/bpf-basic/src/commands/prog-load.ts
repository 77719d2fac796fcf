/**
 * BPF_PROG_LOAD: from the caller's attributes to a program fd, or to an errno and the verifier's log. Answers to
 * `bpf_prog_load` in kernel/bpf/syscall.c.
 */
import {
  BPF_COMPLEXITY_LIMIT_INSNS,
  BPF_INSN_SIZE,
  BPF_MAXINSNS,
  BPF_OBJ_NAME_LEN,
  BPF_PROG_F,
  bpf_attr_prog_load,
  CAP,
  E2BIG,
  EBADF,
  EFAULT,
  EINVAL,
  EPERM,
  type Fields,
  isErr,
  type Result,
  type UAddr,
  utf8Decode,
  type View,
} from "@alien-ts/abi";
import { decode, type Insn, PSEUDO } from "@alien-ts/bpf-isa";
import {
  type Capabilities,
  isGplCompatible,
  isLogRequestValid,
  mayLoadType,
  type Verdict,
  verifyProgram,
} from "@alien-ts/bpf-verifier";
import { prepare } from "@alien-ts/bpf-vm";
import type { BpfEngine } from "../engine.ts";
import type { BpfMap } from "../maps/map.ts";
import { attachRequest, type AttachRequest, attachTarget } from "../programs/attach-target.ts";
import { hasIteratorLoops, kernelFunctionOf } from "../programs/kernel-functions.ts";
import { programEnv } from "../programs/environment.ts";
import { BpfProgram, type MapLoad } from "../programs/program.ts";
import { programTag } from "../programs/tag.ts";
import { programTypeRow, type SupportedProgramType } from "../programs/types.ts";
import { readUserString } from "../user-string.ts";
import {
  BadRecords,
  type LoadedProgramBtf,
  type ProgramRecords,
  readProgramBtf,
} from "../btf/program-btf.ts";
import type { BtfObject } from "../btf/btf-object.ts";
import { attributesOf, type BpfCall, btfOf, mapFileOf, objectName, withMemory, writeBack } from "./call.ts";
import { copyLog } from "./log.ts";

type Attributes = typeof bpf_attr_prog_load extends { readonly fields: infer F extends Fields }
  ? View<F>
  : never;

const KNOWN_FLAGS = Object.values(BPF_PROG_F).reduce<number>((all, flag) => all | flag, 0);
const LICENSE_BYTES = 127;
const COMM_BYTES = 16;
/** Of net.core.bpf_jit_enable. */
const JIT_DUMP = 2;

export function progLoad(call: BpfCall): Result<number> {
  const { engine } = call;
  const a = attributesOf(call, bpf_attr_prog_load);
  const loader = loaderOf(engine);
  const refused = checkAttributes(engine, a, loader);
  if (isErr(refused)) return refused;
  const row = programTypeRow(a.prog_type);
  const attach = attachRequest(engine, {
    type: a.prog_type,
    attachType: a.expected_attach_type,
    id: a.attach_btf_id,
    fd: a.attach_prog_fd,
    isSleepable: (a.prog_flags & BPF_PROG_F.SLEEPABLE) !== 0,
  });
  if (isErr(attach)) return attach;
  if (a.prog_ifindex !== 0) return EINVAL;
  const insns = copyInsns(engine, a.insns, a.insn_cnt);
  if (isErr(insns)) return insns;
  const license = readUserString(engine, a.license, LICENSE_BYTES);
  if (isErr(license)) return license;
  if (row === undefined || !row.supported) return EINVAL;
  const name = objectName(nameBytes(call));
  if (isErr(name)) return name;
  const maps = new Map<number, BpfMap>();
  const checked = check({ call, a, row, loader, insns, license, maps, attach });
  if (isErr(checked)) return checked;
  const { verdict, btf } = checked;
  if (!verdict.ok) return verdict.errno;
  return install(call, a, row, {
    name,
    license,
    tag: programTag(insns),
    verdict,
    maps,
    btf,
    insns,
    attach,
    fdOf: fdReader(engine, a),
  });
}

function loaderOf({ ports }: BpfEngine): Capabilities {
  const isAdmin = ports.capable(CAP.SYS_ADMIN);
  return {
    hasCapBpf: isAdmin || ports.capable(CAP.BPF),
    hasCapPerfmon: isAdmin || ports.capable(CAP.PERFMON),
    hasCapNetAdmin: isAdmin || ports.capable(CAP.NET_ADMIN),
  };
}

function checkAttributes({ ports }: BpfEngine, a: Attributes, loader: Capabilities): Result<0> {
  const { hasCapBpf } = loader;
  if ((a.prog_flags & ~KNOWN_FLAGS) !== 0) return EINVAL;
  // There are no tokens.
  if ((a.prog_flags & BPF_PROG_F.TOKEN_FD) !== 0) return EBADF;
  if (ports.unprivilegedBpfDisabled !== 0 && !hasCapBpf) return EPERM;
  const limit = hasCapBpf ? BPF_COMPLEXITY_LIMIT_INSNS : BPF_MAXINSNS;
  if (a.insn_cnt === 0 || a.insn_cnt > limit) return E2BIG;
  return mayLoadType(a.prog_type, loader) ? 0 : EPERM;
}

function copyInsns({ ports, m }: BpfEngine, from: UAddr, count: number): Result<readonly Insn[]> {
  const sizeBytes = count * BPF_INSN_SIZE;
  return withMemory<readonly Insn[]>(ports, sizeBytes, (scratch) =>
    ports.copyFromUser(scratch, from, sizeBytes) ? decode(m.bytes(scratch, sizeBytes)) : EFAULT,
  );
}

function nameBytes({ engine, attr }: BpfCall): Uint8Array {
  return engine.m.bytes(attr + engine.ports.layout.offset(bpf_attr_prog_load, "prog_name"), BPF_OBJ_NAME_LEN);
}

interface Candidate {
  readonly call: BpfCall;
  readonly a: Attributes;
  readonly row: SupportedProgramType;
  readonly loader: Capabilities;
  readonly insns: readonly Insn[];
  readonly license: string;
  readonly attach: AttachRequest;
  /** Filled with the maps that the program names, by fd. */
  readonly maps: Map<number, BpfMap>;
}

/** `bpf_check`: the verdict, after its log was copied out; ENOSPC, EFAULT where that failed. */
function check(candidate: Candidate): Result<Checked> {
  const { call, a, row, insns } = candidate;
  const request = { buffer: a.log_buf, sizeBytes: a.log_size, level: a.log_level };
  if (!isLogRequestValid(request.level, request.buffer !== 0, request.sizeBytes)) return EINVAL;
  const mayBeSleepable = row.context !== "opaque";
  if ((a.prog_flags & BPF_PROG_F.SLEEPABLE) !== 0 && !mayBeSleepable) return EINVAL;
  const object =
    a.func_info_cnt === 0 && a.line_info_cnt === 0 ? undefined : btfOf(call.engine, a.prog_btf_fd);
  if (isErr(object)) return object;
  const btf = object && readProgramBtf(call.engine, recordsOf(a, object), insns);
  const verdict = btf instanceof BadRecords ? refuse(btf) : runVerifier(candidate, btf);
  const { trueSize, result } = copyLog(call, request, verdict.log, verdict.logExtent);
  a.log_true_size = trueSize;
  const at = call.engine.ports.layout.offset(bpf_attr_prog_load, "log_true_size");
  if (call.userSize >= at + 4 && isErr(writeBack(call, at, 4))) return EFAULT;
  if (isErr(result)) return result;
  return { verdict, btf: btf instanceof BadRecords ? undefined : btf };
}

interface Checked {
  readonly verdict: Verdict;
  readonly btf: LoadedProgramBtf | undefined;
}

const recordsOf = (a: Attributes, object: BtfObject): ProgramRecords => ({
  object,
  functions: { at: a.func_info, count: a.func_info_cnt, recordBytes: a.func_info_rec_size },
  lines: { at: a.line_info, count: a.line_info_cnt, recordBytes: a.line_info_rec_size },
});

const refuse = ({ errno, message }: BadRecords): Verdict => ({
  ok: false,
  log: message === "" ? "" : `${message}\n`,
  errno,
  processed: 0,
});

/** Collects the maps that the program names. */
function runVerifier(candidate: Candidate, btf: LoadedProgramBtf | undefined): Verdict {
  const { call, a, maps } = candidate;
  const { engine } = call;
  const env = programEnv({
    ...candidate,
    engine,
    btf,
    type: a.prog_type,
    attachType: a.expected_attach_type,
    flags: a.prog_flags,
    logLevel: a.log_level,
    logBytes: a.log_size,
    attach: attachTarget(candidate.attach),
    map: (fd) => {
      const file = mapFileOf(engine, fd);
      if (isErr(file)) return file;
      maps.set(fd, file.map);
      return file.map;
    },
    fdArray: a.fd_array === 0 ? undefined : fdReader(engine, a),
  });
  return env === undefined ? { ok: false, log: "", errno: EINVAL, processed: 0 } : verifyProgram(env);
}

/** Elements of `fd_array`. */
const fdReader =
  ({ ports, m, scratch }: BpfEngine, { fd_array }: Attributes) =>
  (index: number): Result<number> =>
    ports.copyFromUser(scratch, fd_array + 4 * index, 4) ? m.i32[scratch >> 2]! : EFAULT;

interface Accepted {
  readonly insns: readonly Insn[];
  readonly fdOf: (index: number) => Result<number>;
  readonly name: string;
  readonly tag: string;
  readonly license: string;
  readonly verdict: Verdict & { readonly ok: true };
  readonly maps: ReadonlyMap<number, BpfMap>;
  readonly btf: LoadedProgramBtf | undefined;
  readonly attach: AttachRequest;
}

function install(
  call: BpfCall,
  a: Attributes,
  row: SupportedProgramType,
  accepted: Accepted,
): Result<number> {
  const { engine } = call;
  const { verdict, maps } = accepted;
  const { insns, untrusted } = verdict.xlated;
  const used = [...new Set(verdict.usedMapFds.map((fd) => maps.get(fd)!))];
  for (const map of used) map.get();
  const program = new BpfProgram(engine, engine.nextProgramId(), {
    type: a.prog_type,
    contextBytes: row.context === "pt_regs" ? engine.ports.ptRegsBytes : 0,
    name: accepted.name,
    isGplCompatible: isGplCompatible(accepted.license),
    isSleepable: (a.prog_flags & BPF_PROG_F.SLEEPABLE) !== 0,
    xlated: verdict.xlated,
    mapLoads: mapLoadsOf(accepted),
    tag: accepted.tag,
    prepared: prepare(insns, {
      helpers: engine.helpers,
      kfunc: (id) => kernelFunctionOf(engine, id)?.call,
      isUntrusted: (slot) => untrusted.has(slot),
    }),
    maps: used,
    btf: accepted.btf,
    loadTimeNs: engine.ports.ktimeNs(),
    uid: engine.ports.currentUid(),
    verifiedInsns: verdict.processed,
    attach: accepted.attach,
  });
  engine.programs.add(program);
  compile(engine, program);
  const fd = engine.ports.installFd(program, true);
  if (isErr(fd)) program.put();
  return fd;
}

/** Which map each wide load names. */
function mapLoadsOf({ insns, maps, fdOf }: Accepted): Map<number, MapLoad> {
  const loads = new Map<number, MapLoad>();
  insns.forEach(({ opcode, src, imm }, index) => {
    if (opcode !== WIDE_LOAD || src === PSEUDO.NONE) return;
    const isIndexed = src === PSEUDO.MAP_IDX || src === PSEUDO.MAP_IDX_VALUE;
    const fd = isIndexed ? fdOf(imm) : imm;
    const map = isErr(fd) ? undefined : maps.get(fd);
    const isValue = src === PSEUDO.MAP_VALUE || src === PSEUDO.MAP_IDX_VALUE;
    if (map !== undefined && (isValue || src === PSEUDO.MAP_FD || src === PSEUDO.MAP_IDX))
      loads.set(index, { map, offset: isValue ? insns[index + 1]!.imm : undefined });
  });
  return loads;
}

const WIDE_LOAD = 0x18;

function hasGlobalFunctions(program: LoadedProgramBtf | undefined): boolean {
  return (program?.functions ?? []).some(({ insn, type }) => {
    const named = program?.btf.type(type);
    return insn !== 0 && named?.kind === "func" && named.linkage === "global";
  });
}

/** `bpf_prog_select_runtime`: compiled code, where the host has a compiler, the administrator wants it and it is not too large. */
function compile(engine: BpfEngine, { prepared, btf }: BpfProgram): void {
  const { compiler, ports, m, scratch } = engine;
  const wanted = ports.bpfJitEnable;
  if (compiler === undefined || wanted === 0) return;
  const isCompiled = compiler.compile(
    prepared,
    hasGlobalFunctions(btf) || hasIteratorLoops(engine, prepared.insns),
  );
  if (!isCompiled || wanted !== JIT_DUMP) return;
  ports.currentComm(scratch);
  const comm = m.bytes(scratch, COMM_BYTES);
  compiler.dump(prepared, utf8Decode(comm.subarray(0, comm.indexOf(0))));
}
