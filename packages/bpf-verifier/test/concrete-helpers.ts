/**
 * What the helpers and kernel functions of random programs do in their world: within what each promises, anything.
 *
 * A helper that is given memory touches it as it may, so that the machine refuses what is not there. One that gives something back
 * complains where it is not held.
 */
import { RUN, prepare } from "@alien-ts/bpf-vm";
import type { BpfMachine, Helper } from "@alien-ts/bpf-vm";
import { asm } from "@alien-ts/bpf-isa";
import { PACKET } from "./concrete-world.ts";
import type { Calls, Dynptr, Held, World } from "./concrete-world.ts";
import { kfuncId } from "./random-types.ts";

const EINVAL = -22;
const E2BIG = -7;
/** More turns than this are not always made: runs would end without fuel. */
const MANY_TURNS = 12;
const ITERATOR_TURNS = 8;
const MAX_LOOPS = 1 << 23;
const DYNPTR_BYTES = 16;
/** Larger objects are not to be had. */
const MOST_BYTES = 256;

/** All that programs of `world` may call. */
export function callsOf(world: World): Calls {
  const rows: Readonly<Record<number, Helper>> = {
    ...mapHelpers(world),
    ...numberHelpers(world),
    ...packetHelpers(world),
    ...memoryHelpers(world),
    ...callbackHelpers(world),
    ...recordHelpers(world),
    ...dynptrHelpers(world),
    194: world.owned.exchange,
  };
  const helpers: (Helper | undefined)[] = [];
  for (const [id, helper] of Object.entries(rows)) helpers[Number(id)] = clobbering(world, helper);
  const functions = {
    ...iteratorFunctions(world),
    ...dynptrFunctions(world),
    ...sectionFunctions(world),
    ...world.owned.functions,
  };
  const kfuncs = Object.entries(functions).map(
    ([name, helper]) => [kfuncId(name), clobbering(world, helper)] as const,
  );
  return { helpers, kfuncs: new Map(kfuncs) };
}

/** A call leaves anything in r1 to r5, and meanwhile others write to maps. */
const clobbering =
  (world: World, helper: Helper): Helper =>
  (machine) => {
    helper(machine);
    for (let n = 1; n <= 5; n++) machine.setArg(n, world.noise(), world.noise());
    world.disturb();
  };

/** The memory behind argument `n`, all of it random afterwards; false where it is not there. */
function write(world: World, machine: BpfMachine, n: number, size: number): boolean {
  if (size === 0) return true;
  const to = machine.argMemory(n, size, true);
  if (to === 0) return false;
  world.scramble(to, size);
  return true;
}

/** The memory behind argument `n` is there, and is told. */
function read(world: World, machine: BpfMachine, n: number, size: number): boolean {
  if (size === 0) return true;
  const from = machine.argMemory(n, size, false);
  if (from !== 0) world.tell(from, size);
  return from !== 0;
}

const answer = (world: World, machine: BpfMachine): void =>
  machine.setR0Signed(world.random.oneIn(2) ? 0 : -world.random.between(1, 40));

function complain(world: World, machine: BpfMachine, what: string): void {
  world.complaint = what;
  machine.interrupt(RUN.stopped);
}

function give(world: World, machine: BpfMachine, what: keyof Held): void {
  if (world.held[what] === 0) complain(world, machine, `gives back ${what} that it does not have`);
  else world.held[what] -= 1;
}

function mapHelpers(world: World): Record<number, Helper> {
  const withMap =
    (then: (machine: BpfMachine, key: number, value: number) => void): Helper =>
    (machine) => {
      const map = world.mapAt(machine.argPointer(1));
      if (map === undefined) return complain(world, machine, "no map");
      then(machine, map.keySize, map.valueSize);
    };
  return {
    1: withMap((machine, keySize) => {
      const key = machine.argMemory(2, keySize, false);
      if (key === 0) return;
      const map = machine.argPointer(1);
      const elements = world.elementsOf(map);
      const isHash = world.mapAt(map)!.type === 1;
      const index = isHash ? world.random.below(elements.length + 1) : world.memory.dv.getUint32(key, true);
      machine.setR0Pointer(elements[index] ?? 0);
    }),
    2: withMap((machine, key, value) => {
      world.tellNumber(machine.argLow(4));
      if (read(world, machine, 2, key) && read(world, machine, 3, value)) answer(world, machine);
    }),
    3: withMap((machine, key) => {
      if (read(world, machine, 2, key)) answer(world, machine);
    }),
    87: withMap((machine, _, value) => {
      if (read(world, machine, 2, value)) answer(world, machine);
    }),
    88: withMap((machine, _, value) => {
      if (write(world, machine, 2, value)) answer(world, machine);
    }),
    89: withMap((machine, _, value) => {
      if (write(world, machine, 2, value)) answer(world, machine);
    }),
    93: (machine) => {
      world.held.locks += 1;
      world.lockedAt = machine.argPointer(1);
    },
    94: (machine) => {
      if (machine.argPointer(1) !== world.lockedAt) complain(world, machine, "gives back another lock");
      else give(world, machine, "locks");
    },
  };
}

