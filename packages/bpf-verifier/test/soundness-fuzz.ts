/**
 * Soundness of the whole verification: random and changed programs that are accepted run in the checked interpreter on random
 * inputs, and before every instruction the machine must be inside the state that the verifier walked there, on the path that the run
 * took. Run by `npm run fuzz -- verifier-programs --runs N --seed S --branches`; a run is one program.
 *
 * Each program is verified twice. Once states count as known only where all numbers are contained: then all live registers and all
 * slots are compared, always. Once as ever: then they are until the run comes to where a path was cut short, and behind that kinds,
 * pointers, what is held, and numbers that were marked as precise in the states that were remembered. An access that the machine
 * refuses is a failure too, and so is a way that was not walked.
 */
import { EBADF } from "@alien-ts/abi";
import { disassembleProgram } from "@alien-ts/bpf-isa";
import type { Insn } from "@alien-ts/bpf-isa";
import { RUN, describeFault } from "@alien-ts/bpf-vm";
import type { BpfProgram } from "@alien-ts/bpf-vm";
import { fuzzRuns } from "@alien-ts/testkit";
import type { FuzzOptions, FuzzReport, FuzzSuite, Prng, Reach } from "@alien-ts/testkit";
import type { ProgramEnv, WalkObserver } from "../src/env.ts";
import { linuxHelper } from "../src/linux/helpers.ts";
import { linuxKfunc } from "../src/linux/kfuncs.ts";
import { linuxProgramType } from "../src/linux/program-types.ts";
import { liveRegisters } from "../src/prune/live.ts";
import { ScalarDraft } from "../src/scalar/scalar.ts";
import type { State } from "../src/state/state.ts";
import { verifyProgram } from "../src/verify-program.ts";
import type { Verdict } from "../src/verdict.ts";
import { callsOf } from "./concrete-helpers.ts";
import { ADDRESS_HIGH, World } from "./concrete-world.ts";
import type { Calls } from "./concrete-world.ts";
import { Follower } from "./follower.ts";
import { Meaning } from "./inside.ts";
import { Interference } from "./interference.ts";
import { MAP_INFOS } from "./random-maps.ts";
import { PLANTED_BUGS } from "./planted-bugs.ts";
import { mutated, randomProgram } from "./random-program.ts";
import type { RandomProgram } from "./random-program.ts";
import { KERNEL, programBtf } from "./random-types.ts";
import { TooLarge, WalkGraph } from "./walk-graph.ts";

/** A bug for the suite to find. */
interface Bug {
  /** The program as a wrong verifier understands it. */
  readonly misread?: (insn: Insn) => Insn;
  /** What a wrong verifier does to the state before an instruction. */
  readonly distort?: (state: State, previous: Insn | undefined) => void;
}

const BUGS: Readonly<Record<string, Bug>> = {
  "less-or-equal is taken for less": {
    misread: (insn) =>
      insn.opcode === 0xb5 || insn.opcode === 0xbd ? { ...insn, opcode: insn.opcode - 0x10 } : insn,
  },
  "signed loads are taken for unsigned ones": {
    misread: (insn) =>
      [0x81, 0x89, 0x91].includes(insn.opcode) ? { ...insn, opcode: insn.opcode - 0x20 } : insn,
  },
  "sums are in the lower half of what they may be": { distort: narrowSum },
  "numbers that decided something are forgotten": { distort: forgetPrecision },
};

export const soundnessFuzz: FuzzSuite = {
  name: "verifier-programs",
  run: (options) => check({}, options),
  mutations: new Map(
    Object.entries(BUGS).map(([name, bug]) => [name, (options: FuzzOptions) => check(bug, options)]),
  ),
  planted: PLANTED_BUGS,
};

const INPUTS = 4;
/** More visits than this are left to others: runs would take too long. */
const MOST_VISITS = 2500;

function check(bug: Bug, options: FuzzOptions): FuzzReport {
  const world = new World();
  const calls = callsOf(world);
  const interference = new Interference();
  return fuzzRuns(options, (random, reach) => {
    const made = randomProgram(random);
    const program = random.oneIn(3) ? mutated(random, made) : made;
    for (const comparesAll of [true, false]) {
      const bad = checkProgram({ world, calls, interference, program, comparesAll, bug, random, reach });
      if (bad !== undefined) return bad;
    }
    return undefined;
  });
}

