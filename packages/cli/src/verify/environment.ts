/**
 * What a verification is told about the machine, from the parts of a load. Interface: `environment`.
 */
import { EBADF } from "@alien-ts/abi";
import type { Insn } from "@alien-ts/bpf-isa";
import { PRIVILEGED, linuxHelper, linuxKfunc, linuxProgramType } from "@alien-ts/bpf-verifier";
import type { AttachTarget, MapInfo, Privileges, ProgramBtf, ProgramEnv } from "@alien-ts/bpf-verifier";
import type { Btf } from "@alien-ts/btf";

/** Bits of `prog_flags`. */
export const FLAG = { STRICT: 1, ANY: 2, STATE_FREQUENT: 8, SLEEPABLE: 16, FRAGMENTS: 32 } as const;

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
  readonly attach: string | undefined;
}

/** Throws where the program type is none. */
export function environment(parts: Parts, options: Machine): ProgramEnv {
  const { kernelBtf } = options;
  const attach = parts.attach === undefined ? undefined : attachTarget(kernelBtf, parts);
  const operation = attach?.structure === undefined ? attach?.name : `${attach.structure}.${attach.name}`;
  const programType = linuxProgramType(parts.type, parts.attachType, operation);
  if (programType === undefined) throw new Error(`prog_type ${parts.type} is not a program type`);
  return {
    insns: parts.insns,
    programType,
    helper: (id) => linuxHelper(id, parts.type),
    kfuncRules: linuxKfunc,
    map: (fd) => parts.maps.get(fd) ?? EBADF,
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
    isSleepable: (parts.flags & FLAG.SLEEPABLE) !== 0,
    isStrictAlignment: (parts.flags & FLAG.STRICT) !== 0,
    isAnyAlignment: (parts.flags & FLAG.ANY) !== 0,
    isStateFrequent: (parts.flags & FLAG.STATE_FREQUENT) !== 0,
    hasFragments: (parts.flags & FLAG.FRAGMENTS) !== 0,
  };
}

const STRUCT_OPS = 27;

function attachTarget(
  btf: Btf | undefined,
  { attach: name = "", attachType, type }: Parts,
): AttachTarget | undefined {
  if (btf === undefined) return undefined;
  if (type === STRUCT_OPS) return operationTarget(btf, name, attachType);
  const probe = name.startsWith("btf_trace_") ? name : `btf_trace_${name}`;
  const typedef = attachType === 23 ? btf.find(probe, "typedef") : undefined;
  if (typedef !== undefined) {
    const pointer = btf.type(btf.resolve(typedef));
    if (pointer?.kind === "ptr") return { name: probe, prototype: pointer.type };
  }
  const names =
    attachType === 28 ? [`bpf_iter_${name}`, name] : attachType === 27 ? [`bpf_lsm_${name}`, name] : [name];
  for (const candidate of names) {
    const id = btf.find(candidate, "func");
    const func = id === undefined ? undefined : btf.type(id);
    if (func?.kind === "func") return { name: candidate, prototype: func.type };
  }
  return undefined;
}

/** The operation of a structure of the kernel that has number `index`. */
function operationTarget(btf: Btf, structure: string, index: number): AttachTarget {
  const member = btf.members(btf.find(structure, "struct") ?? 0)?.[index];
  const pointer = btf.type(btf.resolve(member?.type ?? 0));
  const target = pointer?.kind === "ptr" ? pointer.type : 0;
  const prototype = btf.type(target)?.kind === "func_proto" ? target : 0;
  return { name: member?.name ?? "", prototype, structure };
}
