/**
 * A program of an object: loaded into the kernel by `load`, and what all types have in common. Types with a hook that
 * aya-ts attaches to have a class of their own (`KProbe`).
 */
import { BPF_PROG_TYPE } from "@alien-ts/abi";
import type { Insn } from "@alien-ts/bpf-isa";
import type { Btf } from "@alien-ts/btf";
import { ProgramError, SyscallError } from "../errors.ts";
import { Features } from "../features.ts";
import { isForTarget, targetId } from "../obj/kernel.ts";
import { linkProgram } from "../obj/link.ts";
import type { ObjectSpec, ProgramSpec } from "../obj/spec.ts";
import { objectName, progLoad, withLogRetry } from "../sys/bpf.ts";
import { closeFd } from "../sys/files.ts";
import type { SerialSys } from "../sys/sys.ts";

/** What the programs of one object share. */
export interface ProgramContext {
  readonly sys: SerialSys;
  readonly spec: ObjectSpec;
  /** Descriptor of the loaded BTF. */
  readonly btfFd: number | undefined;
  /** Whether the kernel takes names. */
  readonly hasNames: boolean;
  /** KERNEL_VERSION code to load with. */
  readonly kernelVersion: number;
  readonly logLevel: number;
  /** The types of the kernel. */
  readonly kernelTypes: () => Promise<Btf>;
  readonly mapFd: (name: string) => number;
  /** Frees RLIMIT_MEMLOCK and says whether a failed call is worth another try. */
  readonly raiseMemlock: (result: number) => Promise<boolean>;
}

/** Helpers of Linux 5.5, and what older kernels have: probe_read_{user,kernel}[_str] → probe_read[_str]. */
const OLDER_HELPER: ReadonlyMap<number, number> = new Map([
  [112, 4],
  [113, 4],
  [114, 45],
  [115, 45],
]);
const OP_CALL = 0x85;

export class Program {
  readonly name: string;
  readonly spec: ProgramSpec;
  protected readonly context: ProgramContext;
  #fd: number | undefined;

  constructor(spec: ProgramSpec, context: ProgramContext) {
    this.name = spec.name;
    this.spec = spec;
    this.context = context;
  }

  /** e.g. "KPROBE" */
  get typeName(): string {
    const { type } = this.spec.section;
    return Object.entries(BPF_PROG_TYPE).find(([, number]) => number === type)?.[0] ?? String(type);
  }

  get isLoaded(): boolean {
    return this.#fd !== undefined;
  }

  /** The descriptor; throws `NotLoaded`. */
  get fd(): number {
    if (this.#fd === undefined) throw new ProgramError("NotLoaded", `program ${this.name} is not loaded`);
    return this.#fd;
  }

  /** Gives the program to the verifier. A refusal is `LoadError` with its log. */
  async load(): Promise<void> {
    if (this.#fd !== undefined)
      throw new ProgramError("AlreadyLoaded", `program ${this.name} is already loaded`);
    const { context, spec } = this;
    const linked = linkProgram(context.spec, spec.function, context.mapFd);
    const request = {
      type: spec.section.type,
      insns: await this.#withKnownHelpers(linked.insns),
      license: context.spec.license,
      name: context.hasNames ? objectName(this.name) : "",
      flags: spec.section.flags,
      expectedAttachType: spec.section.expectedAttachType,
      kernelVersion: context.kernelVersion,
      ...(context.btfFd !== undefined && { btfFd: context.btfFd }),
      ...(isForTarget(spec.section) && {
        attachBtfId: targetId(this.name, spec.section, await context.kernelTypes()),
      }),
      funcInfo: linked.funcInfo,
      lineInfo: linked.lineInfo,
    };
    const attempt = (): ReturnType<typeof withLogRetry> =>
      withLogRetry(context.logLevel, (log) => progLoad(context.sys, request, log));
    let outcome = await attempt();
    if (outcome.result < 0 && (await context.raiseMemlock(outcome.result))) outcome = await attempt();
    if (outcome.result < 0) {
      const cause = new SyscallError("BPF_PROG_LOAD", -outcome.result);
      const message = `program ${this.name}: ${cause.message}. Verifier output: ${outcome.log}`;
      throw new ProgramError("LoadError", message, { cause, verifierLog: outcome.log });
    }
    this.#fd = outcome.result;
  }

  /** Closes the descriptor. What is attached keeps the program alive in the kernel. */
  async unload(): Promise<void> {
    const { fd } = this;
    this.#fd = undefined;
    await closeFd(this.context.sys, fd);
  }

  /** `unload`, or nothing when it is not loaded. */
  async close(): Promise<void> {
    if (this.isLoaded) await this.unload();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #withKnownHelpers(insns: readonly Insn[]): Promise<readonly Insn[]> {
    const features = Features.of(this.context.sys);
    const out: Insn[] = [];
    for (const insn of insns) {
      const older = insn.opcode === OP_CALL && insn.src === 0 ? OLDER_HELPER.get(insn.imm) : undefined;
      const isKnown =
        older === undefined ||
        (await features.hasHelper(this.spec.section.type, insn.imm, this.context.kernelVersion));
      out.push(isKnown ? insn : { ...insn, imm: older });
    }
    return out;
  }
}
