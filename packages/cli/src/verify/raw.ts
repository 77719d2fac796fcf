/**
 * `alien verify --raw`: cases as lines of JSON in two forms, verdicts as lines of JSON. Interface: `RawVerifier`.
 *
 * A line with `load` is a program as a loader passes it; any other is an old-style case with `fixups`. A line that cannot be used
 * gives an error and the run goes on.
 */
import { EBADF } from "@alien-ts/abi";
import { decode } from "@alien-ts/bpf-isa";
import type { Insn } from "@alien-ts/bpf-isa";
import { linuxHelper, linuxKfunc, linuxProgramType, verifyProgram } from "@alien-ts/bpf-verifier";
import type { AttachTarget, MapInfo, ProgramBtf, ProgramEnv } from "@alien-ts/bpf-verifier";
import type { Btf } from "@alien-ts/btf";
import { assembleBtf } from "./btf.ts";
import { FIXTURE_MAPS, kptrFields, loadedShape, mapInfo } from "./maps.ts";
import type { LoadedMap } from "./maps.ts";

const FLAG = { STRICT: 1, ANY: 2, STATE_FREQUENT: 8, SLEEPABLE: 16, FRAGMENTS: 32 } as const;

/** Characters of a log that are printed: its end. */
const KEPT_LOG = 4 << 20;

/** Where functions of the kernel are; variables have no addresses, as in kernels that keep no symbols for them. */
const FUNCTIONS = 0x2000_0000;

/** Processors of the machine that programs are judged for. */
const CPUS = 2;

export interface RawOptions {
  readonly kernelBtf: Btf | undefined;
  /** Programs' BTF by name. */
  readonly programBtf: ReadonlyMap<string, Btf>;
  readonly logLevel: number;
}

interface Case {
  readonly insns: string;
  readonly prog_type: number;
  readonly expected_attach_type?: number;
  readonly flags?: number;
  readonly fixups?: Record<string, readonly number[]>;
  readonly fixup_kfunc?: readonly { readonly insn: number; readonly kfunc: string }[];
  readonly attach_func?: string | null;
  readonly btf_types?: string | null;
  readonly btf_strings?: string | null;
  readonly func_info?: readonly (readonly [number, number])[] | null;
}

interface Load {
  readonly prog_type: number;
  readonly expected_attach_type: number;
  readonly prog_flags: number;
  readonly license: string;
  readonly insns: string;
  readonly attach_to?: string | null;
  readonly func_info?: string | null;
  readonly func_info_rec_size?: number;
  readonly line_info?: string | null;
  readonly line_info_rec_size?: number;
  readonly btf?: string | null;
  readonly maps: readonly LoadedMap[];
  readonly map_refs: Record<string, number>;
  readonly btf_ids?: Record<string, string>;
}

/** The answer to one line, as JSON. */
export function verifyLine(line: string, options: RawOptions): string {
  try {
    const parsed = JSON.parse(line) as Case | { readonly load: Load };
    const env = "load" in parsed ? loadEnv(parsed.load, options) : caseEnv(parsed, options);
    const verdict = verifyProgram(env);
    return JSON.stringify({
      verdict: verdict.ok ? "ACCEPT" : "REJECT",
      errno: verdict.ok ? 0 : verdict.errno.number,
      processed: verdict.processed,
      log: verdict.log,
    });
  } catch (error) {
    return JSON.stringify({ error: error instanceof Error ? error.message : String(error) });
  }
}

interface Parts {
  readonly insns: readonly Insn[];
  readonly type: number;
  readonly attachType: number;
  readonly flags: number;
  readonly license: string;
  readonly maps: ReadonlyMap<number, MapInfo>;
  readonly program: ProgramBtf | undefined;
  readonly attach: string | undefined;
}

function environment(parts: Parts, options: RawOptions): ProgramEnv {
  const { kernelBtf } = options;
  const attach = parts.attach === undefined ? undefined : attachTarget(kernelBtf, parts);
  const operation = attach?.structure === undefined ? undefined : `${attach.structure}.${attach.name}`;
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
    isCapable: true,
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
    mayLeakPointers: true,
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

const bytes = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, "hex"));

