/**
 * What random programs run in: a checked machine with a context, a packet, maps, objects and helpers, filled at random.
 *
 * Interface: `World`. Addresses are fixed, so that a pointer's object is known by its address. Context fields that are pointers are
 * 64 bits wide here: `executable` turns their loads into such, as a kernel rewrites them. What helpers do is in
 * `concrete-helpers.ts`; what the program holds (`held`, `dynptrs`, `iterators`) is known by what they did, not by its states.
 */
import { LinearMemory } from "@alien-ts/abi";
import { PSEUDO } from "@alien-ts/bpf-isa";
import type { Insn } from "@alien-ts/bpf-isa";
import { BpfMachine, FRAME, MemoryRegions, prepare, runOptions } from "@alien-ts/bpf-vm";
import type { BpfProgram, Helper, RunHook, RunStatus } from "@alien-ts/bpf-vm";
import { Prng } from "@alien-ts/testkit";
import { EDGES } from "./random-writer.ts";
import {
  MAP,
  MAPS,
  addressOfMap,
  constantBytes,
  elementAddress,
  elementAddresses,
  mapAt,
} from "./random-maps.ts";
import { Owned } from "./concrete-owned.ts";
import type { MapShape } from "./random-maps.ts";
import type { PROGRAMS } from "./random-types.ts";

export const ADDRESS_HIGH = 0xffff_8881;
/** Where another world lies, in which everything has another address. */
export const ELSEWHERE = { high: 0xffff_8882, shift: 0x1_4548 } as const;
const MEMORY_BYTES = 0x10_0000;
const STACK_TOP = 0x8000;
const CONTEXT = 0x1_0000;
const CONTEXT_BYTES = 0x200;
const PACKET_AREA = 0x2_0000;
const HEAP = 0x6_0000;
/** Objects lie apart, so that an access beyond one is seen. */
const GAP = 0x40;
const FUEL = 4000;
const HERE = { high: ADDRESS_HIGH, shift: 0 };
/** data, data_end, data_meta as 64-bit words in this world's contexts. */
const WIDE = { data: 0x100, dataEnd: 0x108, dataMeta: 0x110 } as const;

/** What the program has to give back. */
export interface Held {
  references: number;
  locks: number;
  irqs: number;
  rcu: number;
  preempt: number;
}

/** Memory that pointers of kind `mem` may point to. */
export interface HeapObject {
  readonly base: number;
  readonly size: number;
  /** It ends with this one: a slice of it, or a copy of a part of the packet. */
  readonly owner?: object | undefined;
}

export interface Dynptr {
  readonly kind: "local" | "ringbuf" | "skb" | "xdp";
  /** Of a copy too: what both are over. */
  readonly owner: object;
  base: number;
  size: number;
  readonly isReadOnly: boolean;
}

export interface Iterator {
  left: number;
  isDrained: boolean;
  readonly element: HeapObject;
}

export type ProgramKind = (typeof PROGRAMS)[number];

/** What programs call: helpers by id, kernel functions by BTF id. */
export interface Calls {
  readonly helpers: readonly (Helper | undefined)[];
  readonly kfuncs: ReadonlyMap<number, Helper>;
}

export class World {
  readonly machine: BpfMachine;
  readonly regions = new MemoryRegions();
  readonly memory: LinearMemory;
  readonly stackTop: number;
  readonly context: number;
  random!: Prng;
  /** What lies about in memory that nobody wrote: another world has other numbers there. */
  #noise!: Prng;
  /** A digest of all that helpers were told. */
  told = 0;
  /** Numbers in the program: what it compares with. */
  #constants: readonly number[] = [];
  #kind!: ProgramKind;
  data = 0;
  dataEnd = 0;
  dataMeta = 0;
  held: Held = { references: 0, locks: 0, irqs: 0, rcu: 0, preempt: 0 };
  objects: readonly HeapObject[] = [];
  sockets: readonly number[] = [];
  readonly dynptrs = new Map<number, Dynptr>();
  readonly iterators = new Map<number, Iterator>();
  readonly savedFlags = new Set<number>();
  /** The lock that is held. */
  lockedAt = 0;
  /** Keys that a callback was given, by map. */
  readonly #keys = new Map<number, number[]>();
  /** What the program did that a kernel could not bear: it gave back what it did not have. */
  complaint: string | undefined;
  /** What the program threw. */
  thrown: number | undefined;
  readonly owned = new Owned(this);
  /** The member of the map's value that points to an object. */
  readonly keptAt: number;
  readonly #shift: number;
  #heapEnd = HEAP;
  #heapRegions: number[] = [];
  #hasPacket = false;

  constructor({ high, shift }: { readonly high: number; readonly shift: number } = HERE) {
    this.memory = new LinearMemory(new ArrayBuffer(MEMORY_BYTES), high);
    this.#shift = shift;
    this.stackTop = STACK_TOP + shift;
    this.context = CONTEXT + shift;
    this.keptAt = elementAddress(MAP.kept.fd, 0) + shift + 8;
    this.machine = new BpfMachine(this.memory, this.regions);
    for (const map of MAPS) this.#addMap(map);
  }

