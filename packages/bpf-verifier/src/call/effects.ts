/** What a function of the program may do, by itself or in what it calls. Linux: mark_subprog_might_sleep() and its like. */
import { CALL, PSEUDO } from "@alien-ts/bpf-isa";
import { isLocalCall, subprogramAt } from "../cfg.ts";
import type { ProgramEnv } from "../env.ts";
import type { Subprogram } from "../state.ts";
import { HELPER } from "./callback-kinds.ts";
import { calledKfunc } from "./kfunc/facts.ts";

export interface Effects {
  mightSleep: boolean;
  /** Packet pointers are no longer valid behind it. */
  changesPacket: boolean;
  mightThrow: boolean;
}

const EFFECTS = ["mightSleep", "changesPacket", "mightThrow"] as const;

const known = new WeakMap<ProgramEnv, readonly Effects[]>();

/** By number of the function. */
export function effectsOf(env: ProgramEnv, subprograms: readonly Subprogram[]): readonly Effects[] {
  let effects = known.get(env);
  if (effects === undefined) known.set(env, (effects = compute(env, subprograms)));
  return effects;
}

function compute(env: ProgramEnv, subprograms: readonly Subprogram[]): readonly Effects[] {
  const effects = subprograms.map((subprogram) => own(env, subprogram));
  const callees = calleesOf(env, subprograms);
  for (let changed = true; changed;) {
    changed = false;
    for (const [number, list] of callees.entries()) {
      const mine = effects[number]!;
      for (const callee of list) {
        const theirs = effects[callee];
        if (theirs === undefined) continue;
        for (const effect of EFFECTS) {
          if (!theirs[effect] || mine[effect]) continue;
          mine[effect] = true;
          changed = true;
        }
      }
    }
  }
  return effects;
}

function own(env: ProgramEnv, { start, end }: Subprogram): Effects {
  const effects: Effects = { mightSleep: false, changesPacket: false, mightThrow: false };
  for (const insn of env.insns.slice(start, end)) {
    if (insn.opcode !== 0x85) continue;
    if (insn.src === CALL.HELPER) {
      const prototype = env.helper(insn.imm);
      effects.mightSleep ||= prototype?.mightSleep === true;
      effects.changesPacket ||= prototype?.changesPacket === true || insn.imm === HELPER.tail_call;
    } else if (insn.src === CALL.KFUNC) {
      const name = calledKfunc(env, insn) ?? "";
      effects.mightSleep ||= env.kfuncRules?.(name)?.flags.has("sleepable") === true;
      effects.changesPacket ||= name === "bpf_xdp_pull_data";
      effects.mightThrow ||= name === "bpf_throw";
    }
  }
  return effects;
}

/** The functions that each function calls or names, in order, each once. */
function calleesOf({ insns }: ProgramEnv, subprograms: readonly Subprogram[]): readonly number[][] {
  return subprograms.map(({ start, end }) => {
    const found = new Set<number>();
    for (let i = start; i < end; i++) {
      const insn = insns[i]!;
      if (isLocalCall(insn) || (insn.opcode === 0x18 && insn.src === PSEUDO.FUNC))
        found.add(subprogramAt(subprograms, i + 1 + insn.imm));
    }
    return [...found];
  });
}
