/** Statements of random programs about what must be given back: records, dynptrs, iterators, locks, sections, sockets. */
import { asm } from "@alien-ts/bpf-isa";
import { MAP } from "./random-maps.ts";
import { owned } from "./random-owned.ts";
import { lookup, movePacket } from "./random-memory.ts";
import { kfuncId } from "./random-types.ts";
import { PLACE, SAVED, SIZES, SLOTS } from "./random-writer.ts";
import type { Resource, Writer } from "./random-writer.ts";

type Block = (length: number) => void;

/** Accesses to `size` bytes behind the pointer at a place on the stack, with other statements between. */
function useObject(w: Writer, place: number, size: number, block: Block): void {
  for (let times = w.random.between(1, 2); times > 0; times--) {
    const access = w.random.pick(SIZES.filter((bytes) => bytes <= size));
    w.emit(asm.load(8, 1, 10, place));
    w.set(1, "none");
    let off = w.random.below(size - access + 1);
    if (w.random.oneIn(3)) {
      w.emit(asm.movReg(2, w.number()));
      w.set(2, "none");
      w.bound(2, size - access - off);
      w.emit(asm.aluReg("add", 1, 2));
      w.set(2, "number");
    }
    if (w.slips) off += 1;
    w.access(1, off, access);
    if (w.random.oneIn(2)) block(1);
  }
}

/** bpf_ringbuf_reserve() */
export function record(w: Writer, block: Block): void {
  const { random } = w;
  const size = random.pick([8, 12, 16, 32]);
  w.emit(asm.mapFd(1, MAP.ring.fd), asm.movImm(2, size), asm.movImm(3, 0));
  w.call(131, "none");
  const isSpilled = random.oneIn(2);
  if (isSpilled) w.emit(asm.storeReg(8, 10, PLACE.record, 0));
  w.leave(asm.jumpImm("jeq", 0, 0, 0));
  if (!isSpilled) w.emit(asm.storeReg(8, 10, PLACE.record, 0));
  w.holding(
    "record",
    () => useObject(w, PLACE.record, size, block),
    () => {
      w.emit(asm.load(8, 1, 10, PLACE.record), asm.movImm(2, 0));
      w.call(random.pick([132, 133]), "none");
    },
  );
  if (w.slips) w.emit(asm.load(8, 1, 10, PLACE.record), asm.load(4, 8, 1, 0));
}

/** A slice of the dynptr at `place`: read and written behind NULL checks. */
function useDynptr(w: Writer, place: number, block: Block, isPlain: boolean): void {
  const { random } = w;
  const size = random.pick([1, 4, 8, 16]);
  const isSlice = !isPlain || random.oneIn(2);
  if (isSlice) {
    const isWritable = random.oneIn(2);
    w.pointTo(1, place);
    w.emit(asm.movImm(2, random.below(8)));
    if (random.oneIn(2)) w.pointTo(3, PLACE.buffer);
    else w.emit(asm.movImm(3, 0));
    w.emit(asm.movImm(4, size));
    w.kfunc(kfuncId(isWritable ? "bpf_dynptr_slice_rdwr" : "bpf_dynptr_slice"), "none");
    const skip = w.jump(asm.jumpImm("jeq", 0, 0, 0));
    const before = w.copyKinds();
    w.emit(asm.movReg(1, 0), asm.storeReg(8, 10, PLACE.late, 0));
    w.access(1, 0, random.pick(SIZES.filter((bytes) => bytes <= size)), isWritable ? "plain" : "read");
    if (w.slips) useLate(w);
    w.join(before);
    w.aim(skip);
    w.set(0, "none");
  } else if (random.oneIn(2)) {
    w.pointTo(1, place);
    w.emit(asm.movImm(2, random.below(8)), asm.movImm(3, size));
    w.call(203, "none");
    w.leave(asm.jumpImm("jeq", 0, 0, 0));
    w.emit(asm.storeReg(8, 10, PLACE.late, 0), asm.movReg(1, 0));
    w.access(1, 0, 1);
  } else {
    w.pointTo(1, -8 * random.between(2, SLOTS));
    w.emit(asm.movReg(2, w.number()));
    w.set(2, "none");
    w.bound(2, 15);
    w.pointTo(3, place);
    w.emit(asm.movImm(4, 0), asm.movImm(5, 0));
    w.call(201);
    w.smeared();
  }
  if (random.oneIn(2)) block(1);
}

