/** Statements of random programs about memory: map values, the stack, packets, helpers that read and write. */
import { asm } from "@alien-ts/bpf-isa";
import { MAP } from "./random-maps.ts";
import type { MapShape } from "./random-maps.ts";
import { PLACE, SAVED, SIZES, SLOTS } from "./random-writer.ts";
import type { Writer } from "./random-writer.ts";

/** A value, directly or looked up, at a variable offset. */
export function accessValue(w: Writer): void {
  const { random } = w;
  const map = valueIn(w);
  const size = random.pick(SIZES);
  const off = random.below(map.valueSize - size + 1);
  if (random.oneIn(4)) {
    w.set(1, "none");
    return w.access(1, w.slips ? map.valueSize - size + 1 : off, size, map.isConstant ? "read" : "all");
  }
  const index = w.kinds[2] === "number" ? 2 : w.number();
  w.emit(asm.movReg(2, index));
  w.set(1, "none");
  w.set(2, "none");
  w.bound(2, map.valueSize - size - off);
  if (random.oneIn(6)) {
    // Forth and back.
    w.emit(asm.aluReg("add", 1, 2), asm.aluImm("add", 1, 3), asm.aluImm("sub", 1, 3));
  } else w.emit(asm.aluReg("add", 1, 2));
  w.access(1, off, size, map.isConstant ? "read" : "all");
  w.set(2, "number");
}

/** Puts a pointer to a value of some map into r1. */
function valueIn(w: Writer): MapShape {
  const { random } = w;
  if (!w.isLocked && random.oneIn(4)) {
    const map = random.oneIn(2) ? MAP.hash : MAP.array;
    lookup(w, map);
    return map;
  }
  const map = random.oneIn(5) ? MAP.constant : MAP.single;
  w.emit(asm.mapValue(1, map.fd, 0));
  return map;
}

/** A number that is known because it lies in a map that never changes. */
export function constant(w: Writer): void {
  const to = w.random.pick(SAVED);
  const size = w.random.pick(SIZES);
  w.emit(asm.mapValue(1, MAP.constant.fd, 0), asm.load(size, to, 1, size * w.random.below(32 / size)));
  w.set(1, "none");
  w.set(to, "number");
}

/** Finds a value and leaves it in r1; where there is none, the program ends. */
export function lookup(w: Writer, map: MapShape): void {
  const { random } = w;
  w.emit(asm.storeImm(8, 10, PLACE.key, random.below(6)));
  w.pointTo(2, PLACE.key);
  const isChecked = !w.slips;
  w.emit(asm.mapFd(1, isChecked ? map.fd : MAP.hash.fd));
  w.call(1, "none");
  if (!isChecked) return lookupUnchecked(w, map);
  switch (random.below(4)) {
    case 0:
      w.emit(asm.movReg(1, 0));
      return w.leave(asm.jumpImm("jeq", 0, 0, 0));
    case 1:
      // Spilled before it is known.
      w.emit(asm.storeReg(8, 10, PLACE.bound, 0));
      w.leave(asm.jumpImm("jeq", 0, 0, 0));
      return w.emit(asm.load(8, 1, 10, PLACE.bound));
    case 2:
      w.emit(asm.movReg(1, 0), asm.jumpImm("jne", 1, 0, 1));
      return w.leave(asm.goto(0));
    default:
      w.leave(asm.jumpImm("jeq", 0, 0, 0));
      return w.emit(asm.movReg(1, 0));
  }
}

/** One of two values is looked at, and the other one used. */
function lookupUnchecked(w: Writer, map: MapShape): void {
  w.emit(asm.storeReg(8, 10, PLACE.late, 0), asm.storeImm(8, 10, PLACE.key, 1));
  w.pointTo(2, PLACE.key);
  w.emit(asm.mapFd(1, map.fd));
  w.call(1, "none");
  w.leave(asm.jumpImm("jeq", 0, 0, 0));
  w.emit(asm.load(8, 1, 10, PLACE.late));
}

/** The stack through a variable offset. */
export function accessStack(w: Writer): void {
  const { random } = w;
  const size = random.pick(SIZES);
  w.emit(asm.movReg(2, w.number()));
  w.set(2, "none");
  if (size === 1) w.bound(2, random.pick([7, 15, 31]));
  else w.emit(asm.aluImm("and", 2, (random.pick([7, 15, 31]) & -size) >>> 0));
  const isSubtracted = random.oneIn(3);
  if (isSubtracted) w.emit(asm.neg(2));
  w.emit(asm.movReg(1, 10), asm.aluReg("add", 1, 2));
  w.set(1, "none");
  w.access(1, isSubtracted ? -8 * random.between(1, SLOTS) : -8 * random.between(4, SLOTS), size);
  w.smeared();
  w.set(2, "number");
}

