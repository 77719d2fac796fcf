/**
 * A loaded object: `const ebpf = await Ebpf.load(sys, bytes, options)` creates its maps and readies its programs, each of which
 * waits for its own `load()`.
 *
 * The order of system calls is Aya's (aya `bpf.rs`): BTF probes and BTF, kernel version, global-data probe, maps, name probe.
 * Closing an `Ebpf` closes its links, programs, maps (but those that were taken) and BTF.
 */
import { BPF_MAP_TYPE, EPERM, NR, RLIMIT } from "@alien-ts/abi";
import { BtfLoadError, MapError, ProgramError, SyscallError } from "./errors.ts";
import { Features } from "./features.ts";
import { createMap } from "./maps/create.ts";
import type { MapData } from "./maps/map-data.ts";
import { fixupBtf, neededFeatures } from "./obj/btf-fixup.ts";
import type { BtfFeature } from "./obj/btf-fixup.ts";
import { needsCore } from "./obj/core.ts";
import { forKernel, readKernelTypes } from "./obj/kernel.ts";
import { overrideGlobals } from "./obj/globals.ts";
import type { GlobalOverride } from "./obj/globals.ts";
import { parseObject } from "./obj/object.ts";
import type { MapSpec, ObjectSpec, ProgramSpec } from "./obj/spec.ts";
import { KProbe } from "./programs/kprobe.ts";
import { Program } from "./programs/program.ts";
import type { ProgramContext } from "./programs/program.ts";
import { btfLoad, withLogRetry } from "./sys/bpf.ts";
import { closeFd, readFile } from "./sys/files.ts";
import { failedWith, serialise, withParts } from "./sys/sys.ts";
import type { SerialSys, Sys } from "./sys/sys.ts";
import { KernelVersion, nrCpus } from "./util.ts";

/** Bits of how much the verifier says about a program that it refuses. */
export const VERIFIER_LOG = { DISABLE: 0, DEBUG: 1, VERBOSE: 3, STATS: 4 } as const;

export interface EbpfOptions {
  /** New values of global variables, by symbol name, set before the maps are created. */
  readonly globals?: Readonly<Record<string, GlobalOverride>>;
  /** `max_entries` by map name. */
  readonly mapMaxEntries?: Readonly<Record<string, number>>;
  /** `VERIFIER_LOG` bits; DEBUG | STATS when absent. */
  readonly verifierLogLevel?: number;
  /** Map types that aya-ts does not know are created as they stand, instead of refused. */
  readonly allowUnsupportedMaps?: boolean;
  /** Folder of maps that are pinned by name; `/sys/fs/bpf` when absent. */
  readonly defaultMapPinDirectory?: string;
  /** false: the object's BTF is not loaded. */
  readonly btf?: boolean;
}

/** Aya's builder, over `EbpfOptions`. */
export class EbpfLoader {
  #options: EbpfOptions = {};

  /** @param mustExist throw when the object has no such variable. */
  overrideGlobal(name: string, value: Uint8Array, mustExist = true): this {
    return this.#with({ globals: { ...this.#options.globals, [name]: { value, mustExist } } });
  }

  mapMaxEntries(name: string, maxEntries: number): this {
    return this.#with({ mapMaxEntries: { ...this.#options.mapMaxEntries, [name]: maxEntries } });
  }

  verifierLogLevel(level: number): this {
    return this.#with({ verifierLogLevel: level });
  }

  allowUnsupportedMaps(): this {
    return this.#with({ allowUnsupportedMaps: true });
  }

  defaultMapPinDirectory(path: string): this {
    return this.#with({ defaultMapPinDirectory: path });
  }

  btf(isLoaded: boolean): this {
    return this.#with({ btf: isLoaded });
  }

  load(sys: Sys, bytes: Uint8Array): Promise<Ebpf> {
    return Ebpf.load(sys, bytes, this.#options);
  }

  loadFile(sys: Sys, path: string): Promise<Ebpf> {
    return Ebpf.loadFile(sys, path, this.#options);
  }

  #with(options: EbpfOptions): this {
    this.#options = { ...this.#options, ...options };
    return this;
  }
}

export class Ebpf {
  readonly spec: ObjectSpec;
  readonly #sys: SerialSys;
  readonly #btfFd: number | undefined;
  readonly #maps: Map<string, MapData>;
  readonly #programs: ReadonlyMap<string, Program>;

