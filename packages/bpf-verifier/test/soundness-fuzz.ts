/**
 * Soundness of the whole verification: random and changed programs that are accepted run in the checked interpreter on random
 * inputs, and before every instruction the machine must be inside one of the states that the verifier walked there. Run by
 * `npm run fuzz -- verifier-programs --runs N --seed S`; a run is one program.
 *
 * Each program is verified twice. Once states count as known only where all numbers are contained: then all live registers and all
 * slots are compared. Once as ever: then kinds and offsets of pointers are compared everywhere, and numbers that were marked as
 * precise in the states that were remembered. An access that the machine refuses is a failure too.
 */
import { EBADF } from "@alien-ts/abi";
import { CALL, PSEUDO, asm, disassembleProgram } from "@alien-ts/bpf-isa";
import type { Insn } from "@alien-ts/bpf-isa";
import { RUN, describeFault } from "@alien-ts/bpf-vm";
import { BtfBuilder, BtfError, parseBtf } from "@alien-ts/btf";
import { fuzzRuns } from "@alien-ts/testkit";
import type { FuzzOptions, FuzzReport, FuzzSuite, Prng, Reach } from "@alien-ts/testkit";
import type { ProgramBtf, ProgramEnv, WalkObserver } from "../src/env.ts";
import { linuxHelper } from "../src/linux/helpers.ts";
import { linuxProgramType } from "../src/linux/program-types.ts";
import { liveRegisters } from "../src/prune/live.ts";
import { ScalarDraft } from "../src/scalar/scalar.ts";
import type { State } from "../src/state/state.ts";
import { verifyProgram } from "../src/verify-program.ts";
import { ADDRESS_HIGH, MAP_INFOS, World } from "./concrete-world.ts";
import { Meaning } from "./inside.ts";
import type { Numbers } from "./inside.ts";
import { mutated, randomProgram } from "./random-program.ts";
import { PRIVILEGED } from "../src/privileges.ts";

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
  "stores of bytes leave spilled registers whole": {
    misread: (insn) => (insn.opcode === 0x73 && insn.dst === 10 ? asm.goto(0) : insn),
  },
  "the upper bound of a sum is one too small": { distort: narrowSum },
  "numbers that decided something are forgotten": { distort: forgetPrecision },
};

export const soundnessFuzz: FuzzSuite = {
  name: "verifier-programs",
  run: (options) => check({}, options),
  mutations: new Map(
    Object.entries(BUGS).map(([name, bug]) => [name, (options: FuzzOptions) => check(bug, options)]),
  ),
};

const INPUTS = 4;
/** More states than this are left to others: runs would take too long. */
const MOST_STATES = 1500;

class TooLarge extends Error {}

function check(bug: Bug, options: FuzzOptions): FuzzReport {
  const world = new World();
  const meaning = new Meaning(world);
  return fuzzRuns(options, (random, reach) => {
    const made = randomProgram(random);
    const insns = random.oneIn(3) ? mutated(random, made) : made;
    for (const mode of ["all", "precise"] as const) {
      const bad = checkProgram({ world, meaning, insns, mode, bug, random, reach });
      if (bad !== undefined) return bad;
    }
    return undefined;
  });
}

interface Trial {
  readonly world: World;
  readonly meaning: Meaning;
  readonly insns: readonly Insn[];
  readonly mode: Numbers;
  readonly bug: Bug;
  readonly random: Prng;
  readonly reach: Reach;
}

function checkProgram(trial: Trial): string | undefined {
  const { world, insns, mode, bug, random, reach } = trial;
  const isFrequent = mode === "precise" && random.oneIn(2);
  const walked = new Walked(insns, mode, bug);
  const env = environment(bug.misread === undefined ? insns : insns.map(bug.misread), walked, isFrequent);
  try {
    const verdict = verifyProgram(env);
    reach(`${mode}: ${verdict.ok ? "accepted" : "refused"}`);
    if (!verdict.ok) return undefined;
  } catch (error) {
    if (!(error instanceof TooLarge)) throw error;
    reach(`${mode}: too large`);
    return undefined;
  }
  walked.live = liveRegisters(env);
  const program = world.executable(insns, (slot) => walked.isPointerLoad(slot));
  for (let i = 0; i < INPUTS; i++) {
    let bad: string | undefined;
    const before = (_: unknown, slot: number): boolean => {
      reach("instructions compared");
      bad = walked.compare(trial.meaning, slot);
      return bad === undefined;
    };
    const status = world.run(program, random, { before });
    if (status === RUN.fault) bad = `${describeFault(world.machine.fault)}`;
    reach(`run: ${Object.keys(RUN)[status]}`);
    if (bad !== undefined) return `${mode}: ${bad}\n${disassembleProgram(insns).join("\n")}`;
  }
  return undefined;
}