function caseEnv(given: Case, options: RawOptions): ProgramEnv {
  const insns = decode(bytes(given.insns)).map((insn) => ({ ...insn }));
  const maps = new Map<number, MapInfo>();
  let fd = 3;
  for (const [kind, places] of Object.entries(given.fixups ?? {})) {
    const shape = FIXTURE_MAPS[kind];
    if (shape === undefined) throw new Error(`'${kind}' is not a kind of map`);
    const fields = kind === "map_kptr" ? kptrFields(options.kernelBtf) : shape.fields;
    const typed =
      fields === undefined ? {} : { fields, btf: assembleBtf(new Uint8Array(0), new Uint8Array(1)) };
    maps.set(fd, mapInfo({ ...shape, ...typed }, fd));
    for (const place of places) insns[place] = { ...insns[place]!, imm: fd };
    fd += 1;
  }
  for (const { insn, kfunc } of given.fixup_kfunc ?? []) {
    const id = options.kernelBtf?.find(kfunc, "func") ?? 0;
    insns[insn] = { ...insns[insn]!, imm: id };
  }
  const flags = given.flags ?? 0;
  return environment(
    {
      insns,
      type: given.prog_type,
      attachType: given.expected_attach_type ?? 0,
      flags: (flags & ~3) | ((flags & 1) === 0 ? 0 : FLAG.ANY) | ((flags & 2) === 0 ? 0 : FLAG.STRICT),
      license: "GPL",
      maps,
      program: caseBtf(given),
      attach: given.attach_func ?? undefined,
    },
    options,
  );
}

function caseBtf({ btf_types: types, btf_strings: strings, func_info: info }: Case): ProgramBtf | undefined {
  if (types === undefined || types === null || types === "") return undefined;
  const functions = (info ?? []).map(([insn, type]) => ({ insn, type }));
  return { btf: assembleBtf(bytes(types), bytes(strings ?? "00")), functions, lines: [] };
}

function loadEnv(load: Load, options: RawOptions): ProgramEnv {
  const btf = load.btf === undefined || load.btf === null ? undefined : options.programBtf.get(load.btf);
  const insns = decode(bytes(load.insns)).map((insn) => ({ ...insn }));
  const maps = new Map<number, MapInfo>();
  load.maps.forEach((map, i) => maps.set(map.fd, mapInfo(loadedShape(map, load.maps, btf), i)));
  for (const [place, fd] of Object.entries(load.map_refs))
    insns[Number(place)] = { ...insns[Number(place)]!, imm: fd };
  for (const [place, symbol] of Object.entries(load.btf_ids ?? {})) {
    const { kernelBtf } = options;
    const id = kernelBtf?.find(symbol, "func") ?? kernelBtf?.find(symbol, "var") ?? 0;
    insns[Number(place)] = { ...insns[Number(place)]!, imm: id };
  }
  return environment(
    {
      insns,
      type: load.prog_type,
      attachType: load.expected_attach_type,
      flags: load.prog_flags,
      license: load.license,
      maps,
      program: btf === undefined ? undefined : programBtf(load, btf),
      attach: load.attach_to ?? undefined,
    },
    options,
  );
}

function programBtf(load: Load, btf: Btf): ProgramBtf {
  const functions = records(load.func_info, load.func_info_rec_size ?? 8).map(([insn = 0, type = 0]) => ({
    insn,
    type,
  }));
  const lines = records(load.line_info, load.line_info_rec_size ?? 16).map(
    ([insn = 0, file = 0, text = 0, at = 0]) => ({
      insn,
      file: btf.string(file) ?? "",
      text: btf.string(text) ?? "",
      line: at >>> 10,
    }),
  );
  return { btf, functions, lines };
}

/** Records of 32-bit words. */
function records(hex: string | null | undefined, size: number): number[][] {
  if (hex === null || hex === undefined || size < 4) return [];
  const data = bytes(hex);
  const view = new DataView(data.buffer);
  const found: number[][] = [];
  for (let at = 0; at + size <= data.length; at += size) {
    const words: number[] = [];
    for (let word = 0; word + 4 <= size; word += 4) words.push(view.getUint32(at + word, true));
    found.push(words);
  }
  return found;
}
