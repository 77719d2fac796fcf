/**
 * What random programs run in: a checked machine with a context, a packet, three maps and a few helpers, filled at random.
 *
 * Interface: `World`. Addresses are fixed, so that a pointer's object is known by its address. Context fields that are pointers are
 * 64 bits wide here: `executable` turns their loads into such, as a kernel rewrites them.
 */
import { LinearMemory } from "@alien-ts/abi";
import type { Insn } from "@alien-ts/bpf-isa";
import { BpfMachine, MemoryRegions, prepare, runOptions } from "@alien-ts/bpf-vm";
import type { BpfProgram, RunHook, RunStatus } from "@alien-ts/bpf-vm";
import type { Prng } from "@alien-ts/testkit";
import type { MapInfo } from "../src/env.ts";
import { EDGES, MAPS } from "./random-program.ts";

const BASE_HIGH = 0xffff_8881;
export const ADDRESS_HIGH = BASE_HIGH;
const MEMORY_BYTES = 0x4_0000;
export const STACK_TOP = 0x8000;
export const CONTEXT = 0x1_0000;
const CONTEXT_BYTES = 0x200;
const PACKET_AREA = 0x2_0000;
export const MAP_ADDRESS = 0x3_0000;
/** Elements lie apart, so that an access beyond one is seen. */
const ELEMENT_STEP = 0x400;
const MAP_STEP = 0x2000;
/** data, data_end, data_meta by their offset in the context; in this world they are 64-bit words there. */
const WIDE_FIELDS: Readonly<Record<number, number>> = { 76: 0x100, 80: 0x108, 140: 0x110 };
const FUEL = 4000;

const LIST = Object.values(MAPS);
type MapShape = (typeof LIST)[number];

const mapAddress = (fd: number): number => MAP_ADDRESS + fd * MAP_STEP;
const elementAddress = (fd: number, index: number): number => mapAddress(fd) + (index + 1) * ELEMENT_STEP;

/** As the verifier knows the maps. */
export const MAP_INFOS: ReadonlyMap<number, MapInfo> = new Map(
  LIST.map((map) => [
    map.fd,
    {
      address: mapAddress(map.fd),
      valuesAddress: map.entries === 1 ? elementAddress(map.fd, 0) : undefined,
      name: "",
      flags: 0,
      inner: undefined,
      fields: [],
      isFrozen: false,
      constantAt: undefined,
      btf: undefined,
      btfValueType: 0,
      maxEntries: map.entries,
      type: map.type,
      keySize: map.keySize,
      valueSize: map.valueSize,
    },
  ]),
);

/** Addresses of all values of the map at `address`. */
export function elementsOf(address: number): readonly number[] {
  const map = LIST.find(({ fd }) => mapAddress(fd) === address)!;
  return Array.from({ length: map.entries }, (_, index) => elementAddress(map.fd, index));
}

export class World {
  readonly machine: BpfMachine;
  readonly #regions = new MemoryRegions();
  readonly #memory = new LinearMemory(new ArrayBuffer(MEMORY_BYTES), BASE_HIGH);
  #random: Prng | undefined;
  /** Numbers in the program: what it compares with. */
  #constants: readonly number[] = [];
  data = 0;
  dataEnd = 0;

