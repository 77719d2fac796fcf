/**
 * What a verification is given: the program, and everything it may refer to, as data.
 *
 * The verifier has never seen a map, a task or a helper's code. Whoever loads programs describes them here: prototypes, map
 * descriptions, the rules of the program's type, the caller's privileges. `VerifierEnv` is what the structural check needs,
 * `ProgramEnv` what the whole verification needs. Tables of what Linux 6.18 has are in `linux/`.
 */
import type { Errno, KAddr } from "@alien-ts/abi";
import type { Btf } from "@alien-ts/btf";
import type { Insn } from "@alien-ts/bpf-isa";
import type { ArgumentKind, ReturnKind } from "./call/kinds.ts";
import type { LogOptions } from "./log.ts";
import type { Capabilities, Privileges } from "./privileges.ts";
import type { RegisterKind } from "./state/register.ts";
import type { State } from "./state/state.ts";

/** What the structural check knows of a helper. */
export interface HelperName {
  /** With its prefix: "bpf_map_lookup_elem". */
  readonly name: string;
  /** Whether only GPL-compatible programs may call it. */
  readonly gplOnly: boolean;
}

const KFUNC_FLAGS = [
  "acquire",
  "release",
  "ret_null",
  "trusted_args",
  "sleepable",
  "destructive",
  "rcu",
  "rcu_protected",
  "iter_new",
  "iter_next",
  "iter_destroy",
  "fastcall",
  "arena_ret",
  "device_bound",
] as const;

/** `KF_…` flags of a kernel function, and what else is special about it. */
export type KfuncFlag = (typeof KFUNC_FLAGS)[number];

export const isKfuncFlag = (flag: string): flag is KfuncFlag =>
  (KFUNC_FLAGS as readonly string[]).includes(flag);

/** What the verifier knows of a kernel function beside its prototype. */
export interface KfuncRules {
  readonly flags: ReadonlySet<KfuncFlag>;
  /** Whether programs of this type may call it. */
  allows(program: ProgramRules): boolean;
}

/** What the verifier knows of a helper. */
export interface HelperPrototype extends HelperName {
  readonly args: readonly ArgumentKind[];
  readonly ret: ReturnKind;
  /** Packet pointers are no longer valid after a call. */
  readonly changesPacket: boolean;
  readonly mightSleep: boolean;
  /** Of one that is for GPL-compatible programs: whether those of this type may call it whatever their license is. */
  readonly isFreeIn?: (program: ProgramRules) => boolean;
  /** What the loader must have. */
  readonly needs?: keyof Capabilities;
  /** Whether programs of this type, attached there, may call it; for helpers that are not for all. */
  allowedIn?: (program: ProgramRules, attach: AttachTarget | undefined) => boolean;
}

/** The rules of a program type that the structural check needs (`struct bpf_verifier_ops`). */
export interface ProgramTypeRules {
  /** As `bpftool` prints it: "kprobe". */
  readonly name: string;
  /** Whether programs of this type may call helper `id`, which `VerifierEnv.helper` knows. */
  allowsHelper(id: number): boolean;
  /** Whether packet-legacy loads are allowed: socket filters and traffic classifiers. */
  readonly hasPacketLoads: boolean;
}

/** Fields of a context that follow each other and have the same rules. */
export interface ContextRow {
  /** What a loader must have whose programs read the field, or write it. */
  readonly needs?: { readonly capability: keyof Capabilities; readonly of: "read" | "write" };
  readonly from: number;
  readonly to: number;
  /** Bytes of one field. */
  readonly stride: number;
  /** Sizes that may be read, and written. */
  readonly reads: readonly number[];
  readonly writes: readonly number[];
  /** Bytes of the field whose parts may be accessed; a part at its beginning always may, where its size is in the list. */
  readonly narrowBytes: number;
  /** Where the first field lies in the kernel's memory and how long each is there; undefined where it lies as it is seen. */
  readonly memory?: { readonly offset: number; readonly bytes: 1 | 2 | 4 | 8 };
  /** The pointer that a load gives; undefined for numbers. */
  readonly gives?: {
    readonly kind: RegisterKind;
    readonly isNullable: boolean;
    /** Of a BTF pointer: the kernel's type. */
    readonly type?: string;
  };
}

