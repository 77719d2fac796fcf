/**
 * Traps: short shapes in which one rule of the verifier decides, half of them against it. Each asks for one thing that the other
 * statements seldom need: which of two things a check was about, what two paths have in common, what a call left behind.
 */
import { asm } from "@alien-ts/bpf-isa";
import { MAP } from "./random-maps.ts";
import type { MapShape } from "./random-maps.ts";
import { callWritten, flip, fresh } from "./random-mazes.ts";
import { lookup, movePacket } from "./random-memory.ts";
import { useAsOffset } from "./random-numbers.ts";
import { kfuncId } from "./random-types.ts";
import { PLACE, SIZES } from "./random-writer.ts";
import type { Writer } from "./random-writer.ts";

type Trap = (w: Writer) => void;

const forget = (w: Writer, ...registers: readonly number[]): void => {
  for (const register of registers) w.set(register, "none");
};
const ALL = [0, 1, 2, 3, 4, 5, 7, 8, 9];

/** The packet in r1, its end in r2. */
function packet(w: Writer): void {
  forget(w, 1, 2);
  w.emit(asm.load(4, 1, 6, w.kind.data), asm.load(4, 2, 6, w.kind.dataEnd));
}

/** Goes on where there are `length` bytes behind `register`. */
function checkPacket(w: Writer, register: number, length: number): void {
  w.emit(asm.movReg(4, register), asm.aluImm("add", 4, length));
  w.leave(asm.jumpReg("jgt", 4, 2, 0));
}

/** Two pointers into the packet, of which one is compared with its end. */
function twoPackets(w: Writer): void {
  const { random } = w;
  forget(w, ...ALL);
  packet(w);
  for (const register of [7, 8]) {
    fresh(w, 3, false);
    w.emit(asm.aluImm("and", 3, random.pick([7, 31])));
    w.emit(asm.movReg(register, 1), asm.aluReg("add", register, 3));
  }
  const length = random.pick([1, 8, 13, 20]);
  checkPacket(w, 7, length);
  const off = random.below(length);
  w.emit(asm.load(1, 3, random.pick([7, 8]), off));
}

/** A pointer into the packet behind something that may move it. */
function latePacket(w: Writer): void {
  const { random } = w;
  forget(w, ...ALL);
  packet(w);
  checkPacket(w, 1, random.pick([1, 4, 14]));
  w.emit(asm.movReg(7, 1), asm.storeReg(8, 10, PLACE.late, 1));
  const skip = random.oneIn(2) ? flip(w) : undefined;
  if (random.oneIn(2)) movePacket(w);
  else {
    w.emit(asm.movReg(1, 6), asm.movImm(2, 0));
    w.calls.push({ at: w.length, kind: random.pick(["static context", "global context"] as const) });
    w.emit(asm.callLocal(0));
  }
  if (skip !== undefined) w.aim(skip);
  if (random.oneIn(2)) w.emit(asm.load(8, 7, 10, PLACE.late));
  w.emit(asm.load(1, 3, 7, 0));
}

/** Ways meet on which different lengths of the packet were checked. */
function meetingPackets(w: Writer): void {
  const { random } = w;
  const lengths = [random.between(1, 24), random.between(1, 24)] as const;
  forget(w, ...ALL);
  packet(w);
  const other = flip(w);
  checkPacket(w, 1, lengths[0]);
  const skip = w.jump(asm.goto(0));
  w.aim(other);
  checkPacket(w, 1, lengths[1]);
  w.aim(skip);
  w.emit(asm.load(1, 3, 1, random.pick(lengths) - 1));
}

function find(w: Writer, into: number, map: MapShape = MAP.hash): void {
  w.emit(asm.storeImm(8, 10, PLACE.key, w.random.below(6)));
  w.pointTo(2, PLACE.key);
  w.emit(asm.mapFd(1, map.fd), asm.call(1), asm.movReg(into, 0));
}

/** Two values that may be NULL, of which one is looked at; the other one is used, or that one, on one way or the other. */
function twoValues(w: Writer): void {
  const { random } = w;
  forget(w, ...ALL);
  find(w, 7);
  if (random.oneIn(2)) find(w, 8);
  else w.emit(asm.movReg(8, 7));
  if (random.oneIn(4)) w.emit(asm.storeReg(8, 10, PLACE.late, 8));
  const op = random.pick(["jeq", "jne"] as const);
  const there = w.jump(asm.jumpImm(op, 7, 0, 0));
  if (random.oneIn(2)) w.emit(asm.load(4, 3, random.pick([7, 8]), 0));
  w.leave(asm.goto(0));
  w.aim(there);
  w.emit(asm.load(4, 3, random.pick([7, 8]), 0));
}

