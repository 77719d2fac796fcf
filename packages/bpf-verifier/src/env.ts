/**
 * What a verification is given: the program, and everything it may refer to, as data.
 *
 * The verifier has never seen a map, a task or a helper's code. Whoever loads programs describes them here: prototypes,
 * map descriptions, the rules of the program's type, the caller's privileges.
 */
import type { Errno, KAddr } from "@alien-ts/abi";
import type { Insn } from "@alien-ts/bpf-isa";
import type { LogOptions } from "./log.ts";

/** What the verifier knows of a helper. */
export interface HelperPrototype {
  /** With its prefix: "bpf_map_lookup_elem". */
  readonly name: string;
  /** Whether only GPL-compatible programs may call it. */
  readonly gplOnly: boolean;
}

/** The rules of a program type (`struct bpf_verifier_ops`). */
export interface ProgramTypeRules {
  /** As `bpftool` prints it: "kprobe". */
  readonly name: string;
  /** Whether programs of this type may call helper `id`, which `VerifierEnv.helper` knows. */
  allowsHelper(id: number): boolean;
  /** Whether packet-legacy loads are allowed: socket filters and traffic classifiers. */
  readonly hasPacketLoads: boolean;
}

export interface MapDescription {
  /** What a register holds after a load of the map. */
  readonly address: KAddr;
  readonly valueSize: number;
  /** Address of the values of a map that programs may address directly (arrays of one element); undefined for others. */
  readonly valuesAddress: KAddr | undefined;
}

export interface VerifierEnv {
  readonly insns: readonly Insn[];
  readonly programType: ProgramTypeRules;
  /** The helper with this id, or undefined where this kernel has none. */
  helper(id: number): HelperPrototype | undefined;
  /** The map behind a file descriptor of the loading task; EBADF for no file, EINVAL for another file. */
  map(fd: number): MapDescription | Errno;
  /** Element `index` of the caller's `fd_array`; undefined where it passed none. */
  fdArray?: (index: number) => number | Errno;
  /** Name of the kernel function with this BTF id, or undefined. */
  kfunc?: (btfId: number, moduleOffset: number) => string | undefined;
  /** High word of kernel addresses (`LinearMemory.baseHi`). */
  readonly addressHigh: number;
  /** The program's licence, as in its `license` section. */
  readonly license: string;
  /** CAP_BPF: more instructions, functions, loops. */
  readonly isCapable: boolean;
  readonly log: LogOptions;
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
