/**
 * What the verifier is told of a program that is being loaded: this kernel's tables as a `ProgramEnv`. Interface: `programEnv`.
 *
 * Prototypes of helpers and rules of program types are the verifier's own, of all that Linux has; from here come what this
 * kernel lacks of them, the maps, the loader's privileges, and the trap frame of the machine.
 */
import { BPF_F, BPF_PROG_F, isErr, type Result } from "@alien-ts/abi";
import type { Insn } from "@alien-ts/bpf-isa";
import {
  type AttachTarget,
  isKfuncFlag,
  linuxHelper,
  linuxKfunc,
  linuxProgramType,
  privilegesOf,
  type Capabilities,
  type MapInfo,
  type ProgramBtf,
  type ProgramEnv,
  type ProgramRules,
} from "@alien-ts/bpf-verifier";
import type { Btf } from "@alien-ts/btf";
import type { BpfEngine } from "../engine.ts";
import { helperById } from "../helpers/table.ts";
import type { BpfMap } from "../maps/map.ts";
import type { SupportedProgramType } from "./types.ts";

export interface Candidate {
  readonly engine: BpfEngine;
  readonly row: SupportedProgramType;
  readonly type: number;
  readonly attachType: number;
  readonly flags: number;
  readonly loader: Capabilities;
  readonly insns: readonly Insn[];
  readonly license: string;
  readonly logLevel: number;
  /** Size of the buffer for it; 0 for none. */
  readonly logBytes: number;
  /** What the loader says of functions and lines; undefined where it says nothing. */
  readonly btf: ProgramBtf | undefined;
  /** The map behind an fd of the loader. */
  map(fd: number): Result<BpfMap>;
  /** What the program is attached to by BTF. */
  readonly attach: AttachTarget | undefined;
  /** Element `index` of `fd_array`; undefined where the loader gave none. */
  readonly fdArray: ((index: number) => Result<number>) | undefined;
}

/** Undefined where Linux has no such program type. */
export function programEnv(candidate: Candidate): ProgramEnv | undefined {
  const { engine, flags, loader, fdArray } = candidate;
  const programType = rulesOf(candidate);
  if (programType === undefined) return undefined;
  const known = new Map<BpfMap, MapInfo>();
  return {
    insns: candidate.insns,
    programType,
    helper: (id) => linuxHelper(id, candidate.type),
    absentHelper: (id) => {
      const row = helperById(id)?.row;
      return row === undefined || row.supported ? undefined : row.note;
    },
    map: (fd) => {
      const map = candidate.map(fd);
      if (isErr(map)) return map;
      const info = known.get(map) ?? mapInfo(map);
      known.set(map, info);
      return info;
    },
    ...(fdArray === undefined ? {} : { fdArray }),
    addressHigh: engine.m.baseHi,
    ...kernelEnv(engine),
    license: candidate.license,
    privileges: privilegesOf(loader),
    log: { level: candidate.logLevel, windowBytes: candidate.logBytes },
    // Asked for by the programs that have to do with the kernel's types: they are made at their first use.
    get kernelBtf(): Btf | undefined {
      return engine.kernelBtf?.btf;
    },
    program: candidate.btf,
    attach: candidate.attach,
    cpus: engine.ports.possibleCpus,
    isSleepable: (flags & BPF_PROG_F.SLEEPABLE) !== 0,
    isStrictAlignment: (flags & BPF_PROG_F.STRICT_ALIGNMENT) !== 0,
    isAnyAlignment: (flags & BPF_PROG_F.ANY_ALIGNMENT) !== 0,
    isStateFrequent: (flags & BPF_PROG_F.TEST_STATE_FREQ) !== 0,
    hasFragments: (flags & BPF_PROG_F.XDP_HAS_FRAGS) !== 0,
  };
}

/** The kernel's functions and symbols, which are named by their types. */
function kernelEnv({
  kernelBtf,
  ports,
}: BpfEngine): Pick<ProgramEnv, "kfunc" | "kfuncRules" | "symbol" | "isErrorInjectable"> {
  if (kernelBtf === undefined) return {};
  return {
    kfunc: (id, moduleOffset) => {
      const type = moduleOffset === 0 ? kernelBtf.btf.type(id) : undefined;
      return type?.kind === "func" ? type.name : undefined;
    },
    kfuncRules: (name) => {
      const found = ports.kernelFunction(name);
      if (found === undefined) return undefined;
      return linuxKfunc(name) ?? { flags: new Set(found.flags.filter(isKfuncFlag)), allows: () => true };
    },
    symbol: (name) => ports.symbolAddress(name),
    isErrorInjectable: (name) => ports.isErrorInjectable(name),
  };
}

/** The rules of the program's type on this machine and for this loader. */
function rulesOf({ engine, row, type, attachType, loader }: Candidate): ProgramRules | undefined {
  const rules = linuxProgramType(type, attachType);
  if (rules === undefined) return undefined;
  const { context } = rules;
  const hasFrame = row.context === "pt_regs" && context !== undefined;
  const to = engine.ports.ptRegsBytes;
  return {
    ...rules,
    allowsHelper: (id) => rules.allowsHelper(id) && mayCall(id, loader),
    context: hasFrame ? { ...context, rows: context.rows.map((rows) => ({ ...rows, to })) } : context,
  };
}

/** Linux: bpf_base_func_proto(), which gives out helpers by capability. */
function mayCall(id: number, loader: Capabilities): boolean {
  const row = helperById(id)?.row;
  if (row?.supported !== true || row.needs === "none") return true;
  return row.needs === "CAP_BPF" ? loader.hasCapBpf : loader.hasCapPerfmon;
}

/** A map in the verifier's words. */
function mapInfo(map: BpfMap): MapInfo {
  const values = map.maxEntries === 1 ? map.directValue(0) : 0;
  const isConstant = (map.flags & BPF_F.RDONLY_PROG) !== 0 && map.isFrozen && map.writers === 0;
  return {
    address: map.addr,
    valueSize: map.valueSize,
    valuesAddress: values === 0 ? undefined : values,
    type: map.mapType,
    name: map.name,
    keySize: map.keySize,
    maxEntries: map.maxEntries,
    flags: map.flags,
    inner: undefined,
    fields: [],
    isFrozen: map.isFrozen,
    constantAt: isConstant ? (offset, size) => constantAt(map, offset, size) : undefined,
    btf: map.btf?.object.btf,
    btfValueType: map.btf?.valueType ?? 0,
  };
}

/** Linux: bpf_map_direct_read() */
function constantAt(map: BpfMap, offset: number, size: number): bigint | undefined {
  const at = offset < 0 || offset + size > map.valueSize ? 0 : map.directValue(offset);
  if (at === 0) return undefined;
  let value = 0n;
  for (let i = size - 1; i >= 0; i--) value = (value << 8n) | BigInt(map.m.u8[at + i]!);
  return value;
}
