/** What the checks of one verification share: the program as it is rewritten, its functions, the maps it uses. */
import { VerifierLog } from "./log.ts";
import type { Insn } from "@alien-ts/bpf-isa";
import type { VerifierEnv } from "./env.ts";

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
  subprograms: readonly Subprogram[] = [];
  readonly usedMapFds: number[] = [];
  /** Instructions checked so far. */
  processed = 0;

  constructor(env: VerifierEnv) {
    this.env = env;
    this.log = new VerifierLog(env.log);
    this.insns = [...env.insns];
  }
}
