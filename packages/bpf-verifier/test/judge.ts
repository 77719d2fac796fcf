/**
 * Puts programs, written as text, to the verifier: `judge(program)` is the end of its log and its errno; `testPairs` tests rules,
 * each with a program that is accepted and one that is refused.
 *
 * Code is what `assemble` reads, and
 *
 *     r1 = map NAME          a map of `MAPS`, of the program's own, or an array of one structure NAME of its types
 *     r1 = value NAME+8      the value of such an array
 *     r1 = kernel NAME       a variable or function of the kernel
 *     r1 = function NAME     the function that begins at the label
 *     call bpf_NAME          a helper
 *     call @NAME             a function of the kernel
 *     #NAME, ##NAME          the id of a type of the program, of the kernel
 *     (r1 +@NAME.MEMBER)     where the member is in a structure of the kernel
 *
 * A label that a function of the program's types has for its name begins it, `main` begins at 0; functions that are called and not
 * declared are of a type without parameters. Code that ends neither in `exit` nor in
 * `goto` ends in `out: r0 = 0; exit`.
 */
import { EBADF } from "@alien-ts/abi";
import { AssembleError, assemble } from "@alien-ts/bpf-isa";
import type { Insn } from "@alien-ts/bpf-isa";
import type { Btf, BtfKind } from "@alien-ts/btf";
import { expect, test } from "vitest";
import type { KfuncFlag, MapInfo, ProgramBtf, ProgramEnv } from "../src/env.ts";
import { attachTarget } from "../src/linux/attach-target.ts";
import { linuxHelper } from "../src/linux/helpers.ts";
import { linuxKfunc } from "../src/linux/kfuncs.ts";
import { linuxProgramType } from "../src/linux/program-types.ts";
import { PRIVILEGED, UNPRIVILEGED, privilegesOf } from "../src/privileges.ts";
import { valueFields } from "../src/value-fields.ts";
import type { Verdict } from "../src/verdict.ts";
import { verifyProgram } from "../src/verify-program.ts";
import { declare } from "./declare.ts";
import { KERNEL_TYPES } from "./kernel-types.ts";

/** Type and attach type, by the section that programs of it are in. */
const SECTIONS = {
  socket: [1, 0],
  kprobe: [2, 0],
  "kprobe.multi": [2, 42],
  "kprobe.session": [2, 56],
  tc: [3, 0],
  tracepoint: [5, 0],
  xdp: [6, 37],
  "xdp/devmap": [6, 33],
  perf_event: [7, 0],
  "cgroup_skb/ingress": [8, 0],
  "cgroup_skb/egress": [8, 1],
  "cgroup/sock_create": [9, 2],
  lwt_in: [10, 0],
  lwt_xmit: [12, 0],
  sockops: [13, 3],
  sk_skb: [14, 0],
  sk_msg: [16, 7],
  raw_tp: [17, 0],
  "cgroup/connect4": [18, 10],
  "cgroup/connect_unix": [18, 49],
  "cgroup/recvmsg_unix": [18, 51],
  flow_dissector: [22, 17],
  "cgroup/sysctl": [23, 18],
  "raw_tp.w": [24, 0],
  "cgroup/getsockopt": [25, 21],
  "cgroup/setsockopt": [25, 22],
  tp_btf: [26, 23],
  fentry: [26, 24],
  fexit: [26, 25],
  fmod_ret: [26, 26],
  iter: [26, 28],
  struct_ops: [27, 0],
  freplace: [28, 0],
  lsm: [29, 27],
  lsm_cgroup: [29, 43],
  sk_lookup: [30, 36],
  syscall: [31, 0],
  netfilter: [32, 45],
} as const satisfies Record<string, readonly [type: number, attachType: number]>;

export interface MapShape {
  /** `enum bpf_map_type` */
  readonly type: number;
  readonly keySize?: number;
  readonly valueSize?: number;
  /** The structure that its values are, of the program's types. */
  readonly value?: string;
  readonly maxEntries?: number;
  readonly flags?: number;
  readonly inner?: MapShape;
  /** Its only value, which does not change and which programs may not write: a text. */
  readonly holds?: string;
  /** What the verifier is told besides. */
  readonly more?: Partial<MapInfo>;
}

