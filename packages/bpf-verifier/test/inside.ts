/**
 * Whether what a machine holds lies inside a state of the verifier: the meaning of a state, written down once.
 *
 * `Meaning.outside` looks at live registers of all frames, at all stack slots, at what is held (references, locks, sections), and at
 * what ids promise: equal numbers, one nullness, one distance in a packet. With `numbers` "precise", numbers that decided nothing
 * mean nothing; with "none" no number does, but pointers always point to where the state says.
 */
import { CALL, FRAME_BYTES } from "@alien-ts/bpf-isa";
import type { Insn } from "@alien-ts/bpf-isa";
import { FRAME } from "@alien-ts/bpf-vm";
import { fits } from "../src/scalar/random-range.ts";
import { zeroExtend } from "../src/scalar/extend.ts";
import { FLAG } from "../src/state/register.ts";
import type { Register } from "../src/state/register.ts";
import type { StackSlot } from "../src/state/stack.ts";
import type { Reference, State } from "../src/state/state.ts";
import type { Held, World } from "./concrete-world.ts";

export type Numbers = "all" | "precise" | "none";

/** Where a walk stands in a run: a global function's walk begins at a frame, with what its callers hold. */
export interface Place {
  /** The machine's frame that is the walk's first. */
  readonly base: number;
  readonly held: Held;
}

/** What of a state counts. */
export interface Extent {
  readonly numbers: Numbers;
  /** Slots whose contents nobody reads, by `slotKey`. */
  readonly stale: ReadonlySet<number>;
}

/** A slot of a frame. */
export const slotKey = (frame: number, slot: number): number => frame * MOST_SLOTS + slot;
export const MOST_SLOTS = FRAME_BYTES / 8;

/** What the program is, to the meaning of its states. */
export interface Subject {
  readonly insns: readonly Insn[];
  /** Registers that are read later, as bits, by instruction. */
  readonly live: Uint16Array;
  /** First instructions of functions. */
  readonly starts: readonly number[];
}

const R6 = 6;
const END = { at: -1, beyond: -2 } as const;

export class Meaning {
  readonly subject: Subject;
  readonly #world: World;
  readonly #high: bigint;
  #numbers: Numbers = "all";
  #stale: ReadonlySet<number> = new Set();
  #base = 0;
  /** What ids were found to stand for. */
  readonly #numbersById = new Map<number, bigint>();
  readonly #pointersById = new Map<number, bigint>();
  readonly #nullById = new Map<number, boolean>();

  constructor(world: World, subject: Subject) {
    this.subject = subject;
    this.#world = world;
    this.#high = BigInt(world.machine.memory.baseHi) << 32n;
  }