  constructor() {
    this.machine = new BpfMachine(this.#memory, this.#regions);
    for (const map of LIST) {
      for (let i = 0; i < map.entries; i++) this.#regions.add(elementAddress(map.fd, i), map.valueSize, true);
    }
  }

  /** `insns` with addresses of maps; `isPointerLoad` says which loads from the context give a pointer. */
  executable(insns: readonly Insn[], isPointerLoad: (slot: number) => boolean): BpfProgram {
    const code = insns.map((insn, slot) => {
      if (insn.opcode === 0x18 && insn.src === 1) return { ...insn, src: 0, imm: mapAddress(insn.imm) };
      if (insn.opcode === 0x18 && insn.src === 2)
        return { ...insn, src: 0, imm: elementAddress(insn.imm, 0) + insns[slot + 1]!.imm };
      if (insn.opcode === 0 && (insns[slot - 1]?.src === 1 || insns[slot - 1]?.src === 2))
        return { ...insn, imm: BASE_HIGH | 0 };
      if (isPointerLoad(slot)) return { ...insn, opcode: 0x79, off: WIDE_FIELDS[insn.off] ?? 0 };
      return insn;
    });
    const helpers: ((machine: BpfMachine) => void)[] = [];
    helpers[1] = (machine) => this.#lookup(machine);
    for (const id of [5, 7]) helpers[id] = (machine) => machine.setR0(this.#word(), this.#word());
    helpers[8] = (machine) => machine.setR0(this.#random!.below(2), 0);
    helpers[26] = (machine) => this.#loadBytes(machine);
    helpers[181] = (machine) => this.#loop(machine);
    this.#constants = insns.map(({ imm }) => imm);
    return prepare(code, { helpers });
  }

  /** Runs with everything that the program can read chosen anew. */
  run(program: BpfProgram, random: Prng, hook: RunHook): RunStatus {
    this.#random = random;
    this.#fill();
    return this.machine.run(
      program,
      CONTEXT,
      runOptions({
        stackTop: STACK_TOP,
        contextBytes: CONTEXT_BYTES,
        contextIsWritable: true,
        fuel: FUEL,
        hook,
      }),
    );
  }

  word64(address: number): bigint {
    return this.#memory.dv.getBigUint64(address, true);
  }

  byte(address: number): number {
    return this.#memory.u8[address]!;
  }

  #word(): number {
    const random = this.#random!;
    if (random.oneIn(3)) return random.below(70) - (random.oneIn(3) ? 70 : 0);
    if (random.oneIn(2)) return random.pick(this.#constants);
    if (random.oneIn(2)) return (random.oneIn(3) ? -1 : 1) * random.pick(EDGES);
    return random.oneIn(4) ? random.pick([-1, 0, 0x7fff_ffff, -0x8000_0000]) : random.i32();
  }

  #fill(): void {
    const random = this.#random!;
    const { dv } = this.#memory;
    for (let at = STACK_TOP - 4096; at < STACK_TOP; at += 4) dv.setInt32(at, random.i32(), true);
    for (let at = CONTEXT; at < CONTEXT + CONTEXT_BYTES; at += 4) dv.setInt32(at, this.#word(), true);
    for (const map of LIST) this.#fillMap(map);
    if (this.data !== 0 && this.dataEnd > this.data) this.#regions.remove(this.data);
    const length = random.pick([0, 1, 13, 14, 20, 34, 64, 100]);
    this.data = PACKET_AREA + 0x200 + random.below(4);
    this.dataEnd = this.data + length;
    if (length > 0) this.#regions.add(this.data, length, true);
    for (let at = this.data; at < this.dataEnd; at++) this.#memory.u8[at] = random.below(256);
    for (const [field, value] of [
      [0x100, this.data],
      [0x108, this.dataEnd],
      [0x110, this.data],
    ] as const) {
      dv.setInt32(CONTEXT + field, value, true);
      dv.setInt32(CONTEXT + field + 4, BASE_HIGH | 0, true);
    }
  }

  #fillMap(map: MapShape): void {
    for (let i = 0; i < map.entries; i++) {
      const from = elementAddress(map.fd, i);
      for (let at = from; at < from + map.valueSize; at += 4)
        this.#memory.dv.setInt32(at, this.#word(), true);
    }
  }

  #lookup(machine: BpfMachine): void {
    const map = LIST.find(({ fd }) => mapAddress(fd) === machine.argPointer(1))!;
    const key = machine.argMemory(2, map.keySize, false);
    if (key === 0) return;
    const index = this.#memory.dv.getUint32(key, true);
    const isHash = map === MAPS.hash;
    const found = isHash ? this.#random!.below(map.entries + 1) : index;
    machine.setR0Pointer(found < map.entries ? elementAddress(map.fd, found) : 0);
  }

  #loadBytes(machine: BpfMachine): void {
    const size = machine.argLow(4) >>> 0;
    const to = machine.argMemory(3, size, true);
    if (to === 0) return;
    for (let i = 0; i < size; i++) this.#memory.u8[to + i] = this.#random!.below(256);
    machine.setR0Signed(this.#random!.oneIn(2) ? 0 : -14);
  }

  /** bpf_loop(): at most 1 << 23 turns, until the callback returns 1. */
  #loop(machine: BpfMachine): void {
    const turns = machine.argLow(1) >>> 0;
    const slot = machine.argLow(2);
    const context = [machine.argLow(3), machine.argHigh(3)] as const;
    if (turns > 1 << 23) return machine.setR0Signed(-7);
    let done = 0;
    while (done < turns) {
      machine.setArg(1, done, 0);
      machine.setArg(2, context[0], context[1]);
      if (!machine.callFunction(slot)) return;
      done += 1;
      if (machine.argLow(0) !== 0) break;
    }
    machine.setR0(done, 0);
  }
}
