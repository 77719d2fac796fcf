/** Helpers that work on maps. Answers to kernel/bpf/helpers.c. */
import { E2BIG, EINVAL, type KAddr } from "@alien-ts/abi";
import type { BpfMachine } from "@alien-ts/bpf-vm";
import type { BpfMap, ElementVisitor } from "../maps/map.ts";
import { type HelperHost, statusOf, u64 } from "./host.ts";
import { helper, type HelperRow, numeric } from "./row.ts";

/** BPF_MAX_LOOPS */
const MAX_LOOPS = 8 << 20;

/** The map at an address that the verifier has proved to be one's. */
const mapAt = (host: HelperHost, addr: KAddr): BpfMap => host.maps.at(addr)!;

export const mapHelpers = {
  map_lookup_elem: numeric({
    since: "3.19",
    doc: "Finds the value stored under *key* in *map*.",
    params: ["u32", "u32"],
    result: "pointer",
    make: (host) => (map, key) => mapAt(host, map!).lookup(key!),
    inlined: { kind: "map_lookup" },
  }),
  map_update_elem: numeric({
    since: "3.19",
    doc: "Stores *value* under *key* in *map*; *flags* is BPF_ANY, BPF_NOEXIST or BPF_EXIST.",
    params: ["u32", "u32", "u32", "u64"],
    result: "s32",
    make: (host) => (map, key, value, flags, high) =>
      statusOf(mapAt(host, map!).update(key!, value!, u64(flags!, high!))),
    inlined: { kind: "map_update" },
  }),
  map_delete_elem: numeric({
    since: "3.19",
    doc: "Deletes what is stored under *key* in *map*.",
    params: ["u32", "u32"],
    result: "s32",
    make: (host) => (map, key) => statusOf(mapAt(host, map!).delete(key!)),
    inlined: { kind: "map_delete" },
  }),
  map_push_elem: numeric({
    since: "4.20",
    doc: "Pushes *value* onto the queue or stack *map*; with BPF_EXIST a full one drops its oldest value.",
    params: ["u32", "u32", "u64"],
    result: "s32",
    make: (host) => (map, value, flags, high) => statusOf(mapAt(host, map!).push(value!, u64(flags!, high!))),
  }),
  map_pop_elem: numeric({
    since: "4.20",
    doc: "Takes a value from the queue or stack *map*.",
    params: ["u32", "u32"],
    result: "s32",
    make: (host) => (map, value) => statusOf(mapAt(host, map!).pop(value!)),
  }),
  map_peek_elem: numeric({
    since: "4.20",
    doc: "Copies the value that pop would take from *map*.",
    params: ["u32", "u32"],
    result: "s32",
    make: (host) => (map, value) => statusOf(mapAt(host, map!).peek(value!)),
  }),
  map_lookup_percpu_elem: numeric({
    since: "5.19",
    doc: "Finds the value of *cpu* stored under *key* in the per-CPU *map*.",
    params: ["u32", "u32", "u32"],
    result: "pointer",
    make: (host) => (map, key, cpu) => mapAt(host, map!).lookupPercpu(key!, cpu! >>> 0),
  }),
  for_each_map_elem: helper({
    since: "5.13",
    needs: "CAP_BPF",
    doc: "Calls *callback_fn*(map, key, value, ctx) for each element of *map* until it returns 1; answers how many it visited.",
    impl: (host, machine) => {
      if (u64(machine.argLow(4), machine.argHigh(4)) !== 0) return machine.setR0Signed(-EINVAL.number);
      const map = mapAt(host, machine.argPointer(1));
      const visitor = new CallbackVisitor(machine, map);
      const visited = map.forEach(visitor);
      if (!visitor.hasStopped) machine.setR0Signed(visited < 0 ? -EINVAL.number : visited);
    },
  }),
  loop: helper({
    since: "5.17",
    needs: "CAP_BPF",
    doc: "Calls *callback_fn*(index, ctx) *nr_loops* times, or until it returns 1; answers how often.",
    impl: loop,
    inlined: { kind: "loop" },
  }),
} as const satisfies Record<string, HelperRow>;

function loop(_host: HelperHost, machine: BpfMachine): void {
  const count = machine.argLow(1) >>> 0;
  const slot = machine.argLow(2);
  const [contextLow, contextHigh] = [machine.argLow(3), machine.argHigh(3)];
  if (u64(machine.argLow(4), machine.argHigh(4)) !== 0) return machine.setR0Signed(-EINVAL.number);
  if (count > MAX_LOOPS) return machine.setR0Signed(-E2BIG.number);
  let done = 0;
  while (done < count) {
    machine.setArg(1, done, 0);
    machine.setArg(2, contextLow, contextHigh);
    if (!machine.callFunction(slot)) return;
    done += 1;
    if ((machine.argLow(0) | machine.argHigh(0)) !== 0) break;
  }
  machine.setR0Signed(done);
}

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