  /** `insns` with addresses of maps; `isPointerLoad` says which loads from the context give a pointer. */
  executable(
    { insns, kind }: { readonly insns: readonly Insn[]; readonly kind: ProgramKind },
    calls: Calls,
    isPointerLoad: (slot: number) => boolean,
  ): BpfProgram {
    this.#kind = kind;
    const wide = new Map<number, number>([
      [kind.data, WIDE.data],
      [kind.dataEnd, WIDE.dataEnd],
      [kind.dataMeta, WIDE.dataMeta],
    ]);
    const code = insns.map((insn, slot) => {
      const address = addressIn(insns, slot);
      if (address !== undefined) return { ...insn, src: 0, imm: address + this.#shift };
      if (insn.opcode === 0 && addressIn(insns, slot - 1) !== undefined)
        return { ...insn, imm: this.memory.baseHi | 0 };
      if (isPointerLoad(slot)) return { ...insn, opcode: 0x79, off: wide.get(insn.off) ?? 0 };
      return insn;
    });
    this.#constants = insns.map(({ imm }) => imm);
    return prepare(code, { helpers: calls.helpers, kfunc: (id) => calls.kfuncs.get(id) });
  }

  /** Runs with everything that the program can read chosen anew. */
  run(program: BpfProgram, random: Prng, hook: RunHook): RunStatus {
    this.random = random;
    this.#noise = new Prng(random.u32() + this.#shift);
    this.#reset();
    this.#fill();
    const options = { stackTop: this.stackTop, contextBytes: CONTEXT_BYTES, contextIsWritable: true };
    const packet = { read: (_: number, offset: number, size: 1 | 2 | 4) => this.#readPacket(offset, size) };
    return this.machine.run(program, this.context, runOptions({ ...options, fuel: FUEL, packet, hook }));
  }

  // --- What states are compared with --------------------------------------------------------------------------------

  word64(address: number): bigint {
    return this.memory.dv.getBigUint64(address, true);
  }

  byte(address: number): number {
    return this.memory.u8[address]!;
  }

  /** Addresses of all values of the map at `address`. */
  elementsOf(address: number): readonly number[] {
    return elementAddresses(address - this.#shift).map((at) => at + this.#shift);
  }

  mapAt(address: number): MapShape | undefined {
    return mapAt(address - this.#shift);
  }

  keysOf(address: number): readonly number[] {
    return this.#keys.get(address) ?? [];
  }

  // --- What helpers do ----------------------------------------------------------------------------------------------

  /** A number that means something to the program. */
  word(): number {
    const { random } = this;
    if (random.oneIn(5)) return random.below(9);
    if (random.oneIn(3)) return random.below(70) - (random.oneIn(3) ? 70 : 0);
    if (random.oneIn(2)) return random.pick(this.#constants);
    if (random.oneIn(2)) return (random.oneIn(3) ? -1 : 1) * random.pick(EDGES);
    return random.oneIn(4) ? random.pick([-1, 0, 0x7fff_ffff, -0x8000_0000]) : random.i32();
  }

  noise(): number {
    return this.#noise.i32();
  }

  /** A helper was given this number. */
  tellNumber(value: number): void {
    this.told = (Math.imul(this.told, 0x0100_0193) ^ value) | 0;
  }

  /** A helper was given these bytes. */
  tell(address: number, size: number): void {
    for (let i = 0; i < size; i++) this.tellNumber(this.byte(address + i));
  }

  /** All that others can see of the program's work: values of maps, the context, the packet, what helpers were told. */
  outcome(): number {
    this.writePointer(this.keptAt, 0);
    for (const map of MAPS)
      for (const at of this.elementsOf(addressOfMap(map.fd) + this.#shift)) this.tell(at, map.valueSize);
    this.tell(this.context, WIDE.data);
    this.tell(this.dataMeta, this.dataEnd - this.dataMeta);
    return this.told;
  }

  writePointer(at: number, to: number): void {
    this.memory.dv.setInt32(at, to, true);
    this.memory.dv.setInt32(at + 4, to === 0 ? 0 : this.memory.baseHi | 0, true);
  }

  /** New memory with random contents; `length` counts what is the kernel's too. */
  allocate(size: number, isWritable: boolean, owner?: object, length = size): HeapObject {
    const base = this.#heapEnd;
    this.#heapEnd += ((length + 7) & ~7) + GAP;
    if (this.#heapEnd > MEMORY_BYTES - GAP) throw new Error("the heap is full");
    if (size > 0) {
      this.regions.add(base, size, isWritable);
      this.#heapRegions.push(base);
    }
    this.scramble(base, size);
    const object = { base, size, owner };
    this.objects = [...this.objects, object];
    return object;
  }

  /** Ends the object, and what it owns. */
  free(object: HeapObject): void {
    if (this.#heapRegions.includes(object.base)) {
      this.regions.remove(object.base);
      this.#heapRegions = this.#heapRegions.filter((base) => base !== object.base);
    }
    this.objects = this.objects.filter((other) => other !== object);
    this.freeOwned(object);
  }

  freeOwned(owner: object): void {
    for (const object of this.objects.filter((other) => other.owner === owner)) this.free(object);
  }

  /** A part of an object, for as long as `owner` lasts. */
  slice(base: number, size: number, owner: object): void {
    this.objects = [...this.objects, { base, size, owner }];
  }

  scramble(address: number, size: number): void {
    for (let i = 0; i < size; i++) this.memory.u8[address + i] = this.random.below(256);
    for (let i = 0; i + 4 <= size; i += 4)
      if (this.random.oneIn(3)) this.memory.dv.setInt32(address + i, this.word(), true);
  }

  /** Others write values of maps at any time. */
  disturb(): void {
    this.owned.disturb();
    if (this.random.oneIn(6)) this.#fillMap(this.random.pick(MAPS));
  }

  /** The next may_goto of this frame ends its loop. */
  endLoop(): void {
    const { frames, depth } = this.machine;
    frames[depth * FRAME.words + FRAME.loopsLeft] = 0;
  }

  addKey(map: number, key: number): void {
    this.#keys.set(map, [...this.keysOf(map), key]);
  }

  /** The packet is elsewhere, with other contents: pointers into the old one are bad, and slices of it. */
  movePacket(): void {
    const { random, memory } = this;
    if (this.#hasPacket) this.regions.remove(this.dataMeta);
    const meta = random.pick([0, 0, 4, 16]);
    const length = random.pick([0, 1, 13, 14, 20, 34, 64, 100]);
    this.dataMeta = this.#shift + PACKET_AREA + 0x400 * random.between(1, 60) + random.below(4);
    this.data = this.dataMeta + meta;
    this.dataEnd = this.data + length;
    this.#hasPacket = meta + length > 0;
    if (this.#hasPacket) this.regions.add(this.dataMeta, meta + length, true);
    for (let at = this.dataMeta; at < this.dataEnd; at++) memory.u8[at] = random.below(256);
    this.#setContextPointer(WIDE.data, this.data);
    this.#setContextPointer(WIDE.dataEnd, this.dataEnd);
    this.#setContextPointer(WIDE.dataMeta, this.dataMeta);
    this.freeOwned(PACKET);
  }

  // --- The beginning of a run ---------------------------------------------------------------------------------------

  #addMap(map: MapShape): void {
    const parts = map.holes ?? [];
    for (const address of this.elementsOf(addressOfMap(map.fd) + this.#shift)) {
      let from = 0;
      for (const { at, size } of [...parts, { at: map.valueSize, size: 0 }]) {
        if (at > from) this.regions.add(address + from, at - from, !map.isConstant);
        from = at + size;
      }
    }
  }

  #reset(): void {
    this.held = { references: 0, locks: 0, irqs: 0, rcu: 0, preempt: 0 };
    for (const base of this.#heapRegions) this.regions.remove(base);
    this.#heapRegions = [];
    this.#heapEnd = HEAP + this.#shift;
    this.told = 0;
    this.objects = [];
    this.sockets = [];
    this.dynptrs.clear();
    this.iterators.clear();
    this.savedFlags.clear();
    this.#keys.clear();
    this.complaint = undefined;
    this.thrown = undefined;
  }

  #fill(): void {
    const { dv } = this.memory;
    const { stackTop, context } = this;
    for (let at = stackTop - 4096; at < stackTop; at += 4) dv.setInt32(at, this.noise(), true);
    for (let at = context; at < context + CONTEXT_BYTES; at += 4) dv.setInt32(at, this.word(), true);
    for (const map of MAPS) this.#fillMap(map);
    this.owned.reset();
    this.movePacket();
  }

  #setContextPointer(offset: number, value: number): void {
    this.writePointer(this.context + offset, value);
  }

  #fillMap(map: MapShape): void {
    for (const from of this.elementsOf(addressOfMap(map.fd) + this.#shift)) {
      const kept = this.word64(this.keptAt);
      if (map.isConstant) this.memory.u8.set(constantBytes(map.valueSize), from);
      else
        for (let at = from; at + 4 <= from + map.valueSize; at += 4)
          this.memory.dv.setInt32(at, this.word(), true);
      if (map === MAP.kept) this.memory.dv.setBigUint64(this.keptAt, kept, true);
    }
  }

  #readPacket(offset: number, size: number): number {
    const at = this.data + offset;
    if (at < this.data || at + size > this.dataEnd) return -1;
    let value = 0;
    for (let i = 0; i < size; i++) value = value * 256 + this.memory.u8[at + i]!;
    return value;
  }

  get packetKind(): "skb" | "xdp" {
    return this.#kind.type === 6 ? "xdp" : "skb";
  }
}

/** Owner of what ends when the packet moves. */
export const PACKET = {};

/** The address that a wide load gives, where it loads a map or a value. */
function addressIn(insns: readonly Insn[], slot: number): number | undefined {
  const insn = insns[slot];
  if (insn?.opcode !== 0x18) return undefined;
  if (insn.src === PSEUDO.MAP_FD) return addressOfMap(insn.imm);
  return insn.src === PSEUDO.MAP_VALUE ? elementAddress(insn.imm, 0) + insns[slot + 1]!.imm : undefined;
}