  private constructor(sys: SerialSys, spec: ObjectSpec, parts: EbpfParts) {
    this.#sys = sys;
    this.spec = spec;
    this.#btfFd = parts.btfFd;
    this.#maps = parts.maps;
    this.#programs = parts.programs;
  }

  /** @param bytes an eBPF object file: clang's, or one that Aya's toolchain has built. */
  static async load(system: Sys, bytes: Uint8Array, options: EbpfOptions = {}): Promise<Ebpf> {
    const sys = serialise(system);
    const spec = overrideGlobals(parseObject(bytes), options.globals ?? {});
    refuseUnsupported(spec, options);
    const loading = new Loading(sys, spec, options);
    const parts = await loading.run();
    return new Ebpf(sys, parts.spec, parts);
  }

  static async loadFile(system: Sys, path: string, options: EbpfOptions = {}): Promise<Ebpf> {
    return Ebpf.load(system, await readFile(serialise(system), path), options);
  }

  /** By symbol name; throws `NotFound` and says what there is. */
  program(name: string): Program {
    const program = this.#programs.get(name);
    if (program !== undefined) return program;
    throw new ProgramError("NotFound", `no program ${name}; the object has ${list(this.#programs.keys())}`);
  }

  /** A program of a `kprobe` or `kretprobe` section. */
  kprobe(name: string): KProbe {
    const program = this.program(name);
    if (program instanceof KProbe) return program;
    throw new ProgramError(
      "UnexpectedProgramType",
      `program ${name}: expected kprobe, found ${program.spec.section.kind}`,
    );
  }

  programs(): IterableIterator<Program> {
    return this.#programs.values();
  }

  /** By symbol name (data: by section name). */
  map(name: string): MapData {
    const map = this.#maps.get(name);
    if (map !== undefined) return map;
    throw new MapError("NotFound", `no map ${name}; the object has ${list(this.#maps.keys())}`);
  }

  maps(): IterableIterator<MapData> {
    return this.#maps.values();
  }

  /** The map is the caller's to close from now on. */
  takeMap(name: string): MapData {
    const map = this.map(name);
    this.#maps.delete(name);
    return map;
  }

