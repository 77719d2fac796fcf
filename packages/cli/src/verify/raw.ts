/**
 * `alien verify --raw`: cases as lines of JSON in two forms (`cases.ts`), verdicts as lines of JSON. Interface: `verifyLine`.
 *
 * A line with `load` is a program as a loader passes it; any other is an old-style case with `fixups`. A line that cannot be used
 * gives an error and the run goes on.
 */
import { BPF_PROG_F, BPF_PROG_TYPE, EINVAL, isErr } from "@alien-ts/abi";
import type { Errno } from "@alien-ts/abi";
import { decode } from "@alien-ts/bpf-isa";
import { PRIVILEGED, UNPRIVILEGED, privilegesOf, verifyProgram } from "@alien-ts/bpf-verifier";
import type { MapInfo, Privileges, ProgramBtf, ProgramEnv } from "@alien-ts/bpf-verifier";
import { BtfError } from "@alien-ts/btf";
import type { Btf } from "@alien-ts/btf";
import { assembleBtf } from "./btf.ts";
import { parseLine } from "./cases.ts";
import type { Case, Load } from "./cases.ts";
import { environment } from "./environment.ts";
import type { Machine, Parts } from "./environment.ts";
import { FIXTURE_MAPS, kptrFields, loadedShape, mapInfo } from "./maps.ts";

export interface RawOptions extends Machine {
  /** Programs' types by name, or why they are none. */
  readonly programBtf: ReadonlyMap<string, Btf | BtfError>;
}

/** The answer to one line, as JSON. */
export function verifyLine(text: string, options: RawOptions): string {
  try {
    const line = parseLine(text);
    const given = "load" in line ? line.load : line.case;
    const machine = { ...options, privileges: loaderOf(given) ?? options.privileges ?? PRIVILEGED };
    const env = "load" in line ? loadEnv(line.load, machine) : caseEnv(line.case, machine);
    if (isErr(env)) return JSON.stringify({ verdict: "REJECT", errno: env.number, processed: 0, log: "" });
    const verdict = verifyProgram(env);
    return JSON.stringify({
      verdict: verdict.ok ? "ACCEPT" : "REJECT",
      errno: verdict.ok ? 0 : verdict.errno.number,
      processed: verdict.processed,
      log: verdict.log,
    });
  } catch (error) {
    return lineError(error instanceof Error ? error.message : String(error));
  }
}

/** The answer to a line that cannot be used. */
export const lineError = (error: string): string => JSON.stringify({ error });

const { ANY_ALIGNMENT, STRICT_ALIGNMENT } = BPF_PROG_F;

const CAPABILITIES: readonly string[] = ["CAP_BPF", "CAP_PERFMON", "CAP_SYS_ADMIN", "CAP_NET_ADMIN"];

/** Throws where a capability is none that loading a program asks for. */
function loaderOf({ unpriv, caps }: Case | Load): Privileges | undefined {
  if (caps === undefined) return unpriv === true ? UNPRIVILEGED : undefined;
  for (const name of caps)
    if (!CAPABILITIES.includes(name))
      throw new Error(`caps: expected ${CAPABILITIES.join(", ")}, not ${name}`);
  const isAdmin = caps.includes("CAP_SYS_ADMIN");
  return privilegesOf({
    hasCapBpf: isAdmin || caps.includes("CAP_BPF"),
    hasCapPerfmon: isAdmin || caps.includes("CAP_PERFMON"),
    hasCapNetAdmin: isAdmin || caps.includes("CAP_NET_ADMIN"),
  });
}