/** Ways meet on one of which a value may still be NULL. */
function meetingValues(w: Writer): void {
  const { random } = w;
  forget(w, ...ALL);
  // A value with a lock stays the one that it is when it was looked at.
  const map = random.oneIn(2) ? MAP.hash : MAP.locked;
  find(w, 7, map);
  const isSpilled = random.oneIn(2);
  if (isSpilled) w.emit(asm.storeReg(8, 10, PLACE.late, 7));
  const skip = flip(w);
  w.leave(asm.jumpImm("jeq", 7, 0, 0));
  w.aim(skip);
  if (isSpilled) w.emit(asm.load(8, 7, 10, PLACE.late));
  w.emit(asm.load(4, 3, 7, random.pick([0, 4])));
}

/** A value of which a part belongs to the kernel. */
function lockedValue(w: Writer): void {
  const { random } = w;
  forget(w, ...ALL);
  lookup(w, MAP.locked);
  w.access(1, random.between(4, 14), random.pick(SIZES));
}

/** A number goes through a part of a slot, and what is learnt of the part is said of the whole. */
function cut(w: Writer): void {
  const { random } = w;
  const size = random.pick([1, 2, 4] as const);
  forget(w, ...ALL);
  w.emit(asm.mapValue(7, MAP.single.fd, 0), asm.load(8, 7, 7, 8 * random.below(6)));
  const limit = random.pick([7, 15, 31]);
  if (random.oneIn(3)) w.leave(asm.jumpImm("jgt", 7, limit, 0, 32));
  if (random.oneIn(4)) w.emit(asm.movsx(random.pick([8, 16, 32] as const), 8, 7));
  else if (random.oneIn(3)) w.emit(asm.aluReg("mov", 8, 7, 32));
  else {
    w.emit(asm.storeReg(size, 10, PLACE.narrow, 7));
    w.emit(random.oneIn(3) ? asm.loadSigned(size, 8, 10, PLACE.narrow) : asm.load(size, 8, 10, PLACE.narrow));
  }
  const [seen, used] = random.oneIn(3) ? [7, 8] : [8, 7];
  w.leave(asm.jumpImm("jgt", seen, limit, 0, random.oneIn(3) ? 32 : 64));
  useAsOffset(w, used, limit);
}

/** Zeros in parts of slots, over which something is written at an offset that is not known. */
function zeros(w: Writer): void {
  const { random } = w;
  forget(w, ...ALL);
  const slot = random.pick([-8, -16]);
  w.emit(asm.storeImm(8, 10, -8, 0), asm.storeImm(8, 10, -16, 0), asm.storeImm(4, 10, slot + 4, 0));
  if (random.oneIn(2)) w.emit(asm.storeImm(2, 10, slot + 2, 0));
  fresh(w, 2, false);
  w.emit(asm.aluImm("and", 2, random.pick([7, 15])), asm.movReg(1, 10), asm.aluReg("add", 1, 2));
  fresh(w, 3, false);
  w.emit(random.oneIn(3) ? asm.storeReg(1, 1, -16, 3) : asm.storeImm(1, 1, -16, random.below(3)));
  const size = random.pick(SIZES);
  w.emit(asm.load(size, 4, 10, -16 + size * random.below(16 / size)));
  useAsOffset(w, 4, 7);
}

/** A helper fills what the program knew. */
function filled(w: Writer): void {
  const { random } = w;
  forget(w, ...ALL);
  const slot = -8 * random.between(1, 4);
  w.emit(asm.storeImm(8, 10, slot, random.below(8)));
  if (random.oneIn(3)) w.emit(asm.movImm(3, 5), asm.storeReg(8, 10, slot, 3));
  w.pointTo(1, slot);
  w.emit(asm.movImm(2, random.pick([1, 4, 8])), asm.movImm(3, 0), asm.call(113));
  w.emit(asm.load(random.pick([1, 8] as const), 2, 10, slot));
  useAsOffset(w, 2, 7);
}