interface Trial {
  readonly world: World;
  readonly calls: Calls;
  readonly interference: Interference;
  readonly program: RandomProgram;
  readonly comparesAll: boolean;
  readonly bug: Bug;
  readonly random: Prng;
  readonly reach: Reach;
}

function checkProgram(trial: Trial): string | undefined {
  const { program, comparesAll, bug, random, reach } = trial;
  const { insns } = program;
  const mode = comparesAll ? "all" : "precise";
  const { distort, misread } = bug;
  const graph = new WalkGraph(
    comparesAll,
    MOST_VISITS,
    distort && ((state, previous) => distort(state, insns[previous])),
  );
  const understood = misread === undefined ? program : { ...program, insns: insns.map(misread) };
  const env = environmentOf(understood, graph, random.oneIn(2));
  const verdict = verdictOf(env);
  const loader = loaderOf(program);
  reach(`${mode}: ${verdict === undefined ? "too large" : verdict.ok ? "accepted" : "refused"}`);
  if (comparesAll) reach(`${loader}: ${verdict?.ok === true ? "accepted" : "refused"}`);
  if (verdict?.ok === false && comparesAll) reach(`refused ${loader}: ${ruleOf(verdict)}`);
  if (verdict !== undefined && isOwnBug(verdict))
    return `${ruleOf(verdict)}\n${disassembleProgram(insns).join("\n")}`;
  if (verdict?.ok !== true) return undefined;
  if (comparesAll) reachOf(program, reach);
  if (graph.prunes > 0) reach(`${mode}: with covered paths`);
  const meaning = new Meaning(trial.world, {
    insns,
    live: liveRegisters(env),
    starts: [0, ...[...program.functions.keys()].sort((a, b) => a - b)],
  });
  const isPointer = isPointerLoad(program, graph);
  const code = trial.world.executable(program, trial.calls, isPointer);
  const isSecret = !program.privileges.mayLeakPointers;
  for (let i = 0; i < INPUTS; i++) {
    const bad =
      follow(trial, code, graph, meaning) ??
      (isSecret ? trial.interference.of(program, isPointer, random.u32()) : undefined);
    if (bad !== undefined)
      return `${mode}: ${bad}\n${program.kind.name}\n${disassembleProgram(insns).join("\n")}`;
  }
  return undefined;
}

const loaderOf = ({ privileges }: RandomProgram): string =>
  privileges.mayLeakPointers ? "root" : privileges.isCapable ? "CAP_BPF" : "unprivileged";

function verdictOf(env: ProgramEnv): Verdict | undefined {
  try {
    return verifyProgram(env);
  } catch (error) {
    if (error instanceof TooLarge) return undefined;
    throw error;
  }
}

/** What Linux calls its own bugs, where programs can bring them about. */
const BUGS_OF_LINUX = ["verifier bug: backtracking misuse", "verifier bug: Couldn't find btf_record"];

function isOwnBug(verdict: Verdict): boolean {
  const message = verdict.ok ? "" : (verdict.refusal?.message ?? "");
  return message.startsWith("verifier bug: ") && !BUGS_OF_LINUX.includes(message);
}

/** The rule that was broken: the message without its numbers. */
function ruleOf(verdict: Verdict): string {
  const message = verdict.ok ? "" : (verdict.refusal?.message.split("\n").at(-1) ?? "");
  return message.replaceAll(/0x[0-9a-f]+|-?\d+/g, "N").slice(0, 70);
}

/** What accepted programs are made of: classes and operations, calls. */
function reachOf({ insns, functions }: RandomProgram, reach: Reach): void {
  const seen = new Set<string>();
  for (const { opcode, src, imm } of insns) {
    if (opcode === 0x85)
      seen.add(
        src === 0
          ? `helper ${linuxHelper(imm)?.name}`
          : src === 2
            ? `kfunc ${KERNEL.type(imm)?.name}`
            : "call",
      );
    else if ((opcode & 7) === 3 && (opcode & 0xe0) === 0xc0) seen.add(`atomic 0x${imm.toString(16)}`);
    else if ((opcode & 7) === 1 && (opcode & 0xe0) === 0x80) seen.add("signed load");
    else if (opcode === 0xe5) seen.add("may_goto");
    else if ([0x20, 0x40].includes(opcode & 0xe7)) seen.add("packet load");
  }
  for (const kind of functions.values()) seen.add(`function: ${kind}`);
  for (const name of seen) reach(`accepted with ${name}`);
}