/** Atomic operations on a slot; what they fetch is a number. */
export function atomic(w: Writer): void {
  const { random } = w;
  const slot = w.slot();
  const off = -8 * (slot + 1);
  const size = random.pick([4, 8] as const);
  const source = w.number();
  if (w.slots[slot] !== "number") w.emit(asm.storeReg(8, 10, off, source));
  w.slots[slot] = "number";
  if (w.kinds[0] !== "number") w.emit(asm.movImm(0, 3));
  w.set(0, "number");
  const at = random.oneIn(3) ? off + size * random.below(8 / size) : off;
  switch (random.below(6)) {
    case 0:
      return w.emit(asm.loadAcquire(random.pick(SIZES), random.pick(SAVED), 10, off));
    case 1:
      return w.emit(asm.storeRelease(size, 10, at, source));
    default: {
      const op = random.pick([
        "add",
        "or",
        "and",
        "xor",
        "xchg",
        "cmpxchg",
        "fetch_add",
        "fetch_or",
        "fetch_and",
        "fetch_xor",
      ] as const);
      w.emit(asm.atomic(op, size, 10, at, source));
    }
  }
}

/** Atomic operations on packets are refused, and one type's packets are not written. */
const packetAccess = (w: Writer): "read" | "plain" => (w.kind.name === "cgroup_skb" ? "read" : "plain");

/** Some bytes of the packet, of which there are enough. */
export function accessPacket(w: Writer): void {
  const { random } = w;
  const kept = w.having("packet");
  if (kept !== undefined && random.oneIn(2)) {
    const size = random.pick(SIZES);
    const range = w.ranges[kept]!;
    if (range < size) return;
    w.access(kept, random.below(range - size + 1) + (w.slips ? 4 : 0), size, packetAccess(w));
    return;
  }
  const isMeta = w.kind.dataMeta >= 0 && random.oneIn(5);
  const [start, end] = isMeta ? [w.kind.dataMeta, w.kind.data] : [w.kind.data, w.kind.dataEnd];
  w.emit(asm.load(4, 1, 6, start), asm.load(4, 2, 6, end));
  w.set(1, "none");
  w.set(2, "none");
  const isMoved = w.privileges.mayLeakPointers && random.below(3) > 0;
  const index = isMoved ? w.having("number") : undefined;
  if (index !== undefined) {
    w.emit(asm.movReg(3, index));
    w.set(3, "none");
    w.bound(3, random.pick([15, 31, 63]));
    w.emit(asm.aluReg("add", 1, 3));
    w.set(3, "number");
  }
  if (index !== undefined && random.oneIn(3)) moveOn(w);
  const length = random.between(1, 24);
  const size = random.pick(SIZES);
  w.emit(asm.movReg(4, 1), asm.aluImm("add", 4, length));
  w.set(4, "none");
  w.leave(
    random.pick([
      asm.jumpReg("jgt", 4, 2, 0),
      asm.jumpReg("jlt", 2, 4, 0),
      asm.jumpReg("jge", 4, 2, 0),
      asm.jumpReg("jle", 2, 4, 0),
    ]),
  );
  const last = length - size + (w.slips ? 1 : 0);
  if (last >= 0) w.access(1, random.below(last + 1), size, packetAccess(w));
  if (!random.oneIn(2)) return;
  const saved = random.pick(SAVED);
  w.emit(asm.movReg(saved, 1));
  w.set(saved, "packet");
  w.ranges[saved] = length;
}

/** What was compared with the end moves by an unknown number: it must be compared again. */
function moveOn(w: Writer): void {
  w.emit(asm.movReg(4, 1), asm.aluImm("add", 4, w.random.between(1, 16)));
  w.leave(asm.jumpReg("jgt", 4, 2, 0));
  w.emit(asm.aluReg("add", 1, 3));
}

/** Helpers after which the packet may be elsewhere. */
const MOVES: Readonly<Record<string, readonly number[]>> = {
  sched_cls: [39, 38, 43],
  cgroup_skb: [],
  xdp: [44, 54, 65],
};

export function movePacket(w: Writer): void {
  const { random } = w;
  const helpers = MOVES[w.kind.name]!;
  if (helpers.length === 0) return;
  w.emit(asm.movReg(1, 6), asm.movImm(2, random.below(64)), asm.movImm(3, 0));
  w.call(random.pick(helpers));
  w.packetMoved();
}