function numberHelpers(world: World): Record<number, Helper> {
  const number: Helper = (machine) => machine.setR0(world.word(), world.word());
  return { 5: number, 7: number, 8: (machine) => machine.setR0(world.random.below(2), 0) };
}

function packetHelpers(world: World): Record<number, Helper> {
  const moves: Helper = (machine) => {
    if (world.random.oneIn(2)) world.movePacket();
    answer(world, machine);
  };
  return {
    9: (machine) => {
      if (read(world, machine, 3, machine.argLow(4) >>> 0)) moves(machine);
    },
    26: (machine) => {
      if (write(world, machine, 3, machine.argLow(4) >>> 0)) answer(world, machine);
    },
    38: moves,
    39: moves,
    43: moves,
    44: moves,
    54: moves,
    65: moves,
    // A tail call that fails, or a program that moves the packet and ends.
    12: (machine) => {
      if (world.random.oneIn(2)) return machine.setR0(world.word(), world.word());
      world.movePacket();
      machine.tailCall(prepare([...asm.wide(0, world.word(), world.word()), asm.exit()]));
    },
  };
}

function memoryHelpers(world: World): Record<number, Helper> {
  const convert: Helper = (machine) => {
    if (read(world, machine, 1, machine.argLow(2) >>> 0) && write(world, machine, 4, 8))
      answer(world, machine);
  };
  return {
    28: (machine) => {
      const isThere = (n: number): boolean =>
        machine.argPointer(n) === 0 || read(world, machine, n, machine.argLow(n + 1) >>> 0);
      if (isThere(1) && isThere(3)) machine.setR0(world.word(), 0);
    },
    84: (machine) => {
      if (!read(world, machine, 2, machine.argLow(3) >>> 0)) return;
      if (world.random.oneIn(2)) return machine.setR0Pointer(0);
      const { base } = world.allocate(0, false);
      world.sockets = [...world.sockets, base];
      world.held.references += 1;
      machine.setR0Pointer(base);
    },
    86: (machine) => {
      const socket = machine.argPointer(1);
      if (!world.sockets.includes(socket)) return complain(world, machine, "no socket");
      world.sockets = world.sockets.filter((other) => other !== socket);
      give(world, machine, "references");
      machine.setR0(0, 0);
    },
    105: convert,
    106: convert,
    113: (machine) => {
      if (write(world, machine, 1, machine.argLow(2) >>> 0)) answer(world, machine);
    },
    130: (machine) => {
      if (read(world, machine, 2, machine.argLow(3) >>> 0)) answer(world, machine);
    },
  };
}

function callbackHelpers(world: World): Record<number, Helper> {
  const isTired = (done: number): boolean => done > MANY_TURNS && world.random.oneIn(3);
  return {
    // bpf_loop(): at most 1 << 23 turns, until the callback returns 1.
    181: (machine) => {
      const turns = machine.argLow(1) >>> 0;
      const slot = machine.argLow(2);
      const context = [machine.argLow(3), machine.argHigh(3)] as const;
      if (turns > MAX_LOOPS) return machine.setR0Signed(E2BIG);
      let done = 0;
      while (done < turns && !isTired(done)) {
        machine.setArg(1, done, 0);
        machine.setArg(2, ...context);
        if (!machine.callFunction(slot)) return;
        done += 1;
        if (machine.argLow(0) !== 0) break;
      }
      machine.setR0(done, 0);
    },
    // bpf_for_each_map_elem()
    164: (machine) => {
      const map = machine.argPointer(1);
      const slot = machine.argLow(2);
      const context = [machine.argLow(3), machine.argHigh(3)] as const;
      let done = 0;
      for (const value of world.elementsOf(map)) {
        const key = world.allocate(world.mapAt(map)!.keySize, false);
        world.addKey(map, key.base);
        machine.setArgPointer(1, map);
        machine.setArgPointer(2, key.base);
        machine.setArgPointer(3, value);
        machine.setArg(4, ...context);
        if (!machine.callFunction(slot)) return;
        done += 1;
        if (machine.argLow(0) !== 0) break;
      }
      machine.setR0(done, 0);
    },
  };
}