/** A slice behind something that may have ended it. */
function useLate(w: Writer): void {
  if (w.random.oneIn(2)) movePacket(w);
  else w.emit(asm.storeImm(8, 10, PLACE.dynptr, 0));
  w.emit(asm.load(8, 1, 10, PLACE.late), asm.load(1, 8, 1, 0));
  w.set(8, "number");
}

function changeDynptr(w: Writer, place: number): void {
  const { random } = w;
  switch (random.below(5)) {
    case 0:
      w.pointTo(1, place);
      w.emit(asm.movImm(2, random.below(4)), asm.movImm(3, random.between(4, 16)));
      return w.kfunc(kfuncId("bpf_dynptr_adjust"));
    case 1:
      w.pointTo(1, place);
      w.pointTo(2, PLACE.clone);
      return w.kfunc(kfuncId("bpf_dynptr_clone"));
    case 2:
      w.pointTo(1, place);
      return w.kfunc(kfuncId("bpf_dynptr_size"));
    case 3: {
      w.pointTo(1, place);
      w.pointTo(3, PLACE.buffer);
      w.emit(asm.storeImm(8, 3, 0, 1), asm.storeImm(8, 3, 8, 2));
      w.emit(asm.movImm(2, 0), asm.movImm(4, random.between(1, 16)), asm.movImm(5, 0));
      w.call(202);
      return w.packetMoved();
    }
    default:
  }
}

/** Dynptrs over a map value, a packet, or a record. */
export function dynptr(w: Writer, block: Block): void {
  const { random } = w;
  const at = PLACE.dynptr;
  const choice = random.below(w.hasContext ? 3 : 2);
  if (choice === 0) {
    w.emit(asm.mapValue(1, MAP.single.fd, random.below(17)), asm.movImm(2, random.between(1, 31)));
    w.emit(asm.movImm(3, 0));
    w.pointTo(4, at);
    w.call(197);
  } else if (choice === 2) {
    w.emit(asm.movReg(1, 6), asm.movImm(2, 0));
    w.pointTo(3, at);
    w.kfunc(kfuncId(w.kind.name === "xdp" ? "bpf_dynptr_from_xdp" : "bpf_dynptr_from_skb"));
  } else {
    w.emit(asm.mapFd(1, MAP.ring.fd), asm.movReg(2, w.number()), asm.movImm(3, 0));
    w.pointTo(4, at);
    w.call(198);
  }
  const use = (): void => {
    const isPlain = choice !== 2;
    useDynptr(w, at, block, isPlain);
    if (random.oneIn(2)) changeDynptr(w, at);
    if (random.oneIn(2)) useDynptr(w, at, block, isPlain);
  };
  if (choice !== 1) {
    w.busy.add("dynptr");
    use();
    w.busy.delete("dynptr");
    // Overwritten: its slices are gone.
    if (random.oneIn(3)) w.emit(asm.storeImm(8, 10, at, 0));
    return;
  }
  w.holding("dynptr", use, () => {
    w.pointTo(1, at);
    w.emit(asm.movImm(2, 0));
    w.call(random.pick([199, 200]), "none");
    if (w.slips) w.emit(asm.load(8, 1, 10, PLACE.late), asm.load(1, 8, 1, 0));
  });
}

/** Between a call and its opposite. */
export function section(w: Writer, block: Block): void {
  const { random } = w;
  const [resource, enter, leave] = random.pick([
    [undefined, "bpf_rcu_read_lock", "bpf_rcu_read_unlock"],
    [undefined, "bpf_preempt_disable", "bpf_preempt_enable"],
    ["flags", "bpf_local_irq_save", "bpf_local_irq_restore"],
  ] as const);
  if (resource !== undefined && w.busy.has(resource)) return;
  const call = (name: string): void => {
    if (resource !== undefined) w.pointTo(1, PLACE.flags);
    w.kfunc(kfuncId(name), "none");
  };
  call(enter);
  w.holding(
    resource,
    () => block(random.between(1, 3)),
    () => call(leave),
  );
}