  /** Undefined where the machine is inside `state`, which stands before instruction `insn`; else what is outside. */
  outside(state: State, insn: number, place: Place, { numbers, stale }: Extent): string | undefined {
    this.#numbers = numbers;
    this.#stale = stale;
    this.#base = place.base;
    for (const map of [this.#numbersById, this.#pointersById, this.#nullById]) map.clear();
    const frames = this.#world.machine.depth + 1 - place.base;
    if (state.frames.length !== frames) return `${state.frames.length} frames, ${frames} in use`;
    const held = this.#heldOutside(state, place.held);
    if (held !== undefined) return held;
    for (let frame = 0; frame < frames; frame++) {
      const bad = this.#frameOutside(state, frame, insn);
      if (bad !== undefined) return `frame ${frame} ${bad}`;
    }
    return undefined;
  }

  #heldOutside(state: State, before: Held): string | undefined {
    const { held } = this.#world;
    const count = (...kinds: readonly Reference["kind"][]): number =>
      state.references.filter(({ kind }) => kinds.includes(kind)).length;
    const rows = [
      ["references", count("object"), held.references - before.references],
      ["locks", count("lock", "res_lock", "res_lock_irq"), held.locks - before.locks],
      ["active locks", state.activeLocks, held.locks - before.locks],
      ["saved interrupts", count("irq"), held.irqs - before.irqs],
      ["RCU sections", state.activeRcuLocks, held.rcu - before.rcu],
      ["sections without preemption", state.activePreemptLocks, held.preempt - before.preempt],
    ] as const;
    for (const [what, known, real] of rows)
      if (known !== real && (what !== "references" || known - this.#missing(state) !== real))
        return `${known} ${what}, ${real} in fact`;
    return undefined;
  }

  /** References that were not got: their pointers are NULL, whatever the program knows. */
  #missing(state: State): number {
    const missing = new Set<number>();
    const look = ({ isMaybeNull, refId }: Register, value: bigint): void => {
      if (isMaybeNull && refId !== 0 && value === 0n) missing.add(refId);
    };
    state.frames.forEach(({ registers, stack }, frame) => {
      const isTop = frame === state.frames.length - 1;
      for (let number = isTop ? 0 : R6; number < 10; number++)
        look(registers[number]!, this.#valueOf(frame, number, state.frames.length));
      const top = this.#world.stackTop - (this.#base + frame) * FRAME_BYTES;
      stack.forEach(({ types, spilled }, slot) => {
        if (types === "rrrrrrrr") look(spilled, this.#world.word64(top - 8 * (slot + 1)));
      });
    });
    return state.references.filter(({ kind, id }) => kind === "object" && missing.has(id)).length;
  }

  /** Registers that the frame reads later. A callback's caller may call it again. */
  #live(state: State, frame: number, insn: number): number {
    const inner = state.frames[frame + 1];
    if (inner === undefined) return this.subject.live[insn]!;
    const { callSite } = inner;
    const after = this.subject.live[callSite + 1] ?? 0;
    return (inner.isCallback ? after | this.subject.live[callSite]! : after) & ~0b111111;
  }

  #frameOutside(state: State, frame: number, insn: number): string | undefined {
    const { registers, stack } = state.frames[frame]!;
    const live = this.#live(state, frame, insn);
    for (let number = 0; number <= 10; number++) {
      if ((live & (1 << number)) === 0 && number !== 10) continue;
      const value = this.#valueOf(frame, number, state.frames.length);
      const bad = this.#registerOutside(registers[number]!, value);
      if (bad !== undefined) return `r${number}: ${bad}`;
    }
    const top = this.#world.stackTop - (this.#base + frame) * FRAME_BYTES;
    for (let slot = 0; slot < stack.length; slot++) {
      if (this.#stale.has(slotKey(frame, slot))) continue;
      const bad = this.#slotOutside(stack[slot]!, top - 8 * (slot + 1));
      if (bad !== undefined) return `fp-${8 * (slot + 1)}: ${bad}`;
    }
    return undefined;
  }

  #valueOf(frame: number, number: number, frames: number): bigint {
    const { regs, frames: saved } = this.#world.machine;
    if (number === 10) return this.#high + BigInt(this.#world.stackTop - (this.#base + frame) * FRAME_BYTES);
    const isTop = frame === frames - 1;
    const words = isTop ? regs : saved;
    const at = isTop ? 2 * number : (this.#base + frame) * FRAME.words + 2 * (number - R6);
    return (BigInt(words[at + 1]! >>> 0) << 32n) | BigInt(words[at]! >>> 0);
  }

  #slotOutside(slot: StackSlot, at: number): string | undefined {
    const { types, spilled } = slot;
    for (let i = 0; i < 8; i++)
      if (types[i] === "0" && this.#world.byte(at + 7 - i) !== 0) return `byte ${7 - i} is not 0`;
    switch (types[7]) {
      case "d":
        return spilled.isFirstSlot && this.#world.dynptrs.get(at)?.kind !== spilled.dynptr
          ? `no dynptr over ${spilled.dynptr}`
          : undefined;
      case "i":
        return this.#iteratorOutside(spilled, at);
      case "f":
        return this.#world.savedFlags.has(at) ? undefined : "no saved flags";
      case "r":
        break;
      default:
        return undefined;
    }
    const bytes = 8 - types.indexOf("r");
    const value = this.#world.word64(at);
    if (bytes === 8) return this.#registerOutside(spilled, value);
    const low = BigInt.asUintN(bytes * 8, value);
    const isWithin = !this.#counts(spilled) || fits(zeroExtend(spilled.scalar, bytes), low);
    return isWithin ? undefined : `0x${low.toString(16)}`;
  }

  #iteratorOutside({ iterator, refId }: Register, at: number): string | undefined {
    if (refId === 0) return undefined;
    const real = this.#world.iterators.get(at);
    if (real === undefined) return "no iterator";
    return real.isDrained === (iterator?.state === "drained")
      ? undefined
      : `an iterator not ${iterator?.state}`;
  }

  /** Whether the register's number means something. */
  #counts(register: Register): boolean {
    return this.#numbers === "all" || (this.#numbers === "precise" && register.isPrecise);
  }

  #registerOutside(register: Register, value: bigint): string | undefined {
    if (register.isScalar && !this.#counts(register)) return undefined;
    if (!this.#holds(register, value)) return `0x${value.toString(16)}`;
    return this.#agrees(register, value) ? undefined : `0x${value.toString(16)}, against its id`;
  }

  /** What registers of one id promise. */
  #agrees(register: Register, value: bigint): boolean {
    const { id, off, kind } = register;
    if (id === 0) return true;
    if (kind === "scalar") {
      // An addition of low halves moved what has no high half.
      const { hasDelta, deltaBits } = register;
      const base = hasDelta ? BigInt.asUintN(deltaBits, value - BigInt(off)) : value;
      return isSame(this.#numbersById, id, base);
    }
    if (register.isMaybeNull && !isSame(this.#nullById, id, value === 0n)) return false;
    if (register.isMaybeNull && value === 0n) return true;
    if (register.isPacket) return isSame(this.#pointersById, id, value - BigInt(off));
    const isFixed = register.scalar.isConst && (kind === "map_value" || kind === "mem" || kind === "sock");
    return !isFixed || isSame(this.#pointersById, id, value - BigInt(off) - register.scalar.umin);
  }

  #holds(register: Register, value: bigint): boolean {
    const { kind, scalar, off } = register;
    const world = this.#world;
    const from = (base: number): boolean =>
      fits(scalar, BigInt.asUintN(64, value - this.#high - BigInt(base) - BigInt(off)));
    if (kind !== "scalar" && register.isMaybeNull && value === 0n) return true;
    switch (kind) {
      case "scalar":
        return fits(scalar, value);
      case "fp":
        return from(this.#world.stackTop - (this.#base + register.frame) * FRAME_BYTES);
      case "ctx":
        return from(world.context);
      case "map_ptr":
        return value === this.#high + BigInt(register.map!.address);
      case "map_value":
        return world.elementsOf(register.map!.address).some(from);
      case "map_key":
        return world.keysOf(register.map!.address).some(from);
      case "pkt":
        return from(world.data) && this.#isInPacket(register, value, world.dataEnd);
      case "pkt_meta":
        return from(world.dataMeta) && this.#isInPacket(register, value, world.data);
      case "pkt_end":
        return from(world.dataEnd);
      case "mem":
        return world.objects.some(({ base, size }) => size >= register.memSize && from(base));
      case "sock":
      case "sock_common":
      case "tcp_sock":
        return world.sockets.some(from);
      case "ptr_":
        // What the program owns, or what it gave away just now, is there.
        return !register.has(FLAG.ALLOC | FLAG.NON_OWN_REF) || world.objects.some(({ base }) => from(base));
      case "func":
        return value === BigInt(this.subject.starts[register.subprogram]!);
      default:
        return true;
    }
  }

  /** The proven range of a packet pointer lies before the end; one that was found beyond is. */
  #isInPacket({ range, off }: Register, value: bigint, end: number): boolean {
    const limit = this.#high + BigInt(end);
    if (range === END.at) return value >= limit;
    if (range === END.beyond) return value > limit;
    return range === 0 || value - BigInt(off) + BigInt(range) <= limit;
  }
}

function isSame<T>(known: Map<number, T>, id: number, value: T): boolean {
  const before = known.get(id);
  known.set(id, value);
  return before === undefined || before === value;
}

/** Whether the instruction calls a function of the program. */
export const isLocalCall = ({ opcode, src }: Insn): boolean => opcode === 0x85 && src === CALL.LOCAL;