function recordHelpers(world: World): Record<number, Helper> {
  const release: Helper = (machine) => {
    const record = world.objects.find(({ base }) => base === machine.argPointer(1));
    if (record === undefined) return complain(world, machine, "no record");
    world.tell(record.base, record.size);
    world.free(record);
    give(world, machine, "references");
  };
  return {
    131: (machine) => {
      const size = machine.argLow(2) >>> 0;
      if (size > MOST_BYTES || world.random.oneIn(3)) return machine.setR0Pointer(0);
      world.held.references += 1;
      machine.setR0Pointer(world.allocate(size, true).base);
    },
    132: release,
    133: release,
  };
}

/** The dynptr at argument `n`. */
function dynptrAt(world: World, machine: BpfMachine, n: number): Dynptr | undefined {
  const found = world.dynptrs.get(machine.argPointer(n));
  if (found === undefined) complain(world, machine, "no dynptr");
  return found;
}

/** Makes a dynptr at argument `n`; one that could not be made is empty. */
function make(world: World, machine: BpfMachine, n: number, dynptr: Dynptr): void {
  if (!write(world, machine, n, DYNPTR_BYTES)) return;
  const isMade = world.random.below(5) > 0;
  world.dynptrs.set(machine.argPointer(n), isMade ? dynptr : { ...dynptr, base: 0, size: 0 });
  machine.setR0Signed(isMade ? 0 : EINVAL);
}

const hasRange = ({ base, size }: Dynptr, offset: number, length: number): boolean =>
  base !== 0 && offset + length <= size;

function dynptrHelpers(world: World): Record<number, Helper> {
  const release: Helper = (machine) => {
    const dynptr = dynptrAt(world, machine, 1);
    if (dynptr === undefined) return;
    for (const [at, other] of world.dynptrs) if (other.owner === dynptr.owner) world.dynptrs.delete(at);
    world.freeOwned(dynptr.owner);
    give(world, machine, "references");
  };
  return {
    197: (machine) => {
      const size = machine.argLow(2) >>> 0;
      if (!read(world, machine, 1, size)) return;
      const base = machine.argPointer(1);
      make(world, machine, 4, { kind: "local", owner: {}, base, size, isReadOnly: false });
    },
    198: (machine) => {
      const size = (machine.argLow(2) >>> 0) & 0xff;
      const owner = {};
      const { base } = world.allocate(size, true, owner);
      world.held.references += 1;
      make(world, machine, 4, { kind: "ringbuf", owner, base, size, isReadOnly: false });
    },
    199: release,
    200: release,
    201: (machine) => {
      const size = machine.argLow(2) >>> 0;
      const dynptr = dynptrAt(world, machine, 3);
      if (dynptr !== undefined && write(world, machine, 1, size)) answer(world, machine);
    },
    202: (machine) => {
      const dynptr = dynptrAt(world, machine, 1);
      if (dynptr === undefined || !read(world, machine, 3, machine.argLow(4) >>> 0)) return;
      if (dynptr.kind === "skb" && world.random.oneIn(2)) world.movePacket();
      answer(world, machine);
    },
    203: (machine) => {
      const dynptr = dynptrAt(world, machine, 1);
      if (dynptr === undefined) return;
      const offset = machine.argLow(2) >>> 0;
      const size = machine.argLow(3) >>> 0;
      const isPlain = dynptr.kind === "local" || dynptr.kind === "ringbuf";
      if (!isPlain || !hasRange(dynptr, offset, size)) return machine.setR0Pointer(0);
      world.slice(dynptr.base + offset, size, dynptr.owner);
      machine.setR0Pointer(dynptr.base + offset);
    },
  };
}