/** Sets `size` to a number between 1 and `limit`, known or not. */
function length(w: Writer, register: number, limit: number): void {
  const { random } = w;
  if (random.oneIn(3)) {
    w.emit(asm.movImm(register, random.between(1, limit)));
    return w.set(register, "none");
  }
  w.emit(asm.movReg(register, w.number()));
  w.set(register, "none");
  const mask = 2 ** Math.floor(Math.log2(limit)) - 1;
  w.bound(register, mask);
  w.emit(asm.aluImm("add", register, 1));
}

/** Memory of 16 bytes behind `register`: on the stack, written or not, or in a map. */
function memory(w: Writer, register: number, isRead: boolean): void {
  const { random } = w;
  if (random.oneIn(3)) {
    w.emit(asm.mapValue(register, MAP.single.fd, random.below(33)));
    return w.set(register, "none");
  }
  const slot = random.between(2, SLOTS);
  if (isRead) w.emit(asm.storeImm(8, 10, -8 * slot, w.imm()), asm.storeReg(8, 10, -8 * slot + 8, w.number()));
  if (isRead) {
    w.slots[slot - 1] = "number";
    w.slots[slot - 2] = "number";
  }
  w.pointTo(register, -8 * slot);
}

/** Helpers that are given memory and how much of it. */
export function memoryHelper(w: Writer): void {
  const { random } = w;
  switch (random.below(7)) {
    case 0:
      // bpf_skb_load_bytes(), of xdp bpf_xdp_load_bytes()
      if (w.kind.name === "xdp") return;
      length(w, 4, 16);
      memory(w, 3, false);
      w.emit(asm.movReg(1, 6), asm.movImm(2, random.below(64)));
      w.call(26);
      break;
    case 1:
      // bpf_probe_read_kernel()
      length(w, 2, 16);
      memory(w, 1, false);
      w.emit(asm.movReg(3, w.number()));
      w.call(113);
      break;
    case 2:
      // bpf_ringbuf_output()
      length(w, 3, 16);
      memory(w, 2, true);
      w.emit(asm.mapFd(1, MAP.ring.fd), asm.movImm(4, 0));
      w.call(130);
      break;
    case 3:
      // bpf_csum_diff()
      if (packetAccess(w)) return;
      memory(w, 1, true);
      w.emit(asm.movImm(2, 4 * random.between(0, 4)), asm.movImm(3, 0), asm.movImm(4, 0), asm.movImm(5, 0));
      w.call(28);
      break;
    case 4:
      // bpf_map_push_elem(), bpf_map_peek_elem(), bpf_map_pop_elem()
      if (random.oneIn(3)) {
        memory(w, 2, true);
        w.emit(asm.mapFd(1, MAP.queue.fd), asm.movImm(3, 0));
        w.call(87);
      } else {
        memory(w, 2, false);
        w.emit(asm.mapFd(1, MAP.queue.fd));
        w.call(random.pick([88, 89]));
      }
      break;
    case 5: {
      // bpf_map_update_elem(), bpf_map_delete_elem()
      w.emit(asm.storeImm(8, 10, PLACE.key, random.below(6)));
      memory(w, 3, true);
      w.pointTo(2, PLACE.key);
      w.emit(asm.mapFd(1, MAP.queue.fd), asm.mapFd(1, MAP.hash.fd));
      if (random.oneIn(2)) w.call(3);
      else {
        w.emit(asm.mapValue(3, MAP.single.fd, random.below(17)), asm.movImm(4, 0));
        w.call(2);
      }
      break;
    }
    default:
      // bpf_skb_store_bytes()
      if (w.kind.name !== "sched_cls") return;
      length(w, 4, 16);
      memory(w, 3, true);
      w.emit(asm.movReg(1, 6), asm.movImm(2, random.below(64)), asm.movImm(5, 0));
      w.call(9);
      w.packetMoved();
  }
  w.smeared();
}

/** A load of old from the packet; outside of it the program ends. */
export function oldPacketLoad(w: Writer): void {
  const { random } = w;
  if (w.kind.name !== "sched_cls") return;
  w.emit(
    random.oneIn(2)
      ? asm.packetAbs(random.pick([1, 2, 4] as const), random.below(40))
      : asm.packetInd(random.pick([1, 2, 4] as const), w.number(), random.below(20)),
  );
  w.afterCall();
}