/** A lock in a map value, which is written while it is held. */
export function locked(w: Writer, block: Block): void {
  const { random } = w;
  lookup(w, MAP.locked);
  w.emit(asm.storeReg(8, 10, PLACE.locked, 1));
  const call = (helper: number): void => {
    w.emit(asm.load(8, 1, 10, PLACE.locked), asm.aluImm("add", 1, 8));
    w.call(helper, "none");
  };
  call(93);
  w.holding(
    "locked",
    () => {
      w.isLocked = true;
      w.emit(asm.load(8, 1, 10, PLACE.locked));
      w.set(1, "none");
      w.access(
        1,
        w.slips ? random.between(6, 12) : random.pick([0, 12, 16]),
        random.pick([1, 2, 4] as const),
        "plain",
      );
      block(random.below(3));
      w.isLocked = false;
    },
    () => call(94),
  );
}

/** bpf_sk_lookup_tcp() */
export function socket(w: Writer, block: Block): void {
  const { random } = w;
  w.emit(asm.movReg(1, 6), asm.storeImm(8, 10, PLACE.buffer, 0), asm.storeImm(4, 10, PLACE.buffer + 8, 0));
  w.pointTo(2, PLACE.buffer);
  w.emit(asm.movImm(3, 12), asm.movImm(4, -1), asm.movImm(5, 0));
  w.call(84, "none");
  w.emit(asm.storeReg(8, 10, PLACE.socket, 0));
  w.leave(asm.jumpImm("jeq", 0, 0, 0));
  w.holding(
    "socket",
    () => block(random.between(1, 2)),
    () => {
      w.emit(asm.load(8, 1, 10, PLACE.socket));
      w.call(86, "none");
    },
  );
}

/** A loop over numbers by an iterator on the stack. */
export function iterate(w: Writer, block: Block): void {
  const { random } = w;
  const at = PLACE.iterator;
  w.emit(asm.movReg(2, w.number()));
  w.set(2, "number");
  w.emit(asm.movReg(3, w.number()));
  w.pointTo(1, at);
  w.kfunc(kfuncId("bpf_iter_num_new"));
  w.holding(
    "iterator",
    () => {
      const before = loopStart(w);
      const start = w.length;
      w.pointTo(1, at);
      w.kfunc(kfuncId("bpf_iter_num_next"), "none");
      const out = w.jump(asm.jumpImm("jeq", 0, 0, 0));
      const to = random.pick([1, 7, 8]);
      w.emit(asm.storeReg(8, 10, PLACE.late, 0));
      w.emit(random.oneIn(2) ? asm.load(4, to, 0, 0) : asm.loadSigned(4, to, 0, 0));
      w.set(to, "number");
      block(random.between(1, 3));
      keep(w, before);
      w.emit(asm.goto(start - w.length - 1));
      w.aim(out);
      w.join(before);
    },
    () => {
      w.pointTo(1, at);
      w.kfunc(kfuncId("bpf_iter_num_destroy"), "none");
      if (w.slips) w.emit(asm.load(8, 1, 10, PLACE.late), asm.load(1, 8, 1, 0));
    },
  );
}

/** What a loop's body finds at every turn: numbers in saved registers and slots. */
export function loopStart(w: Writer): ReturnType<Writer["copyKinds"]> {
  w.kinds = w.kinds.map((kind, i) => (i === 10 || (i > 5 && kind === "number") ? kind : "none"));
  w.slots = w.slots.map((kind) => (kind === "number" ? kind : "none"));
  return w.copyKinds();
}

/** Puts numbers back where the body left something else. */
export function keep(w: Writer, [kinds, slots]: ReturnType<Writer["copyKinds"]>): void {
  for (const register of SAVED) {
    if (kinds[register] !== "number" || w.kinds[register] === "number") continue;
    w.emit(asm.movImm(register, 5));
    w.set(register, "number");
  }
  slots.forEach((kind, slot) => {
    if (kind !== "number" || w.slots[slot] === "number") return;
    w.emit(asm.storeImm(8, 10, -8 * (slot + 1), 0));
    w.slots[slot] = "number";
  });
}

/** The statements and the places that they need. */
export const OBJECTS: readonly (readonly [Resource | undefined, (w: Writer, block: Block) => void])[] = [
  ["record", record],
  ["owned", owned],
  ["dynptr", dynptr],
  [undefined, section],
  ["locked", locked],
  ["socket", socket],
  ["iterator", iterate],
  ["iterator", iterate],
];
