/**
 * `alien verify --raw`: cases as lines of JSON in two forms, verdicts as lines of JSON. Interface: `RawVerifier`.
 *
 * A line with `load` is a program as a loader passes it; any other is an old-style case with `fixups`. A line that cannot be used
 * gives an error and the run goes on.
 */
import { BPF_PROG_F, isErr } from "@alien-ts/abi";
import type { Errno } from "@alien-ts/abi";
import { decode } from "@alien-ts/bpf-isa";
import { PRIVILEGED, UNPRIVILEGED, privilegesOf, verifyProgram } from "@alien-ts/bpf-verifier";
import type { MapInfo, Privileges, ProgramBtf, ProgramEnv } from "@alien-ts/bpf-verifier";
import type { Btf } from "@alien-ts/btf";
import { parseHex } from "../vm/hex.ts";
import { assembleBtf } from "./btf.ts";
import { environment } from "./environment.ts";
import type { Machine } from "./environment.ts";
import { FIXTURE_MAPS, kptrFields, loadedShape, mapInfo } from "./maps.ts";
import type { LoadedMap } from "./maps.ts";

export interface RawOptions extends Machine {
  /** Programs' BTF by name. */
  readonly programBtf: ReadonlyMap<string, Btf>;
}

/** What the loader of a case may do, where the line says so. */
interface Loader {
  /** No capabilities. */
  readonly unpriv?: boolean;
  /** Only these: "CAP_BPF", "CAP_PERFMON", "CAP_SYS_ADMIN", which counts as both. */
  readonly caps?: readonly string[];
}

interface Case extends Loader {
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
  readonly attach_btf_id?: number | null;
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
    const parsed = JSON.parse(line) as Case | (Loader & { readonly load: Load }) | null;
    if (typeof parsed !== "object" || parsed === null) throw new Error("expected an object");
    const machine = { ...options, privileges: loaderOf(parsed) ?? options.privileges ?? PRIVILEGED };
    const env = "load" in parsed ? loadEnv(parsed.load, machine) : caseEnv(parsed, machine);
    if (isErr(env)) return JSON.stringify({ verdict: "REJECT", errno: env.number, processed: 0, log: "" });
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

function bytes(hex: string): Uint8Array {
  const parsed = parseHex(hex);
  if (parsed === undefined) throw new Error("expected hexadecimal bytes");
  return parsed;
}

const { ANY_ALIGNMENT, STRICT_ALIGNMENT } = BPF_PROG_F;

const CAPABILITIES: readonly string[] = ["CAP_BPF", "CAP_PERFMON", "CAP_SYS_ADMIN", "CAP_NET_ADMIN"];

/** Throws where a capability is none that loading a program asks for. */
function loaderOf({ unpriv, caps }: Loader): Privileges | undefined {
  if (caps === undefined) return unpriv === true ? UNPRIVILEGED : undefined;
  for (const name of caps)
    if (!CAPABILITIES.includes(name))
      throw new Error(`caps: expected ${CAPABILITIES.join(", ")}, not ${name}`);
  const isAdmin = caps.includes("CAP_SYS_ADMIN");
  return privilegesOf({
    hasCapBpf: isAdmin || caps.includes("CAP_BPF"),
    hasCapPerfmon: isAdmin || caps.includes("CAP_PERFMON"),
  });
}

function caseEnv(given: Case, options: RawOptions): ProgramEnv | Errno {
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
      flags:
        (flags & ~3) | ((flags & 1) === 0 ? 0 : ANY_ALIGNMENT) | ((flags & 2) === 0 ? 0 : STRICT_ALIGNMENT),
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

function loadEnv(load: Load, options: RawOptions): ProgramEnv | Errno {
  const btf = load.btf === undefined || load.btf === null ? undefined : options.programBtf.get(load.btf);
  const insns = decode(bytes(load.insns)).map((insn) => ({ ...insn }));
  const maps = new Map<number, MapInfo>();
  load.maps.forEach((map, i) =>
    maps.set(map.fd, mapInfo(loadedShape(map, load.maps, btf, options.kernelBtf), i)),
  );
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
      attach: load.attach_btf_id ?? load.attach_to ?? undefined,
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