const MAPS: Record<string, MapShape> = {
  hash: { type: 1, keySize: 8, valueSize: 48 },
  array: { type: 2, valueSize: 48 },
  readonly: { type: 2, valueSize: 48, flags: 0x80 },
  writeonly: { type: 2, valueSize: 48, flags: 0x100 },
  programs: { type: 3, maxEntries: 4 },
  events: { type: 4 },
  sockets: { type: 15 },
  ringbuf: { type: 27, keySize: 0, valueSize: 0, maxEntries: 4096 },
  arena: { type: 33, keySize: 0, valueSize: 0, flags: 0x400, maxEntries: 2 },
};

/** What code is put to the verifier with. */
export interface Setting {
  readonly section: keyof typeof SECTIONS;
  /** What it is attached to: a function, tracepoint, hook or iterator of the kernel, "structure.operation" of its operations, or an id. */
  readonly to?: string | number | undefined;
  /** Declarations of the program's types and functions (test/declare.ts). */
  readonly types?: string | undefined;
  readonly maps?: Record<string, MapShape>;
  /** Declarations beside `KERNEL_TYPES`. */
  readonly kernel?: string;
  /** Flags of functions of the kernel that Linux has not. */
  readonly kfuncs?: Record<string, readonly KfuncFlag[]>;
  readonly license?: string;
  readonly isSleepable?: boolean;
  /** A capability that the loader has not, of CAP_BPF and CAP_PERFMON. */
  readonly lacks?: "bpf" | "perfmon";
  /** What else the verifier is told. */
  readonly env?: Partial<ProgramEnv>;
}

export interface Program extends Setting {
  readonly code: string;
  /** The program's functions, where they are not what labels say: instructions, and names of types. */
  readonly records?: readonly (readonly [insn: number, type: string])[];
  /** The instructions that begin a line of its source. */
  readonly lines?: readonly number[];
  /** Fields that no text gives an instruction, by its number. */
  readonly fields?: Record<number, Partial<Insn>>;
}

export interface Answer {
  /** The log at its first level, without statistics; "accepted" where that is the verdict. */
  readonly log: string;
  /** Its name; "" where there is none. */
  readonly errno: string;
  /** The statistics stand in the line of the refusal: some of Linux's messages have no line feed. */
  readonly isUnended: boolean;
}

const PRIVILEGES = {
  none: PRIVILEGED,
  perfmon: privilegesOf({ hasCapBpf: true, hasCapPerfmon: false }),
  bpf: UNPRIVILEGED,
};
const HELPERS = new Map(
  Array.from({ length: 212 }, (_, id) => [linuxHelper(id)?.name ?? "", id] as const).reverse(),
);

