/** Helpers that work on maps. Answers to kernel/bpf/helpers.c. */
import { BPF_F, EACCES, EINVAL, type KAddr } from "@alien-ts/abi";
import type { BpfMachine } from "@alien-ts/bpf-vm";
import type { BpfMap, ElementVisitor } from "../maps/map.ts";
import { argU64, type HelperHost, setStatus } from "./host.ts";
import { arg, ret } from "./kinds.ts";
import { helper, type HelperRow } from "./row.ts";

/** The map in r1, which the kind has checked. */
const mapOf = (host: HelperHost, machine: BpfMachine): BpfMap => host.maps.at(machine.argPointer(1))!;

/**
 * The map in r1, for a program to change: undefined, and -EACCES in r0, where BPF_F_RDONLY_PROG forbids that. The verifier will
 * refuse such programs ("write into map forbidden").
 */
function writableMapOf(host: HelperHost, machine: BpfMachine): BpfMap | undefined {
  const map = mapOf(host, machine);
  if ((map.flags & BPF_F.RDONLY_PROG) === 0) return map;
  setStatus(machine, EACCES);
  return undefined;
}

export const mapHelpers = {
  map_lookup_elem: helper({
    since: "3.19",
    args: [arg.map, arg.mapKey],
    ret: ret.mapValueOrNull,
    doc: "Finds the value stored under *key* in *map*.",
    impl: (host, machine) => machine.setR0Pointer(mapOf(host, machine).lookup(machine.argPointer(2))),
  }),
  map_update_elem: helper({
    since: "3.19",
    args: [arg.map, arg.mapKey, arg.mapValue, arg.any],
    ret: ret.integer,
    doc: "Stores *value* under *key* in *map*; *flags* is BPF_ANY, BPF_NOEXIST or BPF_EXIST.",
    impl: (host, machine) => {
      const map = writableMapOf(host, machine);
      if (map === undefined) return;
      setStatus(machine, map.update(machine.argPointer(2), machine.argPointer(3), argU64(machine, 4)));
    },
  }),
  map_delete_elem: helper({
    since: "3.19",
    args: [arg.map, arg.mapKey],
    ret: ret.integer,
    doc: "Deletes what is stored under *key* in *map*.",
    impl: (host, machine) => {
      const map = writableMapOf(host, machine);
      if (map !== undefined) setStatus(machine, map.delete(machine.argPointer(2)));
    },
  }),
  map_push_elem: helper({
    since: "4.20",
    args: [arg.map, arg.mapValue, arg.any],
    ret: ret.integer,
    doc: "Pushes *value* onto the queue or stack *map*; with BPF_EXIST a full one drops its oldest value.",
    impl: (host, machine) => {
      const map = writableMapOf(host, machine);
      if (map !== undefined) setStatus(machine, map.push(machine.argPointer(2), argU64(machine, 3)));
    },
  }),
  map_pop_elem: helper({
    since: "4.20",
    args: [arg.map, arg.uninitMapValue],
    ret: ret.integer,
    doc: "Takes a value from the queue or stack *map*.",
    impl: (host, machine) => {
      const map = writableMapOf(host, machine);
      if (map !== undefined) setStatus(machine, map.pop(machine.argPointer(2)));
    },
  }),
  map_peek_elem: helper({
    since: "4.20",
    args: [arg.map, arg.uninitMapValue],
    ret: ret.integer,
    doc: "Copies the value that pop would take from *map*.",
    impl: (host, machine) => setStatus(machine, mapOf(host, machine).peek(machine.argPointer(2))),
  }),
  map_lookup_percpu_elem: helper({
    since: "5.19",
    args: [arg.map, arg.mapKey, arg.any],
    ret: ret.mapValueOrNull,
    doc: "Finds the value of *cpu* stored under *key* in the per-CPU *map*.",
    impl: (host, machine) => {
      const cpu = machine.argLow(3) >>> 0;
      machine.setR0Pointer(mapOf(host, machine).lookupPercpu(machine.argPointer(2), cpu));
    },
  }),
  for_each_map_elem: helper({
    since: "5.13",
    needs: "CAP_BPF",
    args: [arg.map, arg.callback, arg.stackOrNull, arg.any],
    ret: ret.integer,
    doc: "Calls *callback_fn*(map, key, value, ctx) for each element of *map* until it returns 1; answers how many it visited.",
    impl: (host, machine) => {
      if (argU64(machine, 4) !== 0) return setStatus(machine, EINVAL);
      const map = mapOf(host, machine);
      const visitor = new CallbackVisitor(machine, map);
      const visited = map.forEach(visitor);
      if (!visitor.hasStopped) machine.setR0Signed(visited < 0 ? -EINVAL.number : visited);
    },
  }),
} as const satisfies Record<string, HelperRow>;

/** Calls a function of the running program per element. */
class CallbackVisitor implements ElementVisitor {
  /** The run must end: r0 is of no interest. */
  hasStopped = false;
  readonly #machine: BpfMachine;
  readonly #map: BpfMap;
  readonly #slot: number;
  readonly #contextLow: number;
  readonly #contextHigh: number;

  constructor(machine: BpfMachine, map: BpfMap) {
    this.#machine = machine;
    this.#map = map;
    this.#slot = machine.argLow(2);
    this.#contextLow = machine.argLow(3);
    this.#contextHigh = machine.argHigh(3);
  }

  visit(key: KAddr, value: KAddr): number {
    const machine = this.#machine;
    machine.setArgPointer(1, this.#map.addr);
    machine.setArgPointer(2, key);
    machine.setArgPointer(3, value);
    machine.setArg(4, this.#contextLow, this.#contextHigh);
    if (!machine.callFunction(this.#slot)) {
      this.hasStopped = true;
      return 1;
    }
    return machine.argLow(0) | machine.argHigh(0);
  }
}