function follow(
  { world, program, random, reach }: Trial,
  code: BpfProgram,
  graph: WalkGraph,
  meaning: Meaning,
): string | undefined {
  const { insns } = program;
  const follower = new Follower(world, graph, meaning);
  let bad: string | undefined;
  let last = -1;
  const status = world.run(code, random, {
    before: (machine, slot) => {
      if (machine.program !== code) return true;
      bad = follower.step(slot);
      last = slot;
      if (bad === undefined && insns[slot]!.opcode === MAY_GOTO && random.oneIn(4)) world.endLoop();
      return bad === undefined;
    },
  });
  reach(`run: ${Object.keys(RUN)[status]}`);
  if (bad !== undefined) return bad;
  if (world.complaint !== undefined) return `insn ${last} ${world.complaint}`;
  if (status === RUN.fault)
    return isOddSlice(world, program) ? undefined : describeFault(world.machine.fault);
  const hasEnded = status === RUN.done || world.thrown !== undefined;
  return hasEnded ? (follower.end() ?? resultOutside(world, program)) : undefined;
}

/** An atomic access of a slice that begins anywhere: to the verifier every slice is aligned, as to Linux. */
const isOddSlice = ({ machine }: World, { insns }: RandomProgram): boolean =>
  machine.fault.kind === "misaligned" &&
  insns.some(
    ({ opcode, src, imm }) => opcode === 0x85 && (src === 2 ? isSliceFunction(imm) : imm === DYNPTR_DATA),
  );
const isSliceFunction = (id: number): boolean => KERNEL.type(id)?.name.includes("slice") === true;

const MAY_GOTO = 0xe5;
const DYNPTR_DATA = 203;

function resultOutside({ machine, thrown }: World, { kind, insns }: RandomProgram): string | undefined {
  const range = linuxProgramType(kind.type, kind.attachType)!.returns;
  if (range === undefined || insns.some(({ opcode, imm }) => opcode === 0x85 && imm === TAIL_CALL))
    return undefined;
  const result = BigInt(thrown ?? machine.r0Low);
  return result >= range.min && result <= range.max ? undefined : `ends with r0 = ${result}`;
}

const TAIL_CALL = 12;

/** Loads from the context that give pointers into the packet, whatever the path. */
function isPointerLoad({ kind, insns }: RandomProgram, graph: WalkGraph): (slot: number) => boolean {
  const offsets: readonly number[] = [kind.data, kind.dataEnd, kind.dataMeta];
  const fromContext = new Set<number>();
  for (const { insn, state } of graph.visits) {
    if (state.frames.at(-1)!.registers[insns[insn]!.src]?.kind === "ctx") fromContext.add(insn);
  }
  return (slot) =>
    insns[slot]!.opcode === 0x61 && offsets.includes(insns[slot]!.off) && fromContext.has(slot);
}

export function environmentOf(
  program: RandomProgram,
  observer: WalkObserver,
  isStateFrequent: boolean,
): ProgramEnv {
  const { kind, insns, functions, privileges } = program;
  return {
    insns,
    programType: linuxProgramType(kind.type, kind.attachType)!,
    helper: (id) => linuxHelper(id, kind.type),
    kfunc: (id) => KERNEL.type(id)?.name,
    kfuncRules: linuxKfunc,
    map: (fd) => MAP_INFOS.get(fd) ?? EBADF,
    addressHigh: ADDRESS_HIGH,
    license: "GPL",
    privileges,
    log: { level: 0 },
    kernelBtf: KERNEL,
    program: programBtf(kind.name, functions),
    attach: undefined,
    isSleepable: false,
    isStrictAlignment: false,
    isAnyAlignment: false,
    isStateFrequent,
    hasFragments: false,
    cpus: 2,
    observer,
  };
}

function narrowSum(state: State, previous: Insn | undefined): void {
  if (previous?.opcode !== 0x07) return;
  const register = state.registers[previous.dst]!;
  if (!register.isScalar || register.scalar.isConst) return;
  const draft = new ScalarDraft(register.scalar);
  const { umin, umax } = register.scalar;
  draft.setUnsigned(umin, (umin + umax) / 2n);
  state.registers[previous.dst] = register.with({ scalar: draft.freeze() });
}

function forgetPrecision(state: State): void {
  for (let at = state.parent; at !== undefined; at = at.parent) {
    at.replaceAll((register) => (register.isPrecise ? register.with({ isPrecise: false }) : register));
  }
}
