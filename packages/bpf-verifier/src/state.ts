/** What the checks of one verification share: the program as it is rewritten, its functions, the maps it uses. */
import { PSEUDO } from "@alien-ts/bpf-isa";
import { VerifierLog } from "./log.ts";
import type { Insn } from "@alien-ts/bpf-isa";
import type { ProgramEnv, VerifierEnv } from "./env.ts";

export interface Subprogram {
  /** Slot of its first instruction, and the one after its last. */
  readonly start: number;
  readonly end: number;
}

export class Verification {
  readonly env: VerifierEnv;
  readonly log: VerifierLog;
  /** The program; map references become addresses as they are resolved. */
  readonly insns: Insn[];
  #printed: readonly Insn[] | undefined;
  subprograms: readonly Subprogram[] = [];
  /** Number of the function that runs when the program throws; 0 for none. */
  exceptionCallback = 0;
  readonly usedMapFds: number[] = [];
  /** Instructions checked so far. */
  processed = 0;

  constructor(env: VerifierEnv) {
    this.env = env;
    this.log = new VerifierLog(env.log);
    this.insns = [...env.insns];
  }

  /** The program as logs show it, once its maps are resolved: their addresses are not for everyone. Linux: print_bpf_insn() */
  get printed(): readonly Insn[] {
    if (this.env.privileges.mayLeakPointers) return this.insns;
    this.#printed ??= this.insns.map((insn, i) =>
      isMapLoad(this.env.insns[i]!) || isMapLoad(this.env.insns[i - 1]) ? { ...insn, imm: 0 } : insn,
    );
    return this.#printed;
  }
}

const WIDE_LOAD = 0x18;
const isMapLoad = (insn: Insn | undefined): boolean =>
  insn?.opcode === WIDE_LOAD && (insn.src === PSEUDO.MAP_FD || insn.src === PSEUDO.MAP_VALUE);

/** Whether function `number` is verified by itself, from its BTF prototype. */
export function isGlobal(env: ProgramEnv, subprograms: readonly Subprogram[], number: number): boolean {
  const { program } = env;
  const start = subprograms[number]?.start;
  const info = program?.functions.find(({ insn }) => insn === start);
  if (program === undefined || info === undefined) return false;
  const type = program.btf.type(info.type);
  return type?.kind === "func" && type.linkage === "global";
}

/** The name of function `number`, or "". */
export function functionName(env: ProgramEnv, subprograms: readonly Subprogram[], number: number): string {
  const start = subprograms[number]?.start;
  const info = env.program?.functions.find(({ insn }) => insn === start);
  return info === undefined ? "" : (env.program?.btf.type(info.type)?.name ?? "");
}
