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
  BPF_PROG_TYPE,
  bpf_attr_prog_load,
  CAP,
  E2BIG,
  EBADF,
  EFAULT,
  EINVAL,
  ENOSPC,
  EPERM,
  type Fields,
  isErr,
  type Result,
  type UAddr,
  type View,
} from "@alien-ts/abi";
import { decode, type Insn } from "@alien-ts/bpf-isa";
import { fitLog, isGplCompatible, isLogRequestValid, type Verdict, verify } from "@alien-ts/bpf-verifier";
import { prepare } from "@alien-ts/bpf-vm";
import type { BpfEngine } from "../engine.ts";
import { helperById } from "../helpers/table.ts";
import type { BpfMap } from "../maps/map.ts";
import { BpfProgram } from "../programs/program.ts";
import { programTag } from "../programs/tag.ts";
import { mayCall, programTypeRow, type SupportedProgramType } from "../programs/types.ts";
import { readUserString } from "../user-string.ts";
import { attributesOf, type BpfCall, mapFileOf, objectName, withMemory, writeBack } from "./call.ts";

type Attributes = typeof bpf_attr_prog_load extends { readonly fields: infer F extends Fields }
  ? View<F>
  : never;

interface Loader {
  readonly hasCapBpf: boolean;
  readonly hasCapPerfmon: boolean;
}

const KNOWN_FLAGS = Object.values(BPF_PROG_F).reduce<number>((all, flag) => all | flag, 0);
const LICENSE_BYTES = 127;

export function progLoad(call: BpfCall): Result<number> {
  const { engine } = call;
  const a = attributesOf(call, bpf_attr_prog_load);
  const loader = loaderOf(engine);
  const refused = checkAttributes(engine, a, loader);
  if (isErr(refused)) return refused;
  const row = programTypeRow(a.prog_type);
  if (row?.supported === true && row.needs === "CAP_PERFMON" && !loader.hasCapPerfmon) return EPERM;
  if (a.attach_prog_fd !== 0 || a.attach_btf_id !== 0 || a.prog_ifindex !== 0) return EINVAL;
  const insns = copyInsns(engine, a.insns, a.insn_cnt);
  if (isErr(insns)) return insns;
  const license = readUserString(engine, a.license, LICENSE_BYTES);
  if (isErr(license)) return license;
  if (row === undefined || !row.supported) return EINVAL;
  const name = objectName(nameBytes(call));
  if (isErr(name)) return name;
  const maps = new Map<number, BpfMap>();
  const verdict = check({ call, a, row, loader, insns, license, maps });
  if (isErr(verdict)) return verdict;
  if (!verdict.ok) return verdict.errno;
  return install(call, a, row, { name, license, tag: programTag(insns), verdict, maps });
}

function loaderOf({ ports }: BpfEngine): Loader {
  const isAdmin = ports.capable(CAP.SYS_ADMIN);
  return {
    hasCapBpf: isAdmin || ports.capable(CAP.BPF),
    hasCapPerfmon: isAdmin || ports.capable(CAP.PERFMON),
  };
}

function checkAttributes({ ports }: BpfEngine, a: Attributes, { hasCapBpf }: Loader): Result<0> {
  if ((a.prog_flags & ~KNOWN_FLAGS) !== 0) return EINVAL;
  // There are no tokens.
  if ((a.prog_flags & BPF_PROG_F.TOKEN_FD) !== 0) return EBADF;
  if (ports.unprivilegedBpfDisabled !== 0 && !hasCapBpf) return EPERM;
  const limit = hasCapBpf ? BPF_COMPLEXITY_LIMIT_INSNS : BPF_MAXINSNS;
  if (a.insn_cnt === 0 || a.insn_cnt > limit) return E2BIG;
  const isForEveryone =
    a.prog_type === BPF_PROG_TYPE.SOCKET_FILTER || a.prog_type === BPF_PROG_TYPE.CGROUP_SKB;
  return hasCapBpf || isForEveryone ? 0 : EPERM;
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
  readonly loader: Loader;
  readonly insns: readonly Insn[];
  readonly license: string;
  /** Filled with the maps that the program names, by fd. */
  readonly maps: Map<number, BpfMap>;
}

