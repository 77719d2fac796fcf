/**
 * Whether what a machine holds lies inside a state of the verifier: the meaning of a state, written down once.
 *
 * `isInside` looks at live registers, at all stack slots, and at what ids promise (equal numbers, same distance). With `numbers`
 * "precise", numbers that decided nothing mean nothing.
 */
import { FRAME_BYTES } from "@alien-ts/bpf-isa";
import { zeroExtend } from "../src/scalar/scalar.ts";
import type { Register } from "../src/state/register.ts";
import type { StackSlot } from "../src/state/stack.ts";
import { fits } from "../src/scalar/fuzz.ts";
import { CONTEXT, STACK_TOP, elementsOf } from "./concrete-world.ts";
import type { World } from "./concrete-world.ts";

/** A state as it was when it was seen. */
export interface Snapshot {
  readonly frames: readonly {
    readonly registers: readonly Register[];
    readonly stack: readonly StackSlot[];
  }[];
}

export type Numbers = "all" | "precise" | "none";

export class Meaning {
  readonly #world: World;
  readonly #high: bigint;

  constructor(world: World) {
    this.#world = world;
    this.#high = BigInt(world.machine.memory.baseHi) << 32n;
  }

  /** Undefined where the machine is inside `state`, else what is outside. */
  outside(state: Snapshot, live: number, numbers: Numbers): string | undefined {
    const { machine } = this.#world;
    if (state.frames.length !== machine.depth + 1)
      return `${state.frames.length} frames, ${machine.depth + 1} in use`;
    const ids = new Map<number, bigint>();
    const top = state.frames[state.frames.length - 1]!;
    for (let number = 0; number <= 10; number++) {
      if ((live & (1 << number)) === 0 && number !== 10) continue;
      const value =
        (BigInt(machine.regs[2 * number + 1]! >>> 0) << 32n) | BigInt(machine.regs[2 * number]! >>> 0);
      const register = top.registers[number]!;
      if (!this.#holds(register, value, numbers)) return `r${number} = 0x${value.toString(16)}`;
      if (!this.#agrees(register, value, numbers, ids)) return `r${number} = 0x${value.toString(16)}, its id`;
    }
    for (let frame = 0; frame < state.frames.length; frame++) {
      const { stack } = state.frames[frame]!;
      const base = STACK_TOP - frame * FRAME_BYTES;
      for (let slot = 0; slot < stack.length; slot++) {
        const bad = this.#slotOutside(stack[slot]!, base - 8 * (slot + 1), numbers, ids);
        if (bad !== undefined) return `frame ${frame} fp-${8 * (slot + 1)}${bad}`;
      }
    }
    return undefined;
  }

  #slotOutside(slot: StackSlot, at: number, numbers: Numbers, ids: Map<number, bigint>): string | undefined {
    const { types, spilled } = slot;
    for (let i = 0; i < 8; i++) {
      if (types[i] === "0" && numbers === "all" && this.#world.byte(at + 7 - i) !== 0)
        return ` byte ${7 - i} is not 0`;
    }
    if (types[7] !== "r") return undefined;
    const bytes = 8 - types.indexOf("r");
    const value = this.#world.word64(at);
    const text = `: 0x${value.toString(16)}`;
    if (bytes === 8) {
      if (!this.#holds(spilled, value, numbers)) return text;
      return this.#agrees(spilled, value, numbers, ids) ? undefined : `${text}, its id`;
    }
    const low = BigInt.asUintN(bytes * 8, value);
    const counts = numbers === "all" || (numbers === "precise" && spilled.isPrecise);
    return !counts || fits(zeroExtend(spilled.scalar, bytes), low) ? undefined : text;
  }

  /** Numbers of one id are equal, but for their distances. */
  #agrees(register: Register, value: bigint, numbers: Numbers, ids: Map<number, bigint>): boolean {
    if (numbers !== "all" || register.id === 0 || !register.isScalar) return true;
    const base = BigInt.asUintN(64, value - BigInt(register.hasDelta ? register.off : 0));
    const known = ids.get(register.id);
    ids.set(register.id, base);
    return known === undefined || known === base;
  }

  #holds(register: Register, value: bigint, numbers: Numbers): boolean {
    const { kind, scalar, off } = register;
    const from = (base: number): boolean =>
      fits(scalar, BigInt.asUintN(64, value - this.#high - BigInt(base) - BigInt(off)));
    if (kind !== "scalar" && register.isMaybeNull && value === 0n) return true;
    switch (kind) {
      case "scalar":
        if (numbers === "none" || (numbers === "precise" && !register.isPrecise)) return true;
        return fits(scalar, value);
      case "fp":
        return from(STACK_TOP - register.frame * FRAME_BYTES);
      case "ctx":
        return from(CONTEXT);
      case "map_ptr":
        return from(register.map!.address);
      case "map_value":
        return elementsOf(register.map!.address).some(from);
      case "pkt":
        return from(this.#world.data) && this.#isInPacket(register, value);
      case "pkt_end":
        return from(this.#world.dataEnd);
      default:
        return true;
    }
  }

  /** The proven range of a packet pointer lies before the packet's end. */
  #isInPacket({ range, off }: Register, value: bigint): boolean {
    if (range <= 0) return true;
    return value - BigInt(off) + BigInt(range) <= this.#high + BigInt(this.#world.dataEnd);
  }
}
