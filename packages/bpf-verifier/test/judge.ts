/**
 * Puts programs, written as text, to the verifier: `judge(program)` is the end of its log and its errno; `testPairs` tests rules,
 * each with a program that is accepted and one that is refused. How programs are written is in test/program-text.ts.
 */
import { EBADF } from "@alien-ts/abi";
import type { Btf } from "@alien-ts/btf";
import { expect, test } from "vitest";
import type { KfuncFlag, ProgramBtf, ProgramEnv } from "../src/env.ts";
import { attachTarget } from "../src/linux/attach-target.ts";
import { linuxHelper } from "../src/linux/helpers.ts";
import { linuxKfunc } from "../src/linux/kfuncs.ts";
import { linuxProgramType } from "../src/linux/program-types.ts";
import { PRIVILEGED, UNPRIVILEGED, privilegesOf } from "../src/privileges.ts";
import type { Verdict } from "../src/verdict.ts";
import { verifyProgram } from "../src/verify-program.ts";
import { declare } from "./declare.ts";
import { KERNEL_TYPES } from "./kernel-types.ts";
import { Code, HELPERS, kernelId, known } from "./program-text.ts";
import type { Source } from "./program-text.ts";

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

/** What code is put to the verifier with. */
export interface Setting {
  readonly section: keyof typeof SECTIONS;
  /** What it is attached to: a function, tracepoint, hook or iterator of the kernel, "structure.operation" of its operations, or an id. */
  readonly to?: string | number | undefined;
  /** Declarations of the program's types and functions (test/declare.ts). */
  readonly types?: string | undefined;
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

export interface Program extends Setting, Source {
  /** The instructions that begin a line of its source. */
  readonly lines?: readonly number[];
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
  perfmon: privilegesOf({ hasCapBpf: true, hasCapPerfmon: false, hasCapNetAdmin: true }),
  bpf: UNPRIVILEGED,
};
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
  const code = new Code(program, { kernel, own });
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

function variantOf(setting: Setting & Partial<Program>, pair: Pair, variant: Variant): Program {
  const own = typeof variant === "string" ? { code: variant } : variant;
  const { code = "…" } = { ...setting, ...pair };
  const whole = code.includes("…") ? code.replace("…", own.code ?? "") : (own.code ?? code);
  return { ...setting, ...pair, ...own, code: whole };
}