/** `bpf_check`: the verdict, after its log was copied out; ENOSPC, EFAULT where that failed. */
function check(candidate: Candidate): Result<Verdict> {
  const { call, a, row } = candidate;
  const hasBuffer = a.log_buf !== 0;
  if (!isLogRequestValid(a.log_level, hasBuffer, a.log_size)) return EINVAL;
  const mayBeSleepable = row.context === "pt_regs";
  if ((a.prog_flags & BPF_PROG_F.SLEEPABLE) !== 0 && !mayBeSleepable) return EINVAL;
  // There are no BTF objects yet, so that no fd is one.
  if (a.func_info_cnt !== 0 || a.line_info_cnt !== 0)
    return isErr(call.engine.ports.objectOf(a.prog_btf_fd | 0)) ? EBADF : EINVAL;
  const verdict = runVerifier(candidate);
  const copied = copyLog(call, a, hasBuffer ? verdict.log : undefined);
  return isErr(copied) ? copied : verdict;
}

function runVerifier({ call, a, row, loader, insns, license, maps }: Candidate): Verdict {
  const { engine } = call;
  return verify({
    insns,
    programType: {
      name: row.name,
      hasPacketLoads: row.hasPacketLoads,
      allowsHelper: (id) => {
        const named = helperById(id);
        return named?.row.supported === true && mayCall(row, named.row, loader);
      },
    },
    helper: (id) => {
      const named = helperById(id);
      if (named === undefined) return undefined;
      return { name: `bpf_${named.name}`, gplOnly: named.row.supported && named.row.gplOnly };
    },
    map: (fd) => {
      const file = mapFileOf(engine, fd);
      if (isErr(file)) return file;
      const { map } = file;
      maps.set(fd, map);
      const values = map.maxEntries === 1 ? map.directValue(0) : 0;
      return {
        address: map.addr,
        valueSize: map.valueSize,
        valuesAddress: values === 0 ? undefined : values,
      };
    },
    ...(a.fd_array === 0 ? {} : { fdArray: (index: number) => readFd(engine, a.fd_array + 4 * index) }),
    addressHigh: engine.m.baseHi,
    license,
    isCapable: loader.hasCapBpf,
    log: { level: a.log_level },
  });
}

function readFd({ ports, m, scratch }: BpfEngine, from: UAddr): Result<number> {
  return ports.copyFromUser(scratch, from, 4) ? m.i32[scratch >> 2]! : EFAULT;
}

/** The log (undefined: none was asked for) and `log_true_size`, where the caller's attributes reach that far. */
function copyLog(call: BpfCall, a: Attributes, log: string | undefined): Result<0> {
  const { ports, m } = call.engine;
  const fitted = log === undefined ? undefined : fitLog(log, a.log_size, a.log_level);
  let result: Result<0> = 0;
  if (fitted !== undefined) {
    result = withMemory(ports, fitted.bytes.length, (scratch) => {
      m.u8.set(fitted.bytes, scratch);
      return ports.copyToUser(a.log_buf, scratch, fitted.bytes.length) ? 0 : EFAULT;
    });
    if (result === 0 && fitted.isTruncated) result = ENOSPC;
  }
  a.log_true_size = fitted?.trueSize ?? 0;
  const at = ports.layout.offset(bpf_attr_prog_load, "log_true_size");
  if (call.userSize < at + 4) return result;
  return isErr(writeBack(call, at, 4)) ? EFAULT : result;
}

interface Accepted {
  readonly name: string;
  readonly tag: string;
  readonly license: string;
  readonly verdict: Verdict & { readonly ok: true };
  readonly maps: ReadonlyMap<number, BpfMap>;
}

function install(
  call: BpfCall,
  a: Attributes,
  row: SupportedProgramType,
  accepted: Accepted,
): Result<number> {
  const { engine } = call;
  const { verdict, maps } = accepted;
  const used = [...new Set(verdict.usedMapFds.map((fd) => maps.get(fd)!))];
  for (const map of used) map.get();
  const program = new BpfProgram(engine, engine.nextProgramId(), {
    type: a.prog_type,
    contextBytes: row.context === "pt_regs" ? engine.ports.ptRegsBytes : 0,
    name: accepted.name,
    isGplCompatible: isGplCompatible(accepted.license),
    isSleepable: (a.prog_flags & BPF_PROG_F.SLEEPABLE) !== 0,
    insns: verdict.insns,
    tag: accepted.tag,
    prepared: prepare(verdict.insns, { helpers: engine.helpers }),
    maps: used,
    loadTimeNs: engine.ports.ktimeNs(),
    uid: engine.ports.currentUid(),
    verifiedInsns: verdict.processed,
  });
  engine.programs.add(program);
  const fd = engine.ports.installFd(program, true);
  if (isErr(fd)) program.put();
  return fd;
}
