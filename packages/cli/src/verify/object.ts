/**
 * `alien verify FILE.bpf.o`: the programs of an object file as a loader would pass them, and what the verifier says of each.
 *
 * Maps exist as descriptions only; the contents of `.rodata` are known, as they are after a loader froze the map.
 * CO-RE relocations and externs are resolved with the kernel's types.
 */
import { isErr } from "@alien-ts/abi";
import type { Insn } from "@alien-ts/bpf-isa";
import { valueFields, verifyWithReport } from "@alien-ts/bpf-verifier";
import type { MapInfo, ProgramBtf, Report } from "@alien-ts/bpf-verifier";
import { BtfError, parseBtf } from "@alien-ts/btf";
import type { Btf } from "@alien-ts/btf";
import { applyCore, fixupBtf, linkProgram, needsCore, parseObject, resolveExterns } from "aya-ts";
import type { MapSpec, ObjectSpec, ProgramSpec } from "aya-ts";
import { environment } from "./environment.ts";
import type { Machine } from "./environment.ts";
import { mapInfo } from "./maps.ts";
import type { MapShape } from "./maps.ts";

export interface ProgramVerdict {
  readonly program: string;
  readonly section: string;
  readonly isAccepted: boolean;
  /** Instructions of the program, and those that were walked. */
  readonly insns: number;
  readonly processed: number;
  readonly log: string;
  readonly report: Report | undefined;
}

/** BPF_F_RDONLY_PROG */
const READ_ONLY = 0x80;

/**
 * The verdicts on all programs of the object, or on the one called `only`. Throws where the object cannot be used: it is none, it
 * has no such program, or something in it cannot be resolved.
 */
export function verifyObject(
  bytes: Uint8Array,
  only: string | undefined,
  machine: Machine,
): ProgramVerdict[] {
  const spec = withLoadedBtf(resolved(parseObject(bytes), machine.kernelBtf));
  const programs = [...spec.programs.values()].filter(({ name }) => only === undefined || name === only);
  if (programs.length === 0) {
    const known = [...spec.programs.keys()].join(", ");
    throw new Error(
      only === undefined ? "the object has no program" : `no program ${only}; the object has ${known}`,
    );
  }
  const maps = describeMaps(spec, machine.kernelBtf);
  return programs.map((program) => verifyOne(spec, program, maps, machine));
}

/** KERNEL_VERSION code of the Linux whose verdicts are given. */
const VERSION = 0x06_12_00;

/** Where symbols without a type are: a verdict does not depend on it. */
const SYMBOL = 0xffff_ffff_8100_0000n;

function resolved(spec: ObjectSpec, types: Btf | undefined): ObjectSpec {
  if (types === undefined) {
    if (needsCore(spec))
      throw new Error("the object has CO-RE relocations: give the kernel's types with --btf FILE");
    return spec;
  }
  return resolveExterns(applyCore(spec, types), { types, version: VERSION, address: () => SYMBOL });
}

/** The types as a kernel is given them. */
function withLoadedBtf(spec: ObjectSpec): ObjectSpec {
  if (spec.btf === undefined) return spec;
  const btf = parseBtf(fixupBtf(spec.btf, spec.dataLayout, new Map()));
  if (btf instanceof BtfError) throw btf;
  return { ...spec, btf };
}

interface Maps {
  readonly numbers: ReadonlyMap<string, number>;
  readonly infos: ReadonlyMap<number, MapInfo>;
}

function describeMaps(spec: ObjectSpec, kernelBtf: Btf | undefined): Maps {
  const numbers = new Map<string, number>();
  const infos = new Map<number, MapInfo>();
  for (const map of spec.maps.values()) {
    const number = numbers.size + 1;
    numbers.set(map.name, number);
    infos.set(number, mapInfo(shapeOf(map, spec.btf, kernelBtf), number));
  }
  return { numbers, infos };
}

function shapeOf(map: MapSpec, btf: Btf | undefined, kernelBtf: Btf | undefined): MapShape {
  const isReadOnly = map.data?.kind === "rodata";
  const hasType = btf !== undefined && map.valueTypeId !== 0;
  return {
    type: map.type,
    key: map.keySize,
    value: map.valueSize,
    entries: map.maxEntries,
    flags: isReadOnly ? map.flags | READ_ONLY : map.flags,
    // Loaders cut names to what the kernel keeps.
    name: map.name.slice(0, 15),
    isFrozen: isReadOnly,
    ...(map.inner === undefined ? {} : { inner: shapeOf(map.inner, btf, kernelBtf) }),
    ...(hasType
      ? { btf, valueType: map.valueTypeId, fields: valueFields(btf, map.valueTypeId, kernelBtf) }
      : {}),
    ...(isReadOnly && map.data !== undefined ? { content: map.data.bytes } : {}),
  };
}

function verifyOne(spec: ObjectSpec, program: ProgramSpec, maps: Maps, machine: Machine): ProgramVerdict {
  const { section } = program;
  const linked = linkProgram(spec, program.function, (name) => maps.numbers.get(name) ?? -1);
  const env = environment(
    {
      insns: linked.insns,
      type: section.type,
      attachType: section.expectedAttachType,
      flags: section.flags,
      license: spec.license,
      maps: maps.infos,
      program: spec.btf === undefined ? undefined : programBtf(spec.btf, linked),
      attach: section.target === "" ? undefined : section.target,
    },
    machine,
  );
  if (isErr(env)) throw new Error(`program ${program.name}: no kernel loads its type, ${section.type}`);
  const { verdict, report } = verifyWithReport(env);
  return {
    program: program.name,
    section: program.function.sectionName,
    isAccepted: verdict.ok,
    insns: linked.insns.length,
    processed: verdict.processed,
    log: verdict.log,
    report,
  };
}

interface Linked {
  readonly insns: readonly Insn[];
  readonly funcInfo: readonly { readonly offset: number; readonly typeId: number }[];
  readonly lineInfo: readonly {
    readonly offset: number;
    readonly fileNameOffset: number;
    readonly lineOffset: number;
    readonly lineColumn: number;
  }[];
}

function programBtf(btf: Btf, { funcInfo, lineInfo }: Linked): ProgramBtf {
  return {
    btf,
    functions: funcInfo.map(({ offset, typeId }) => ({ insn: offset, type: typeId })),
    lines: lineInfo.map(({ offset, fileNameOffset, lineOffset, lineColumn }) => ({
      insn: offset,
      file: btf.string(fileNameOffset) ?? "",
      text: btf.string(lineOffset) ?? "",
      line: lineColumn >>> 10,
    })),
  };
}