function caseEnv(given: Case, options: RawOptions): ProgramEnv | Errno {
  const insns = decode(given.insns).map((insn) => ({ ...insn }));
  const maps = new Map<number, MapInfo>();
  let fd = 3;
  for (const [kind, places] of given.fixups) {
    const shape = FIXTURE_MAPS[kind];
    if (shape === undefined) throw new Error(`fixups: '${kind}' is not a kind of map`);
    const fields = kind === "map_kptr" ? kptrFields(options.kernelBtf) : shape.fields;
    const typed =
      fields === undefined ? {} : { fields, btf: assembleBtf(new Uint8Array(0), new Uint8Array(1)) };
    maps.set(fd, mapInfo({ ...shape, ...typed }, fd));
    for (const place of places) insns[place] = { ...insns[place]!, imm: fd };
    fd += 1;
  }
  for (const [place, kfunc] of given.kfuncs)
    insns[place] = { ...insns[place]!, imm: options.kernelBtf?.find(kfunc, "func") ?? 0 };
  const { flags } = given;
  return kernelEnv(
    {
      insns,
      type: given.type,
      attachType: given.attachType,
      flags:
        (flags & ~3) | ((flags & 1) === 0 ? 0 : ANY_ALIGNMENT) | ((flags & 2) === 0 ? 0 : STRICT_ALIGNMENT),
      license: "GPL",
      maps,
      program: caseBtf(given),
      attach: given.attach,
    },
    options,
  );
}

function caseBtf({ types, strings, functions }: Case): ProgramBtf | undefined {
  if (types.length === 0) return undefined;
  const records = functions.map(([insn, type]) => ({ insn, type }));
  return { btf: assembleBtf(types, strings), functions: records, lines: [] };
}

function loadEnv(load: Load, options: RawOptions): ProgramEnv | Errno {
  const { kernelBtf } = options;
  const btf = btfOf(load.btf, options);
  const insns = decode(load.insns).map((insn) => ({ ...insn }));
  const maps = new Map<number, MapInfo>();
  load.maps.forEach((map, i) => maps.set(map.fd, mapInfo(loadedShape(map, load.maps, btf, kernelBtf), i)));
  for (const [place, fd] of load.mapRefs) insns[place] = { ...insns[place]!, imm: fd };
  for (const [place, symbol] of load.symbols) {
    const id = kernelBtf?.find(symbol, "func") ?? kernelBtf?.find(symbol, "var") ?? 0;
    insns[place] = { ...insns[place]!, imm: id };
  }
  return kernelEnv(
    {
      insns,
      type: load.type,
      attachType: load.attachType,
      flags: load.flags,
      license: load.license,
      maps,
      program: btf === undefined ? undefined : programBtf(load, btf),
      attach: load.attach,
    },
    options,
  );
}

/** Types of programs that kernels are built with or without, by a function of theirs. */
const OPTIONAL_TYPES: Readonly<Record<number, string>> = {
  [BPF_PROG_TYPE.LIRC_MODE2]: "lirc_mode2_is_valid_access",
};

/** As a kernel with these types answers, which tell what it was built with. */
function kernelEnv(parts: Parts, options: RawOptions): ProgramEnv | Errno {
  const own = OPTIONAL_TYPES[parts.type];
  if (own !== undefined && options.kernelBtf?.find(own, "func") === undefined) return EINVAL;
  return environment(parts, options);
}

/** The types of this name. Without any file of types, programs are judged as if they had none. */
function btfOf(name: string | undefined, { programBtf: all }: RawOptions): Btf | undefined {
  if (name === undefined || all.size === 0) return undefined;
  const found = all.get(name);
  if (found === undefined) throw new Error(`load.btf: no types are called '${name}'`);
  if (found instanceof BtfError) throw new Error(`load.btf: '${name}': ${found.message}`);
  return found;
}

function programBtf({ functions, lines }: Load, btf: Btf): ProgramBtf {
  return {
    btf,
    functions: functions.map(([insn = 0, type = 0]) => ({ insn, type })),
    lines: lines.map(([insn = 0, file = 0, text = 0, at = 0]) => ({
      insn,
      file: btf.string(file) ?? "",
      text: btf.string(text) ?? "",
      line: at >>> 10,
    })),
  };
}