/** The states that a verification walked, by instruction. */
class Walked implements WalkObserver {
  readonly comparesAllNumbers: boolean;
  readonly #insns: readonly Insn[];
  readonly #mode: Numbers;
  readonly #bug: Bug;
  readonly #seen: State[][];
  readonly #remembered: State[][];
  /** Visits that were not remembered. */
  readonly #passed: number[];
  #count = 0;
  live: Uint16Array = new Uint16Array(0);

  constructor(insns: readonly Insn[], mode: Numbers, bug: Bug) {
    this.#insns = insns;
    this.#mode = mode;
    this.#bug = bug;
    this.comparesAllNumbers = mode === "all";
    this.#seen = insns.map(() => []);
    this.#remembered = insns.map(() => []);
    this.#passed = insns.map(() => 0);
  }

  before(state: State, insn: number): void {
    if ((this.#count += 1) > MOST_STATES) throw new TooLarge();
    this.#bug.distort?.(state, this.#insns[insn - 1]);
    this.#passed[insn]! += 1;
    const copy = state.copy();
    copy.insn = insn;
    copy.history = [];
    this.#seen[insn]!.push(copy);
  }

  /** What nobody reads is not compared either. */
  walked(forget: (state: State) => void): void {
    for (const state of [...this.#seen, ...this.#remembered].flat()) forget(state);
  }

  remembered(state: State, insn: number): void {
    this.#remembered[insn]!.push(state);
    this.#passed[insn]! -= 1;
  }

  isPointerLoad(slot: number): boolean {
    const { opcode, src, off } = this.#insns[slot]!;
    const states = this.#seen[slot]!;
    if (opcode !== 0x61 || ![76, 80, 140].includes(off) || states.length === 0) return false;
    return states.every(({ frames }) => frames.at(-1)!.registers[src]!.kind === "ctx");
  }

  /** Undefined where some state that was walked here contains the machine. */
  compare(meaning: Meaning, slot: number): string | undefined {
    const live = this.live[slot]!;
    const states = this.#seen[slot]!;
    if (states.length === 0) return `insn ${slot} was never walked`;
    const seen = nearest(states, (state) =>
      meaning.outside(state, live, this.#mode === "all" ? "all" : "none"),
    );
    if (seen !== undefined) return `insn ${slot} in none of ${states.length} states: ${seen}`;
    const remembered = this.#remembered[slot]!;
    if (this.#mode !== "precise" || this.#passed[slot]! > 0) return undefined;
    const bad = nearest(remembered, (state) => meaning.outside(state, live, "precise"));
    return bad === undefined ? undefined : `insn ${slot} in none of ${remembered.length} remembered: ${bad}`;
  }
}

/** What is wrong with the last state, where something is with all. */
function nearest<T>(states: readonly T[], outside: (state: T) => string | undefined): string | undefined {
  let bad: string | undefined;
  for (const state of states) {
    bad = outside(state);
    if (bad === undefined) return undefined;
  }
  return bad;
}

function environment(insns: readonly Insn[], observer: WalkObserver, isStateFrequent: boolean): ProgramEnv {
  return {
    insns,
    programType: linuxProgramType(3, 0)!,
    helper: linuxHelper,
    map: (fd) => MAP_INFOS.get(fd) ?? EBADF,
    addressHigh: ADDRESS_HIGH,
    license: "GPL",
    privileges: PRIVILEGED,
    log: { level: 0 },
    kernelBtf: undefined,
    program: programBtf(insns),
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

/** Every function is static: it is walked where it is called. */
function programBtf(insns: readonly Insn[]): ProgramBtf {
  const builder = new BtfBuilder();
  const number = { kind: "int", name: "int", size: 4, bits: 32, offset: 0, isSigned: true } as const;
  const int = builder.add({ ...number, isChar: false, isBool: false });
  const prototype = builder.add({ kind: "func_proto", name: "", type: int, params: [] });
  const type = builder.add({ kind: "func", name: "f", linkage: "static", type: prototype });
  const btf = parseBtf(builder.build());
  if (btf instanceof BtfError) throw btf;
  const starts = insns.flatMap((insn, i) => {
    const isCall = insn.opcode === 0x85 && insn.src === CALL.LOCAL;
    return isCall || (insn.opcode === 0x18 && insn.src === PSEUDO.FUNC) ? [i + 1 + insn.imm] : [];
  });
  const functions = [...new Set([0, ...starts])].sort((a, b) => a - b).map((insn) => ({ insn, type }));
  return { btf, functions, lines: [] };
}

function narrowSum(state: State, previous: Insn | undefined): void {
  if (previous?.opcode !== 0x07) return;
  const register = state.registers[previous.dst]!;
  if (!register.isScalar || register.scalar.isConst) return;
  const draft = new ScalarDraft(register.scalar);
  draft.setUnsigned(register.scalar.umin, register.scalar.umax - 1n);
  state.registers[previous.dst] = register.with({ scalar: draft.freeze() });
}

function forgetPrecision(state: State): void {
  for (let at = state.parent; at !== undefined; at = at.parent) {
    at.replaceAll((register) => (register.isPrecise ? register.with({ isPrecise: false }) : register));
  }
}