/** Two numbers are the same on one way, and not on the other; what is learnt of one is said of both. */
function ties(w: Writer): void {
  const { random } = w;
  forget(w, ...ALL);
  fresh(w, 7, false);
  fresh(w, 8, false);
  const isSpilled = random.oneIn(3);
  if (isSpilled) w.emit(asm.storeReg(8, 10, PLACE.late, 8));
  const other = flip(w);
  w.emit(isSpilled ? asm.storeReg(8, 10, PLACE.late, 7) : asm.movReg(8, 7));
  if (random.oneIn(4)) w.emit(asm.aluImm("add", 8, 1));
  if (random.oneIn(2)) {
    const skip = w.jump(asm.goto(0));
    w.aim(other);
    if (random.oneIn(2)) w.emit(asm.movReg(random.pick([8, 9]), 7));
    if (random.oneIn(2)) w.emit(asm.aluImm("add", 8, random.pick([1, 40])));
    w.aim(skip);
  } else w.aim(other);
  w.leave(asm.jumpImm("jgt", 7, random.pick([7, 15]), 0));
  if (isSpilled) w.emit(asm.load(8, 8, 10, PLACE.late));
  useAsOffset(w, random.oneIn(4) ? 7 : 8, 15);
}

/** The last argument of a helper is another one on each way. */
function lengths(w: Writer): void {
  const { random } = w;
  if (w.kind.name === "xdp") return;
  forget(w, ...ALL);
  w.pointTo(3, -16);
  w.emit(asm.movReg(1, 6), asm.movImm(2, 0), asm.movImm(4, random.pick([16, 17, LONG])));
  const skip = flip(w);
  w.emit(asm.movImm(4, random.between(1, 16)));
  w.aim(skip);
  w.emit(asm.call(26));
  w.smeared();
}

const LONG = 600;

/** Something is taken, and not given back on all ways. */
function takings(w: Writer): void {
  const { random } = w;
  forget(w, ...ALL);
  const [take, give] = random.oneIn(4) ? LOCK : random.pick(TAKINGS);
  if (w.busy.has("iterator")) return;
  const turns = random.oneIn(6) ? 2 : 1;
  for (let i = 0; i < turns; i++) take(w);
  const isFlipped = random.below(5) > 0;
  const skip = isFlipped ? flip(w) : undefined;
  give(w);
  if (skip !== undefined) w.aim(skip);
  if (random.oneIn(3)) {
    // What was not given back, is.
    const again = flip(w);
    give(w);
    w.aim(again);
  }
}

const section = (enter: string, leave: string): readonly [Trap, Trap] => [
  (w) => w.emit(asm.callKfunc(kfuncId(enter))),
  (w) => w.emit(asm.callKfunc(kfuncId(leave))),
];

const LOCK: readonly [take: Trap, give: Trap] = [
  (w) => {
    lookup(w, MAP.locked);
    w.emit(asm.movReg(7, 1));
    if (w.random.oneIn(2)) {
      lookup(w, MAP.locked);
      w.emit(asm.movReg(8, 1));
    } else w.emit(asm.movReg(8, 7));
    w.emit(asm.movReg(1, 7), asm.aluImm("add", 1, 8), asm.call(93));
  },
  (w) => w.emit(asm.movReg(1, w.random.pick([7, 8, 8])), asm.aluImm("add", 1, 8), asm.call(94)),
];

const TAKINGS: readonly (readonly [take: Trap, give: Trap])[] = [
  section("bpf_rcu_read_lock", "bpf_rcu_read_unlock"),
  section("bpf_preempt_disable", "bpf_preempt_enable"),
  [
    (w) => {
      w.pointTo(1, PLACE.flags);
      w.emit(asm.callKfunc(kfuncId("bpf_local_irq_save")));
    },
    (w) => {
      w.pointTo(1, PLACE.flags);
      w.emit(asm.callKfunc(kfuncId("bpf_local_irq_restore")));
    },
  ],
  [
    (w) => {
      w.emit(asm.mapFd(1, MAP.ring.fd), asm.movImm(2, 16), asm.movImm(3, 0), asm.call(131));
      w.leave(asm.jumpImm("jeq", 0, 0, 0));
      w.emit(asm.movReg(7, 0));
    },
    (w) => w.emit(asm.movReg(1, 7), asm.movImm(2, 0), asm.call(132)),
  ],
  [
    (w) => {
      w.emit(asm.mapFd(1, MAP.ring.fd), asm.movImm(2, 16), asm.movImm(3, 0));
      w.pointTo(4, PLACE.dynptr);
      w.emit(asm.call(198));
    },
    (w) => {
      w.pointTo(1, PLACE.dynptr);
      w.emit(asm.movImm(2, 0), asm.call(200));
    },
  ],
  LOCK,
  [newIterator, (w) => onIterator(w, "bpf_iter_num_destroy")],
];

