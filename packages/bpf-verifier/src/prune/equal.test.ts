/** Which states stand for which others: pairs of an old one and a current one that differ in registers or a slot of the stack. */
import { expect, test } from "vitest";
import { notNull } from "../state/nullness.ts";
import { FLAG, UNKNOWN, constRegister, pointer } from "../state/register.ts";
import type { Register } from "../state/register.ts";
import { EMPTY_SLOT } from "../state/stack.ts";
import type { StackSlot } from "../state/stack.ts";
import { Frame, State } from "../state/state.ts";
import { Comparison, statesEqual } from "./equal.ts";
import type { Exactness } from "./equal.ts";
import { widen } from "./widen.ts";

/** A state at instruction 0 of a program without functions. */
function stateWith(registers: readonly Register[], slot: StackSlot = EMPTY_SLOT): State {
  const state = new State();
  const frame = new Frame(0, 0, -1);
  registers.forEach((register, i) => (frame.registers[i] = register));
  frame.stack.push(slot);
  state.frames.push(frame);
  return state;
}

function covers(old: State, now: State, exactness: Exactness, mayReadAnything = true): boolean {
  const comparison = new Comparison(Uint16Array.of(0x3ff), mayReadAnything);
  comparison.exactness = exactness;
  return statesEqual(old, now, comparison);
}

const decisive = (id: number): Register => UNKNOWN.with({ id, isPrecise: true });
const decisiveAt = (id: number, off: number): Register => decisive(id).with({ hasDelta: true, off });

test.each([
  ["numbers that nothing shared, and now one thing", [0, 0], [5, 5], true],
  ["numbers that nothing shared, of which two were one before", [0, 5], [5, 5], true],
  ["one number, and now two", [5, 5], [5, 6], false],
  ["one number, and now two that nothing shares", [5, 5], [0, 0], false],
  ["two numbers, and now one", [5, 6], [5, 5], false],
])("%s", (_, old, now, expected) => {
  expect(covers(stateWith(old.map(decisive)), stateWith(now.map(decisive)), "safe")).toBe(expected);
});

test.each([
  ["the same distance", decisiveAt(5, 8), decisiveAt(6, 8), true],
  ["another distance", decisiveAt(5, 8), decisiveAt(6, 9), false],
  ["a distance, and now none", decisiveAt(5, 8), decisive(6), false],
  ["none, and now a distance", decisive(5), decisiveAt(6, 8), false],
  ["nothing shared, and now at a distance", decisive(0), decisiveAt(6, 8), true],
])("numbers that are tied: %s", (_, old, now, expected) => {
  expect(covers(stateWith([old]), stateWith([now]), "safe")).toBe(expected);
});

test("a distance is one from the number that the others are tied to", () => {
  const old = stateWith([decisive(5), decisiveAt(5, 8)]);
  expect(covers(old, stateWith([decisive(7), decisiveAt(7, 8)]), "safe")).toBe(true);
  expect(covers(old, stateWith([decisive(7), decisiveAt(9, 8)]), "safe")).toBe(false);
});

test("in a loop whose needs are not known yet the stack holds what it held, to the kind of every byte", () => {
  const written = stateWith([], { types: "mmmmmmmm", spilled: EMPTY_SLOT.spilled });
  const empty = stateWith([]);
  const zero = stateWith([], { types: "00000000", spilled: EMPTY_SLOT.spilled });
  for (const now of [empty, zero]) {
    expect(covers(written, now, "safe")).toBe(true);
    expect(covers(written, now, "ranges")).toBe(true);
    expect(covers(written, now, "within")).toBe(false);
  }
  expect(covers(written, written.copy(), "within")).toBe(true);
});

test("a slot of which nothing was written is a number that nobody knows, for those who may read it", () => {
  const written = (isPrecise: boolean): State =>
    stateWith([], { types: "rrrrrrrr", spilled: constRegister(0n).withPrecision(isPrecise) });
  const empty = stateWith([]);
  expect(covers(written(false), empty, "safe")).toBe(true);
  expect(covers(written(true), empty, "safe")).toBe(false);
  expect(covers(written(false), empty, "within")).toBe(false);
  expect(covers(written(false), empty, "safe", false)).toBe(false);
  empty.top.stack.pop();
  expect(covers(written(false), empty, "safe")).toBe(false);
});

test("what a slot is tied to counts where its number decided something", () => {
  const now = decisive(5);
  const spilled = (isPrecise: boolean): StackSlot => ({
    types: "rrrrrrrr",
    spilled: decisive(5).withPrecision(isPrecise),
  });
  for (const isPrecise of [false, true]) {
    const slot = spilled(isPrecise);
    expect(covers(stateWith([decisive(6)], slot), stateWith([now], slot), "safe")).toBe(!isPrecise);
    expect(covers(stateWith([decisive(5)], slot), stateWith([now], slot), "safe")).toBe(true);
  }
});

test("sockets out of different maps are different, and other than those that were looked up", () => {
  const map = (address: number) => ({
    address,
    valuesAddress: undefined,
    name: "",
    flags: 0,
    inner: undefined,
    fields: [],
    isFrozen: false,
    constantAt: undefined,
    btf: undefined,
    btfValueType: 0,
    maxEntries: 1,
    type: 15,
    keySize: 4,
    valueSize: 4,
  });
  const maps = [map(16), map(32)] as const;
  const found = (at: 0 | 1, id: number): State =>
    stateWith([notNull(pointer("map_value", { flags: FLAG.MAYBE_NULL, map: maps[at], id, refId: id }))]);
  const lookedUp = stateWith([pointer("sock", { id: 2, refId: 2 })]);
  expect(covers(found(0, 1), found(0, 2), "safe")).toBe(true);
  expect(covers(found(0, 1), found(1, 2), "safe")).toBe(false);
  expect(covers(found(0, 1), lookedUp, "safe")).toBe(false);
});

test("a number that is tied otherwise than a turn ago is forgotten, as one that changed is", () => {
  const fortyTwo = constRegister(42n);
  const now = stateWith([fortyTwo, fortyTwo, fortyTwo, constRegister(43n), constRegister(43n)]);
  const precise = fortyTwo.withPrecision(true);
  widen(stateWith([fortyTwo.with({ id: 1 }), fortyTwo, precise, fortyTwo, precise]), now);
  const [tied, same, decided, changed, decidedOther] = now.registers;
  expect(tied).toBe(UNKNOWN);
  expect(same).toBe(fortyTwo);
  expect(decided).toBe(fortyTwo);
  expect(changed).toBe(UNKNOWN);
  expect(decidedOther).toEqual(constRegister(43n));
});