export interface ContextRules {
  /** Name of the structure. */
  readonly name: string;
  readonly rows: readonly ContextRow[];
  /** Helpers may be given pointers into it. */
  readonly isFlat: boolean;
}

export interface ReturnRange {
  readonly min: bigint;
  readonly max: bigint;
  /** Of the lower 32 bits. */
  readonly is32?: boolean;
}

export interface ProgramRules extends ProgramTypeRules {
  readonly type: number;
  readonly attachType: number;
  readonly packet: "none" | "read" | "write";
  /** Undefined where the context is described by BTF. */
  readonly context: ContextRules | undefined;
  /** What r0 must lie in at the end; undefined for anything. */
  readonly returns: ReturnRange | undefined;
  readonly isTracing: boolean;
}

export interface MapDescription {
  /** What a register holds after a load of the map. */
  readonly address: KAddr;
  readonly valueSize: number;
  /** Address of the values of a map that programs may address directly (arrays of one element); undefined for others. */
  readonly valuesAddress: KAddr | undefined;
  /** Bytes behind it, where they are not one value: of an arena. */
  readonly addressableBytes?: number;
}

/** A special field of a map value or of an object of the program. */
export interface ValueField {
  readonly kind:
    | "spin_lock"
    | "res_spin_lock"
    | "timer"
    | "workqueue"
    | "kptr"
    | "list_head"
    | "rb_root"
    | "list_node"
    | "rb_node"
    | "refcount"
    | "task_work";
  readonly offset: number;
  readonly size: number;
  /** Of a pointer. */
  readonly pointer?: {
    readonly tag: "untrusted" | "referenced" | "percpu" | "user";
    readonly btf: Btf;
    readonly type: number;
  };
  /** Of a list or tree: the type of its elements, and where in them their nodes are. */
  readonly graph?: { readonly btf: Btf; readonly type: number; readonly nodeOffset: number };
}

/** What the verifier knows of a map. */
export interface MapInfo extends MapDescription {
  /** `enum bpf_map_type`. */
  readonly type: number;
  readonly name: string;
  readonly keySize: number;
  readonly maxEntries: number;
  readonly flags: number;
  /** A map of this shape is in every element. */
  readonly inner: MapInfo | undefined;
  readonly fields: readonly ValueField[];
  readonly isFrozen: boolean;
  /** Of an array: whether who made it bypasses masks, as `Privileges` says; undefined: it is the loader's own. */
  readonly bypassesSpecV1?: boolean;
  /** Of an arena: whether it is known where in the process's memory it lies; known where it is not said. */
  readonly isMapped?: boolean;
  /** A frozen, read-only map: the number of `size` bytes at `offset` of its value. */
  readonly constantAt: ((offset: number, size: number) => bigint | undefined) | undefined;
  readonly btf: Btf | undefined;
  readonly btfValueType: number;
}

export interface VerifierEnv {
  readonly insns: readonly Insn[];
  readonly programType: ProgramTypeRules;
  /** The helper with this id, or undefined where this kernel has none. */
  helper(id: number): HelperName | undefined;
  /** The map behind a file descriptor of the loading task; EBADF for no file, EINVAL for another file. */
  map(fd: number): MapDescription | Errno;
  /** Why this kernel lacks helper `id` of Linux, and what to do instead: no accepted program reaches a call of it. */
  absentHelper?: (id: number) => string | undefined;
  /** Element `index` of the caller's `fd_array`; undefined where it passed none. */
  fdArray?: (index: number) => number | Errno;
  /** Name of the kernel function with this BTF id, or undefined. */
  kfunc?: (btfId: number, moduleOffset: number) => string | undefined;
  /** Rules of the kernel function with this name; undefined where no program may call it. */
  kfuncRules?: (name: string) => KfuncRules | undefined;
  /** The kernel's own types. */
  readonly kernelBtf: Btf | undefined;
  /** Address of a variable or function of the kernel; undefined where there is none. */
  symbol?: (name: string, kind: "var" | "func") => KAddr | undefined;
  /** Whether errors may be injected into this function of the kernel; without it, into those of system calls. */
  isErrorInjectable?: (name: string) => boolean;
  /** High word of kernel addresses (`LinearMemory.baseHi`). */
  readonly addressHigh: number;
  /** The program's licence, as in its `license` section. */
  readonly license: string;
  readonly privileges: Privileges;
  readonly log: LogOptions;
}