function newIterator(w: Writer): void {
  w.emit(asm.movImm(2, 0), asm.movImm(3, 3));
  w.pointTo(1, PLACE.iterator);
  w.emit(asm.callKfunc(kfuncId("bpf_iter_num_new")));
}

function onIterator(w: Writer, name: string): void {
  w.pointTo(1, PLACE.iterator);
  w.emit(asm.callKfunc(kfuncId(name)));
}

/** Something is taken, and a function is called that may throw. */
function thrown(w: Writer): void {
  const { random } = w;
  forget(w, ...ALL);
  if (w.busy.has("iterator") || w.framesLeft === 0) return;
  const [take, give] = random.pick(TAKINGS);
  const isHeld = random.oneIn(2);
  if (isHeld) take(w);
  fresh(w, 1, false);
  w.emit(asm.movImm(2, 0));
  const kind = random.pick(["static numbers", "global numbers"] as const);
  const body = (inner: Writer): void => {
    const skip = flip(inner);
    inner.emit(asm.movImm(1, 0), asm.callKfunc(kfuncId("bpf_throw")));
    inner.aim(skip);
    inner.emit(asm.movImm(0, 0), asm.exit());
  };
  w.calls.push({ at: w.length, kind, body });
  w.emit(asm.callLocal(0));
  if (isHeld) give(w);
}

/** A loop is left at its end or before it, and the iterator asked once more. */
function leftIterator(w: Writer): void {
  const { random } = w;
  forget(w, ...ALL);
  if (w.busy.has("iterator")) return;
  newIterator(w);
  const start = w.length;
  onIterator(w, "bpf_iter_num_next");
  const out = w.jump(asm.jumpImm("jeq", 0, 0, 0));
  if (random.oneIn(2)) w.emit(asm.load(4, 7, 0, 0));
  fresh(w, 5, true);
  const early = w.jump(asm.jumpImm("jset", 5, 1, 0));
  w.emit(asm.goto(start - w.length - 1));
  w.aim(out);
  w.aim(early);
  onIterator(w, "bpf_iter_num_next");
  const empty = w.jump(asm.jumpImm("jeq", 0, 0, 0));
  w.emit(asm.load(4, 3, 0, 0));
  w.aim(empty);
  if (random.oneIn(3)) {
    onIterator(w, "bpf_iter_num_next");
    w.emit(asm.movReg(7, 0));
    onIterator(w, "bpf_iter_num_destroy");
    const gone = w.jump(asm.jumpImm("jeq", 7, 0, 0));
    w.emit(asm.load(4, 3, 7, 0));
    w.aim(gone);
  } else onIterator(w, "bpf_iter_num_destroy");
}

/** A function gives a pointer to its own stack, or leaves one with its caller. */
function lateFrame(w: Writer): void {
  const { random } = w;
  if (w.framesLeft === 0) return;
  forget(w, ...ALL);
  w.pointTo(1, -8);
  w.emit(asm.storeReg(8, 10, -8, 1));
  const isResult = random.oneIn(2);
  callWritten(w, (inner) => {
    inner.emit(asm.storeImm(8, 10, -8, 1), asm.movImm(0, 0), asm.movReg(2, isResult ? 1 : 10));
    if (random.oneIn(2)) inner.emit(asm.movReg(2, 10), asm.aluImm("add", 2, -8));
    inner.emit(isResult ? asm.movReg(0, 2) : asm.storeReg(8, 1, 0, 2), asm.exit());
  });
  w.emit(isResult ? asm.movReg(7, 0) : asm.load(8, 7, 10, -8));
  w.emit(asm.load(8, 3, 7, isResult && random.oneIn(2) ? 0 : -8));
}

export const TRAPS: readonly Trap[] = [
  twoPackets,
  twoPackets,
  latePacket,
  latePacket,
  meetingPackets,
  twoValues,
  meetingValues,
  lockedValue,
  cut,
  zeros,
  filled,
  ties,
  lengths,
  takings,
  takings,
  takings,
  thrown,
  leftIterator,
  lateFrame,
];
