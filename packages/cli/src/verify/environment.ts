/**
 * What a verification is told about the machine, from the parts of a load. Interface: `environment`.
 */
import { BPF_PROG_F, E2BIG, EBADF, EINVAL } from "@alien-ts/abi";
import type { Errno } from "@alien-ts/abi";
import type { Insn } from "@alien-ts/bpf-isa";
import {
  PRIVILEGED,
  attachTarget,
  isAttachedById,
  linuxHelper,
  linuxKfunc,
  linuxProgramType,
} from "@alien-ts/bpf-verifier";
import type { AttachTarget, MapInfo, Privileges, ProgramBtf, ProgramEnv } from "@alien-ts/bpf-verifier";
import type { Btf } from "@alien-ts/btf";

const KNOWN_FLAGS = Object.values(BPF_PROG_F).reduce<number>((all, flag) => all | flag, 0);
/** Descriptors that every loader has open, and that are no maps. */
const STANDARD_FDS = 3;

/** Characters of a log that are printed: its end. */
const KEPT_LOG = 4 << 20;

/** Where functions of the kernel are; variables have no addresses, as in kernels that keep no symbols for them. */
const FUNCTIONS = 0x2000_0000;

/** Processors of the machine that programs are judged for. */
const CPUS = 2;

export interface Machine {
  readonly kernelBtf: Btf | undefined;
  readonly logLevel: number;
  /** What the loader may do; everything where nothing is said. */
  readonly privileges?: Privileges;
}

export interface Parts {
  readonly insns: readonly Insn[];
  readonly type: number;
  readonly attachType: number;
  readonly flags: number;
  readonly license: string;
  readonly maps: ReadonlyMap<number, MapInfo>;
  readonly program: ProgramBtf | undefined;
  /** Name or BTF id of what it is attached to. */
  readonly attach: string | number | undefined;
}

/** The load as the verifier sees it, or what it is refused with before. Linux: bpf_prog_load() */
export function environment(parts: Parts, options: Machine): ProgramEnv | Errno {
  const { kernelBtf } = options;
  if ((parts.flags & ~KNOWN_FLAGS) !== 0) return EINVAL;
  // Loads name no token: that of descriptor 0 is none.
  if ((parts.flags & BPF_PROG_F.TOKEN_FD) !== 0) return EINVAL;
  const attach = kernelBtf === undefined ? undefined : targetOf(kernelBtf, parts);
  const operation = attach?.structure === undefined ? attach?.name : `${attach.structure}.${attach.name}`;
  const programType = linuxProgramType(parts.type, parts.attachType, operation);
  if (programType === undefined) return parts.insns.length === 0 ? E2BIG : EINVAL;
  return {
    insns: parts.insns,
    programType,
    helper: (id) => linuxHelper(id, parts.type),
    kfuncRules: linuxKfunc,
    map: (fd) => parts.maps.get(fd) ?? (fd >= 0 && fd < STANDARD_FDS ? EINVAL : EBADF),
    ...(kernelBtf === undefined
      ? {}
      : {
          kfunc: (id: number) => {
            const type = kernelBtf.type(id);
            return type?.kind === "func" ? type.name : undefined;
          },
        }),
    addressHigh: 0xffff_8881,
    license: parts.license,
    privileges: options.privileges ?? PRIVILEGED,
    log: { level: options.logLevel, keeps: KEPT_LOG },
    kernelBtf,
    program: parts.program,
    attach,
    symbol: (name, kind) => (kind === "func" ? FUNCTIONS + name.length : undefined),
    cpus: CPUS,
    hasPrivateStacks: true,
    isSleepable: (parts.flags & BPF_PROG_F.SLEEPABLE) !== 0,
    isStrictAlignment: (parts.flags & BPF_PROG_F.STRICT_ALIGNMENT) !== 0,
    isAnyAlignment: (parts.flags & BPF_PROG_F.ANY_ALIGNMENT) !== 0,
    isStateFrequent: (parts.flags & BPF_PROG_F.TEST_STATE_FREQ) !== 0,
    hasFragments: (parts.flags & BPF_PROG_F.XDP_HAS_FRAGS) !== 0,
  };
}

const [RAW_TP, LSM_MAC, ITERATOR, LSM_CGROUP] = [23, 27, 28, 43];
const STRUCT_OPS = 27;

/** What the load names, by name or by id. */
function targetOf(btf: Btf, { attach, attachType, type }: Parts): AttachTarget | undefined {
  if (attach === undefined || (typeof attach === "string" && !isAttachedById(type))) return undefined;
  const id = typeof attach === "number" ? attach : targetId(btf, attach, type, attachType);
  return id === 0 ? undefined : attachTarget(btf, { type, attachType }, id);
}

/** As loaders look names up; 0 where there is none. */
function targetId(btf: Btf, name: string, type: number, attachType: number): number {
  if (type === STRUCT_OPS) return btf.find(name, "struct") ?? 0;
  if (attachType === RAW_TP) {
    const probe = name.startsWith("btf_trace_") ? name : `btf_trace_${name}`;
    return btf.find(probe, "typedef") ?? btf.find(name, "func") ?? 0;
  }
  const isHook = attachType === LSM_MAC || attachType === LSM_CGROUP;
  const prefix = attachType === ITERATOR ? "bpf_iter_" : isHook ? "bpf_lsm_" : "";
  return btf.find(prefix + name, "func") ?? btf.find(name, "func") ?? 0;
}
