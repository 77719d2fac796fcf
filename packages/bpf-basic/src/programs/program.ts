/**
 * `BpfProgram`: a loaded program, and what a program fd holds. It holds its maps; events that it is attached to hold it. A
 * program that was freed is never run: who runs one holds a reference.
 */
import { BPF_INSN_SIZE, type KAddr, PAGE_SIZE } from "@alien-ts/abi";
import type { Insn } from "@alien-ts/bpf-isa";
import { relocate, type Xlated } from "@alien-ts/bpf-verifier";
import type { BpfProgram as PreparedProgram } from "@alien-ts/bpf-vm";
import type { LoadedProgramBtf } from "../btf/program-btf.ts";
import type { BpfMap } from "../maps/map.ts";
import type { BpfEngine } from "../engine.ts";
import type { AttachRequest } from "./attach-target.ts";

export interface MapLoad {
  readonly map: BpfMap;
  readonly offset: number | undefined;
}

export interface ProgramOptions {
  readonly type: number;
  /** Bytes at the context that it may read. */
  readonly contextBytes: number;
  readonly name: string;
  readonly isGplCompatible: boolean;
  readonly isSleepable: boolean;
  /** As rewritten by the verifier, and where each instruction comes from. */
  readonly xlated: Xlated;
  /** Maps by the instruction, of the program given, that loads their address or (with an offset) that of their value. */
  readonly mapLoads: ReadonlyMap<number, MapLoad>;
  /** 16 hexadecimal digits that name it by what was loaded. */
  readonly tag: string;
  readonly prepared: PreparedProgram;
  /** One reference to each is taken over. */
  readonly maps: readonly BpfMap[];
  /** Its functions and lines; one reference to the object is taken. */
  readonly btf: LoadedProgramBtf | undefined;
  readonly loadTimeNs: number;
  readonly uid: number;
  readonly verifiedInsns: number;
  /** What it will be attached to; the types that name it are the kernel's, which stay. */
  readonly attach: AttachRequest;
}

export class BpfProgram {
  readonly kind = "program";
  readonly id: number;
  readonly type: number;
  readonly contextBytes: number;
  readonly name: string;
  readonly isGplCompatible: boolean;
  readonly isSleepable: boolean;
  /** As rewritten by the verifier. */
  readonly insns: readonly Insn[];
  readonly mapLoads: ReadonlyMap<number, MapLoad>;
  /** What is shown: with the barriers and masks of programs of the unprivileged, which computing needs none of. */
  readonly listed: Pick<Xlated, "insns" | "origin">;
  /** Its functions and lines, by instruction as shown; none without BTF. */
  readonly functions: LoadedProgramBtf["functions"];
  readonly lines: LoadedProgramBtf["lines"];
  /** 16 hexadecimal digits that name it by what was loaded. */
  readonly tag: string;
  readonly prepared: PreparedProgram;
  readonly maps: readonly BpfMap[];
  readonly btf: LoadedProgramBtf | undefined;
  readonly loadTimeNs: number;
  readonly uid: number;
  readonly verifiedInsns: number;
  readonly attach: AttachRequest;
  /** Runs so far, and those that were skipped because a program was running on that CPU. */
  runCount = 0;
  missCount = 0;
  readonly #engine: BpfEngine;
  #references = 1;

  constructor(engine: BpfEngine, id: number, options: ProgramOptions) {
    this.#engine = engine;
    this.id = id;
    this.type = options.type;
    this.contextBytes = options.contextBytes;
    this.name = options.name;
    this.isGplCompatible = options.isGplCompatible;
    this.isSleepable = options.isSleepable;
    this.insns = options.xlated.insns;
    this.mapLoads = options.mapLoads;
    this.listed = options.xlated.listed ?? options.xlated;
    this.functions = relocate(options.btf?.functions ?? [], this.listed);
    this.lines = relocate(options.btf?.lines ?? [], this.listed);
    this.tag = options.tag;
    this.prepared = options.prepared;
    this.maps = options.maps;
    this.btf = options.btf;
    this.btf?.object.get();
    this.loadTimeNs = options.loadTimeNs;
    this.uid = options.uid;
    this.verifiedInsns = options.verifiedInsns;
    this.attach = options.attach;
  }

  get isCompiled(): boolean {
    return this.prepared.compiled !== null;
  }

  /** Runs it on the current CPU with its context at `context`; the low word of r0, unsigned. */
  run(context: KAddr): number {
    return this.#engine.run(this, context);
  }

  /** `bpf_prog_show_fdinfo`: what /proc/<pid>/fdinfo/<fd> adds for a program. Run times are not measured. */
  fdInfo(): string {
    const pages = Math.ceil((this.insns.length * BPF_INSN_SIZE) / PAGE_SIZE);
    const lines: [string, string | number][] = [
      ["prog_type", this.type],
      ["prog_jited", this.isCompiled ? 1 : 0],
      ["prog_tag", this.tag],
      ["memlock", pages * PAGE_SIZE],
      ["prog_id", this.id],
      ["run_time_ns", 0],
      ["run_cnt", this.runCount],
      ["recursion_misses", this.missCount],
      ["verified_insns", this.verifiedInsns],
    ];
    return lines.map(([key, value]) => `${key}:\t${value}\n`).join("");
  }

  get(): void {
    this.#references += 1;
  }
  put(): void {
    this.#references -= 1;
    if (this.#references > 0) return;
    this.#engine.compiler?.release(this.prepared);
    for (const map of this.maps) map.put();
    this.btf?.object.put();
    this.#engine.programs.delete(this);
  }
  /** The file was closed. */
  release(): void {
    this.put();
  }
}