  async close(): Promise<void> {
    for (const program of this.#programs.values()) await program.close();
    for (const map of this.#maps.values()) await map.close();
    if (this.#btfFd !== undefined) await closeFd(this.#sys, this.#btfFd);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

interface EbpfParts {
  /** As it is for this kernel. */
  readonly spec: ObjectSpec;
  readonly btfFd: number | undefined;
  readonly maps: Map<string, MapData>;
  readonly programs: ReadonlyMap<string, Program>;
}

/** The steps of one load. */
class Loading {
  readonly #sys: SerialSys;
  #spec: ObjectSpec;
  readonly #options: EbpfOptions;
  readonly #features: Features;

  constructor(sys: SerialSys, spec: ObjectSpec, options: EbpfOptions) {
    this.#sys = sys;
    this.#spec = spec;
    this.#options = options;
    this.#features = Features.of(sys);
  }

  async run(): Promise<EbpfParts> {
    const btfFd = await this.#loadBtf();
    const maps = new Map<string, MapData>();
    try {
      const version = await KernelVersion.current(this.#sys);
      const types = once(() => readKernelTypes(this.#sys));
      this.#spec = await forKernel(this.#sys, this.#spec, { version: version.code, types });
      await this.#createMaps(maps, btfFd, version);
      const context: ProgramContext = {
        sys: this.#sys,
        spec: this.#spec,
        btfFd,
        hasNames: await this.#features.hasNames(),
        kernelVersion: this.#spec.kernelVersion ?? version.code,
        logLevel: this.#options.verifierLogLevel ?? VERIFIER_LOG.DEBUG | VERIFIER_LOG.STATS,
        kernelTypes: types,
        mapFd: (name) => maps.get(name)!.fd,
        raiseMemlock: (result) => raiseMemlock(this.#sys, version, result),
      };
      const programs = new Map(
        Array.from(this.#spec.programs.values(), (program) => [program.name, makeProgram(program, context)]),
      );
      return { spec: this.#spec, btfFd, maps, programs };
    } catch (error) {
      for (const map of maps.values()) await map.close();
      if (btfFd !== undefined) await closeFd(this.#sys, btfFd);
      throw error;
    }
  }

  /** Undefined when there is none, or the kernel takes none; maps and programs do without. */
  async #loadBtf(): Promise<number | undefined> {
    const { btf, dataLayout } = this.#spec;
    if (btf === undefined || this.#options.btf === false || !(await this.#features.hasBtf()))
      return undefined;
    const support = new Map<BtfFeature, boolean>();
    for (const feature of neededFeatures(btf)) {
      const isAsked = feature !== "func_global" || support.get("func") !== false;
      support.set(feature, isAsked && (await this.#features.hasBtfFeature(feature)));
    }
    const bytes = fixupBtf(btf, dataLayout, support);
    const level = this.#options.verifierLogLevel ?? VERIFIER_LOG.DEBUG;
    const { result, log } = await withLogRetry(level, (request) => btfLoad(this.#sys, bytes, request));
    if (result >= 0) return result;
    const needsBtf =
      needsCore(this.#spec) ||
      Array.from(this.#spec.programs.values()).some(({ section }) => BTF_SECTIONS.has(section.kind));
    if (needsBtf) throw new BtfLoadError(new SyscallError("BPF_BTF_LOAD", -result), log);
    return undefined;
  }

  async #createMaps(
    maps: Map<string, MapData>,
    btfFd: number | undefined,
    version: KernelVersion,
  ): Promise<void> {
    const specs = Array.from(this.#spec.maps.values());
    const hasData = specs.some((spec) => spec.data !== undefined);
    if (hasData && !(await this.#features.hasGlobalData()))
      throw new MapError("Unsupported", "this kernel has no maps for .data, .rodata and .bss sections");
    let cpus: Promise<number> | undefined;
    const context = {
      sys: this.#sys,
      btfFd,
      hasNames: version.isAtLeast(4, 15),
      pinFolder: this.#options.defaultMapPinDirectory ?? "/sys/fs/bpf",
      maxEntries: new Map(Object.entries(this.#options.mapMaxEntries ?? {})),
      possibleCpus: () => (cpus ??= nrCpus(this.#sys)),
      raiseMemlock: (result: number) => raiseMemlock(this.#sys, version, result),
    };
    for (const spec of regularFirst(specs)) maps.set(spec.name, await createMap(context, spec));
  }
}

const regularFirst = (specs: readonly MapSpec[]): MapSpec[] =>
  specs.toSorted((a, b) => Number(a.inner !== undefined) - Number(b.inner !== undefined));

/** Sections whose programs cannot be loaded without BTF. */
const BTF_SECTIONS = new Set([
  "freplace",
  "fentry",
  "fentry.s",
  "fexit",
  "fexit.s",
  "lsm",
  "lsm.s",
  "lsm_cgroup",
  "tp_btf",
  "iter",
  "iter.s",
]);

function makeProgram(spec: ProgramSpec, context: ProgramContext): Program {
  const isKprobe = spec.section.kind === "kprobe" || spec.section.kind === "kretprobe";
  return isKprobe ? new KProbe(spec, context) : new Program(spec, context);
}

function refuseUnsupported(spec: ObjectSpec, options: EbpfOptions): void {
  const known = new Set<number>(Object.values(BPF_MAP_TYPE));
  for (const map of spec.maps.values()) {
    if (known.has(map.type) || options.allowUnsupportedMaps === true) continue;
    throw new MapError("Unsupported", `map ${map.name}: unknown map type ${map.type}`);
  }
}

/** Kernels before 5.11 charge maps and programs to RLIMIT_MEMLOCK and say EPERM. */
async function raiseMemlock(sys: SerialSys, version: KernelVersion, result: number): Promise<boolean> {
  if (!failedWith(result, EPERM) || version.isAtLeast(5, 11)) return false;
  const unlimited = new Uint8Array(16).fill(0xff);
  return withParts(sys, [unlimited], async ([at = 0]) => {
    return (await sys.trap(NR.prlimit64, 0, RLIMIT.MEMLOCK, at, 0)) === 0;
  });
}

const list = (names: Iterable<string>): string => Array.from(names).join(", ") || "none";

/** `make`, called when the value is first asked for. */
function once<T>(make: () => Promise<T>): () => Promise<T> {
  let value: Promise<T> | undefined;
  return () => (value ??= make());
}
