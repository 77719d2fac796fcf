/**
 * Objects of random programs' own types in their world: made, dropped, put into a member of a map's value and into a list, and taken
 * out again; meanwhile others take them too. Each is owned by one: by the program, or by what it was put into.
 */
import { RUN } from "@alien-ts/bpf-vm";
import type { BpfMachine, Helper } from "@alien-ts/bpf-vm";
import type { HeapObject, World } from "./concrete-world.ts";
import { ITEM_BYTES, ITEM_LINK } from "./random-types.ts";

/** Objects that the program owns, by address, and those in the list. */
export class Owned {
  readonly #world: World;
  readonly #byProgram = new Map<number, HeapObject>();
  #kept: HeapObject | undefined;
  #list: HeapObject[] = [];

  constructor(world: World) {
    this.#world = world;
  }

  /** At the beginning of a run somebody may have put something into the map and into the list. */
  reset(): void {
    this.#byProgram.clear();
    this.#kept = undefined;
    this.#list = [];
    const { random } = this.#world;
    if (random.oneIn(2)) this.#kept = this.#make();
    for (let i = random.below(3); i > 0; i--) this.#list.push(this.#make());
    this.#writeKept();
  }

  /** Others take what is in the map; and in the list, which the program must have unlocked. */
  disturb(): void {
    const { random, held } = this.#world;
    if (random.oneIn(8) && this.#kept !== undefined) {
      this.#world.free(this.#kept);
      this.#kept = undefined;
      this.#writeKept();
    }
    if (held.locks === 0 && random.oneIn(4)) for (const item of this.#list.splice(0)) this.#world.free(item);
  }

  #make(): HeapObject {
    // Links are the kernel's.
    return this.#world.allocate(ITEM_LINK, true, undefined, ITEM_BYTES);
  }

  #writeKept(): void {
    this.#world.writePointer(this.#world.keptAt, this.#kept?.base ?? 0);
  }

  #take(object: HeapObject | undefined): number {
    if (object === undefined) return 0;
    this.#byProgram.set(object.base, object);
    this.#world.held.references += 1;
    return object.base;
  }

  /** The object that the program owned until now. */
  #give(machine: BpfMachine, address: number): HeapObject | undefined {
    const object = this.#byProgram.get(address);
    if (object === undefined) {
      this.#world.complaint = "gives away an object that it does not own";
      machine.interrupt(RUN.stopped);
      return undefined;
    }
    this.#byProgram.delete(address);
    this.#world.held.references -= 1;
    return object;
  }

  get exchange(): Helper {
    return (machine) => {
      const address = machine.argPointer(2);
      if (machine.argPointer(1) !== this.#world.keptAt) {
        this.#world.complaint = "no pointer of the map";
        machine.interrupt(RUN.stopped);
        return;
      }
      const given = address === 0 ? undefined : this.#give(machine, address);
      if (address !== 0 && given === undefined) return;
      const old = this.#take(this.#kept);
      this.#kept = given;
      this.#writeKept();
      machine.setR0Pointer(old);
    };
  }

  get functions(): Record<string, Helper> {
    return {
      bpf_obj_new_impl: (machine) =>
        machine.setR0Pointer(this.#world.random.oneIn(4) ? 0 : this.#take(this.#make())),
      bpf_obj_drop_impl: (machine) => {
        const object = this.#give(machine, machine.argPointer(1));
        if (object !== undefined) this.#world.free(object);
      },
      bpf_list_push_front_impl: (machine) => {
        const object = this.#give(machine, machine.argPointer(2) - ITEM_LINK);
        if (object !== undefined) this.#list.unshift(object);
        machine.setR0(0, 0);
      },
      bpf_list_pop_front: (machine) => {
        const address = this.#take(this.#list.shift());
        machine.setR0Pointer(address === 0 ? 0 : address + ITEM_LINK);
      },
      bpf_throw: (machine) => {
        this.#world.thrown = machine.argLow(1);
        machine.interrupt(RUN.stopped);
      },
    };
  }
}
