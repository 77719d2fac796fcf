/**
 * Secrecy: what a program does whose loader may not know addresses must not depend on them. It runs twice with the same inputs, in
 * two worlds where everything has another address and where other numbers lie about; the ways that it takes, its result, and all
 * that others can see of its work are the same.
 */
import { Prng } from "@alien-ts/testkit";
import { RUN } from "@alien-ts/bpf-vm";
import type { RunStatus } from "@alien-ts/bpf-vm";
import { callsOf } from "./concrete-helpers.ts";
import { ELSEWHERE, World } from "./concrete-world.ts";
import type { Calls } from "./concrete-world.ts";
import type { RandomProgram } from "./random-program.ts";

interface Outcome {
  readonly status: RunStatus;
  readonly way: readonly number[];
  readonly result: readonly [low: number, high: number];
  readonly seen: number;
}

export class Interference {
  readonly #worlds: readonly (readonly [World, Calls])[];

  constructor() {
    const worlds = [new World(), new World(ELSEWHERE)];
    this.#worlds = worlds.map((world) => [world, callsOf(world)]);
  }

  /** What differs, if anything does. */
  of(program: RandomProgram, isPointerLoad: (slot: number) => boolean, seed: number): string | undefined {
    const outcomes = this.#worlds.map(([world, calls]) =>
      outcomeIn(world, calls, program, isPointerLoad, seed),
    );
    const [here, there] = outcomes as [Outcome, Outcome];
    const parting = here.way.findIndex((slot, i) => there.way[i] !== slot);
    if (parting >= 0)
      return `goes another way behind insn ${here.way[parting - 1]} where addresses are others`;
    if (here.status !== there.status) return `ends as ${here.status}, and as ${there.status}`;
    const isDone = here.status === RUN.done;
    if (isDone && here.result.some((word, i) => word !== there.result[i]))
      return `gives ${hex(here.result)}, and ${hex(there.result)} where addresses are others`;
    return here.seen === there.seen ? undefined : "leaves something else where addresses are others";
  }
}

const hex = ([low, high]: Outcome["result"]): string =>
  `0x${((BigInt(high >>> 0) << 32n) | BigInt(low >>> 0)).toString(16)}`;

function outcomeIn(
  world: World,
  calls: Calls,
  program: RandomProgram,
  isPointerLoad: (slot: number) => boolean,
  seed: number,
): Outcome {
  const code = world.executable(program, calls, isPointerLoad);
  const way: number[] = [];
  const { machine } = world;
  const status = world.run(code, new Prng(seed), {
    before: (_, slot) => {
      if (machine.program === code) way.push(slot);
      return true;
    },
  });
  return { status, way, result: [machine.r0Low, machine.r0High], seen: world.outcome() };
}