function sectionFunctions(world: World): Record<string, Helper> {
  return {
    bpf_rcu_read_lock: () => void (world.held.rcu += 1),
    bpf_rcu_read_unlock: (machine) => give(world, machine, "rcu"),
    bpf_preempt_disable: () => void (world.held.preempt += 1),
    bpf_preempt_enable: (machine) => give(world, machine, "preempt"),
    bpf_local_irq_save: (machine) => {
      if (!write(world, machine, 1, 8)) return;
      world.held.irqs += 1;
      world.savedFlags.add(machine.argPointer(1));
    },
    bpf_local_irq_restore: (machine) => {
      world.savedFlags.delete(machine.argPointer(1));
      give(world, machine, "irqs");
    },
  };
}

function iteratorFunctions(world: World): Record<string, Helper> {
  return {
    bpf_iter_num_new: (machine) => {
      if (!write(world, machine, 1, 8)) return;
      world.held.references += 1;
      const left = world.random.below(ITERATOR_TURNS);
      const element = world.allocate(4, false);
      world.iterators.set(machine.argPointer(1), { left, isDrained: false, element });
      answer(world, machine);
    },
    bpf_iter_num_next: (machine) => {
      const iterator = world.iterators.get(machine.argPointer(1));
      if (iterator === undefined) return complain(world, machine, "no iterator");
      iterator.left -= 1;
      iterator.isDrained = iterator.left < 0;
      if (iterator.isDrained) return machine.setR0Pointer(0);
      world.memory.dv.setInt32(iterator.element.base, world.word(), true);
      machine.setR0Pointer(iterator.element.base);
    },
    bpf_iter_num_destroy: (machine) => {
      const iterator = world.iterators.get(machine.argPointer(1));
      if (iterator === undefined) return complain(world, machine, "no iterator");
      world.free(iterator.element);
      world.iterators.delete(machine.argPointer(1));
      give(world, machine, "references");
    },
  };
}

function dynptrFunctions(world: World): Record<string, Helper> {
  const overPacket: Helper = (machine) => {
    const size = world.dataEnd - world.data;
    const kind = world.packetKind;
    make(world, machine, 3, { kind, owner: PACKET, base: world.data, size, isReadOnly: false });
  };
  const slice =
    (isReadOnly: boolean): Helper =>
    (machine) => {
      const dynptr = dynptrAt(world, machine, 1);
      const size = machine.argLow(4) >>> 0;
      const hasBuffer = machine.argPointer(3) !== 0;
      if (dynptr === undefined || (hasBuffer && !write(world, machine, 3, size))) return;
      const isOver = dynptr.kind === "skb" || dynptr.kind === "xdp";
      const offset = machine.argLow(2) >>> 0;
      if (!isOver) {
        if (!hasRange(dynptr, offset, size)) return machine.setR0Pointer(0);
        world.slice(dynptr.base + offset, size, dynptr.owner);
        return machine.setR0Pointer(dynptr.base + offset);
      }
      if (dynptr.base === 0 || size > MOST_BYTES || world.random.oneIn(3)) return machine.setR0Pointer(0);
      if (hasBuffer && world.random.oneIn(2)) {
        world.slice(machine.argPointer(3), size, PACKET);
        return machine.setR0Pointer(machine.argPointer(3));
      }
      machine.setR0Pointer(world.allocate(size, !isReadOnly, PACKET).base);
    };
  return {
    bpf_dynptr_from_skb: overPacket,
    bpf_dynptr_from_xdp: overPacket,
    bpf_dynptr_slice: slice(true),
    bpf_dynptr_slice_rdwr: slice(false),
    bpf_dynptr_adjust: (machine) => {
      const dynptr = dynptrAt(world, machine, 1);
      if (dynptr === undefined) return;
      const [from, to] = [machine.argLow(2) >>> 0, machine.argLow(3) >>> 0];
      if (dynptr.base === 0 || from > to || to > dynptr.size) return machine.setR0Signed(EINVAL);
      dynptr.base += from;
      dynptr.size = to - from;
      machine.setR0(0, 0);
    },
    bpf_dynptr_clone: (machine) => {
      const dynptr = dynptrAt(world, machine, 1);
      if (dynptr === undefined || !write(world, machine, 2, DYNPTR_BYTES)) return;
      world.dynptrs.set(machine.argPointer(2), { ...dynptr });
      machine.setR0Signed(dynptr.base === 0 ? EINVAL : 0);
    },
    bpf_dynptr_size: (machine) => {
      const dynptr = dynptrAt(world, machine, 1);
      if (dynptr !== undefined) machine.setR0(dynptr.base === 0 ? EINVAL : dynptr.size, 0);
    },
  };
}