/** BPF_F_RDONLY_PROG */
const READ_ONLY = 0x80;
const FIRST_MAP = 0x10_0000;
const ARRAY = 2;
const ENDS = /(?:^|\n)\s*(?:\w+:\s*)?(?:exit|goto \S+)\s*$/;
const WIDE = /^\s*(?:\w+:)?\s*r\d+ = (?:0x|(?:map|value|kernel|function) |\w+\[)/;

const declared = new Map<string, Btf>();

/** A declaration is read once, and is the same types wherever it stands. */
function typesOf(text: string): Btf {
  const types = declared.get(text) ?? declare(text);
  declared.set(text, types);
  return types;
}

export const verdictOn = (program: Program): Verdict => verifyProgram(envOf(program));

/** The verifier's answer. */
export function judge(program: Program): Answer {
  const verdict = verdictOn(program);
  if (verdict.ok) return { log: "accepted", errno: "", isUnended: false };
  const log = verdict.log.replace(/processed .*\n$/, "");
  return { log: log.trimEnd(), errno: verdict.errno.name, isUnended: log !== "" && !log.endsWith("\n") };
}

function envOf(program: Program): ProgramEnv {
  const kernel = kernelOf(program);
  const own = program.types === undefined ? undefined : typesOf(withFunctions(program));
  const [type, attachType] = SECTIONS[program.section];
  const [target, index] = attachId(kernel, program, attachType);
  const attach =
    program.to === undefined ? undefined : attachTarget(kernel, { type, attachType: index }, target);
  const structure = attach?.structure === undefined ? "" : `${attach.structure}.`;
  const code = new Code(program, kernel, own);
  return {
    insns: code.insns,
    programType: linuxProgramType(type, index, `${structure}${attach?.name ?? ""}`)!,
    helper: (id) => linuxHelper(id, type),
    // A kernel without types knows no function by its type.
    ...("kernelBtf" in (program.env ?? {}) ? {} : { kfunc: (id: number) => functionName(kernel, id) }),
    kfuncRules: (name) => rulesOf(program, name),
    map: (fd) => code.maps[fd] ?? EBADF,
    addressHigh: 0xffff_8881,
    license: program.license ?? "GPL",
    privileges: PRIVILEGES[program.lacks ?? "none"],
    log: { level: 1 },
    kernelBtf: kernel,
    symbol: () => 0x4000,
    program: own === undefined ? undefined : { btf: own, functions: code.functions, lines: linesOf(program) },
    attach,
    isSleepable: program.isSleepable ?? program.section === "syscall",
    isStrictAlignment: false,
    isAnyAlignment: false,
    isStateFrequent: false,
    hasFragments: false,
    ...program.env,
  };
}

function functionName(kernel: Btf, id: number): string | undefined {
  const type = kernel.type(id);
  return type?.kind === "func" ? type.name : undefined;
}

const linesOf = ({ lines = [] }: Program): ProgramBtf["lines"] =>
  lines.map((insn, i) => ({ insn, file: "a.c", text: "x = 1;", line: i + 1 }));

/** The program's types, with those of functions that it does not declare. */
function withFunctions({ code, types = "" }: Program): string {
  const called = [...code.matchAll(/call (\w+)$|= function (\w+)/gm)].map(([, a, b]) => a ?? b ?? "");
  const isDeclared = (name: string): boolean => types.includes(` ${name}(`);
  const missing = ["main", ...called].filter((name) => !isDeclared(name) && !HELPERS.has(name));
  return [types, ...new Set(missing.map((name) => `int ${name}(void);`))].join(" ");
}

function rulesOf({ kfuncs }: Program, name: string): ReturnType<typeof linuxKfunc> {
  const flags = kfuncs?.[name];
  return flags === undefined ? linuxKfunc(name) : { flags: new Set(flags), allows: () => true };
}

/** The BTF id, and the attach type: of operations their place in the structure. */
function attachId(kernel: Btf, { section, to = "" }: Program, attachType: number): readonly [number, number] {
  if (typeof to === "number") return [to, attachType];
  if (to === "") return [0, attachType];
  if (section === "tp_btf") return [tracepoint(kernel, to), attachType];
  if (section !== "struct_ops") return [kernel.find(to, "func")!, attachType];
  const [structure = "", operation] = to.split(".");
  const id = kernel.find(structure, "struct")!;
  const index = kernel.members(id)!.findIndex(({ name }) => name === operation);
  return [id, index === -1 ? Number(operation) : index];
}

const tracepoint = (kernel: Btf, name: string): number =>
  known(
    name,
    kernel.find(`btf_trace_${name}`, "typedef") ?? kernel.find(name, "typedef") ?? kernel.find(name, "func"),
  );

/** The program's text with all names resolved. */
class Code {
  readonly maps: MapInfo[] = [];
  readonly insns: readonly Insn[];
  readonly functions: ProgramBtf["functions"];
  readonly #names: string[] = [];
  readonly #program: Program;
  readonly #kernel: Btf;
  readonly #own: Btf | undefined;

  constructor(program: Program, kernel: Btf, own: Btf | undefined) {
    this.#program = program;
    this.#kernel = kernel;
    this.#own = own;
    const { code } = program;
    const lines = (ENDS.test(code) ? code : `${code}\nout: r0 = 0\nexit`)
      .split("\n")
      .filter((line) => line.trim() !== "");
    const { starts, slots } = placesOf(lines);
    const text = lines.map((line, i) => this.#resolve(line, starts, slots[i]!)).join("\n");
    const insns = assemble(text);
    if (insns instanceof AssembleError) throw new Error(`line ${insns.line}: ${insns.message}\n${text}`);
    this.insns = insns.map((insn, i) => ({ ...insn, ...program.fields?.[i] }));
    const records =
      program.records ?? [["main", 0] as const, ...starts].map(([name, at]) => [at, name] as const);
    this.functions = records
      .map(([insn, name]) => ({ insn, type: own?.find(name, "func") ?? own?.find(name, "struct") }))
      .filter((record): record is ProgramBtf["functions"][number] => record.type !== undefined);
  }

  #resolve(line: string, starts: ReadonlyMap<string, number>, slot: number): string {
    const kernel = (name: string, ...kinds: readonly BtfKind[]): number =>
      kernelId(this.#kernel, name, ...kinds);
    return line
      .replace(/call (bpf_\w+)$/, (_, name: string) => `call ${known(name, HELPERS.get(name))}`)
      .replace(/call @(\w+)/, (_, name: string) => `call kernel-function#${kernel(name, "func")}`)
      .replace(
        /\+@(\w+)\.(\w+)/,
        (_, name: string, member: string) => `+${offsetOf(this.#kernel, name, member)}`,
      )
      .replace(/= map (\w+)/, (_, name: string) => `= map_fd[${this.#map(name)}]`)
      .replace(
        /= value (\w+)(?:\+(\d+))?/,
        (_, name: string, at = "0") => `= map_value[${this.#map(name)}][${at}]`,
      )
      .replace(/= kernel (\w+)/, (_, name: string) => `= btf_id[${kernel(name, "var", "func")}]`)
      .replace(/##(\w+)/, (_, name: string) => String(kernel(name, "struct", "func", "var")))
      .replace(/#([a-z_]\w*)$/, (_, name: string) => String(known(name, this.#own?.find(name, "struct"))))
      .replace(
        /= function (\w+)/,
        (_, name: string) => `= func[${known(name, starts.get(name)) - slot - 1}]`,
      );
  }

  #map(name: string): number {
    const found = this.#names.indexOf(name);
    if (found !== -1) return found;
    const shape = this.#program.maps?.[name] ?? MAPS[name] ?? { type: ARRAY, value: name };
    this.#names.push(name);
    this.maps.push(this.#info(shape, this.#names.length));
    return this.#names.length - 1;
  }

  #info(shape: MapShape, number: number): MapInfo {
    const { type, value, maxEntries = 1, flags = 0, keySize = 4 } = shape;
    const structure = value === undefined ? undefined : known(value, this.#own?.find(value, "struct"));
    const address = FIRST_MAP * number;
    const isAddressable = type === ARRAY && maxEntries === 1;
    const text = shape.holds === undefined ? undefined : new TextEncoder().encode(shape.holds);
    const ownSize = structure === undefined ? (shape.valueSize ?? 4) : this.#own!.sizeOf(structure)!;
    const valueSize = text?.length ?? ownSize;
    return {
      address,
      valuesAddress: isAddressable || type === 33 ? address + 0x1000 : undefined,
      name: value ?? "map",
      type,
      keySize,
      valueSize,
      maxEntries,
      flags,
      inner: shape.inner === undefined ? undefined : this.#info(shape.inner, number + 100),
      fields: structure === undefined ? [] : valueFields(this.#own!, structure, this.#kernel),
      isFrozen: false,
      constantAt: undefined,
      btf: structure === undefined ? undefined : this.#own,
      btfValueType: structure ?? 0,
      ...(text === undefined ? {} : { flags: flags | READ_ONLY, isFrozen: true, constantAt: numberIn(text) }),
      ...(type === 33 ? { addressableBytes: maxEntries * 4096 } : {}),
      ...shape.more,
    };
  }
}

function offsetOf(kernel: Btf, name: string, member: string): number {
  const members = kernel.members(kernelId(kernel, name, "struct")) ?? [];
  return known(`${name}.${member}`, members.find((entry) => entry.name === member)?.bitOffset) / 8;
}

/** Of the bytes of a value that does not change: the number of `size` bytes at `offset`. */
function numberIn(bytes: Uint8Array): NonNullable<MapInfo["constantAt"]> {
  return (offset, size) =>
    bytes.slice(offset, offset + size).reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
}

function known(name: string, id: number | undefined): number {
  if (id === undefined) throw new Error(`${name} is not declared`);
  return id;
}

interface Places {
  /** At which instruction each label stands. */
  readonly starts: ReadonlyMap<string, number>;
  /** The instruction of each line. */
  readonly slots: readonly number[];
}

/** Wide loads count twice. */
function placesOf(lines: readonly string[]): Places {
  const starts = new Map<string, number>();
  const slots: number[] = [];
  let at = 0;
  for (const line of lines) {
    const [, label, rest] = /^\s*(\w+):\s*(.*)$/.exec(line) ?? [];
    if (label !== undefined) starts.set(label, at);
    slots.push(at);
    if ((rest ?? line).trim() !== "") at += WIDE.test(line) ? 2 : 1;
  }
  return { starts, slots };
}

/** The instruction, or the lines, that two programs of a pair differ in. */
type Variant = string | Partial<Program>;

/** A rule, with a program that keeps it and one that breaks it; what is not said of them is what both have. */
export interface Pair extends Partial<Program> {
  readonly rule: string;
  /** Stands where `code` has "…"; or all of the code. */
  readonly accepted: Variant;
  readonly rejected: Variant;
  /** The end of the log. */
  readonly message: string;
  /** Its name. */
  readonly errno: string;
  /** The message has no line feed; not looked at where it is not said. */
  readonly isUnended?: boolean;
}

/** A test of each rule, of programs in this setting where they do not say otherwise. */
export function testPairs(setting: Setting & Partial<Program>, pairs: readonly Pair[]): void {
  test.each(pairs)("$rule", (pair) => {
    expect(judge(variantOf(setting, pair, pair.accepted))).toMatchObject({ log: "accepted" });
    const rejected = variantOf(setting, pair, pair.rejected);
    const { log, errno, isUnended } = judge(rejected);
    const message = messageOf(rejected, pair.message);
    expect({ log: `\n${log}`.slice(-message.length - 1), errno }).toEqual({
      log: `\n${message}`,
      errno: pair.errno,
    });
    if (pair.isUnended !== undefined) expect({ isUnended }).toEqual({ isUnended: pair.isUnended });
  });
}

/** Messages name types of the kernel as code does. */
function messageOf(program: Program, message: string): string {
  const kernel = kernelOf(program);
  return message.replaceAll(/##(\w+)/g, (_, name: string) =>
    String(kernelId(kernel, name, "struct", "func", "typedef")),
  );
}

const kernelOf = ({ kernel = "" }: Program): Btf => typesOf(KERNEL_TYPES + kernel);

const kernelId = (kernel: Btf, name: string, ...kinds: readonly BtfKind[]): number =>
  known(
    name,
    kinds.map((kind) => kernel.find(name, kind)).find((id) => id !== undefined),
  );

function variantOf(setting: Setting & Partial<Program>, pair: Pair, variant: Variant): Program {
  const own = typeof variant === "string" ? { code: variant } : variant;
  const { code = "…" } = { ...setting, ...pair };
  const whole = code.includes("…") ? code.replace("…", own.code ?? "") : (own.code ?? code);
  return { ...setting, ...pair, ...own, code: whole };
}