export interface ProgramBtf {
  readonly btf: Btf;
  /** Function type by first instruction; in order. */
  readonly functions: readonly { readonly insn: number; readonly type: number }[];
  readonly lines: readonly {
    readonly insn: number;
    readonly file: string;
    readonly text: string;
    readonly line: number;
  }[];
}

/** What a program is attached to, by BTF. */
export interface AttachTarget {
  /** Its id in the kernel's types, as the load gives it. */
  readonly id: number;
  readonly name: string;
  /** The FUNC_PROTO of the function, hook, tracepoint or operation; 0 for none. */
  readonly prototype: number;
  /** Of an operation: the structure that has it. */
  readonly structure?: string;
  /** Why programs cannot be attached to what the loader named. */
  readonly refusal?: { readonly errno: Errno; readonly message: string };
}

/** Everything that a whole verification may ask. */
export interface ProgramEnv extends VerifierEnv {
  readonly programType: ProgramRules;
  helper(id: number): HelperPrototype | undefined;
  map(fd: number): MapInfo | Errno;
  readonly program: ProgramBtf | undefined;
  readonly attach: AttachTarget | undefined;
  readonly isSleepable: boolean;
  /** BPF_F_STRICT_ALIGNMENT, or a machine without unaligned accesses. */
  readonly isStrictAlignment: boolean;
  /** BPF_F_ANY_ALIGNMENT */
  readonly isAnyAlignment: boolean;
  /** BPF_F_TEST_STATE_FREQ */
  readonly isStateFrequent: boolean;
  /** BPF_F_XDP_HAS_FRAGS */
  readonly hasFragments: boolean;
  /** Processors that the machine may have (`nr_cpu_ids`), which bounds what bpf_get_smp_processor_id() gives. */
  readonly cpus?: number;
  /** Functions of programs that may be interrupted by themselves have stacks of their own where they use much. */
  readonly hasPrivateStacks?: boolean;
  /** Microseconds since the verification began, for the log's statistics; 0 where nobody measures. */
  readonly elapsedUs?: () => number;
  /** Sees the walk: reports and tests of soundness. */
  readonly observer?: WalkObserver;
}

/** Whether programs of this type, of this loader, may call helper `id`. */
export function mayCall(env: ProgramEnv, id: number): boolean {
  const needs = env.helper(id)?.needs;
  const mayUse = needs === undefined || env.privileges.capabilities[needs];
  return mayUse && env.programType.allowsHelper(id);
}

/** What is told of the walk over all paths. States go on changing: an observer copies what it keeps. */
export interface WalkObserver {
  /** `state` is about to execute instruction `insn`. */
  before(state: State, insn: number): void;
  /** `state` is put aside to be walked later, from where the walk stands. */
  pushed?(state: State): void;
  /** `state` is remembered at instruction `insn`; marks of precision are put into it until the walk ends. */
  remembered?(state: State, insn: number): void;
  /** `state` ends here: `old`, which was remembered at this instruction, covers it. */
  covered?(state: State, old: State): void;
  /** A state counts as known only where one that was walked contains all its live numbers, also those that decided nothing. */
  readonly comparesAllNumbers?: boolean;
}

/** Linux: include/linux/license.h */
const GPL_COMPATIBLE: readonly string[] = [
  "GPL",
  "GPL v2",
  "GPL and additional rights",
  "Dual BSD/GPL",
  "Dual MIT/GPL",
  "Dual MPL/GPL",
];

export function isGplCompatible(license: string): boolean {
  return GPL_COMPATIBLE.includes(license);
}
