/**
 * One row per map type of the UAPI. To add a map type: a file with a subclass of `BpfMap`, its `check` and `create`, and the
 * row here. Types without an implementation answer EINVAL, as a kernel without them does.
 */
import { BPF_MAP_TYPE, type Result } from "@alien-ts/abi";
import { checkArray, createArray } from "./array.ts";
import { checkHash, createHash, type HashKind } from "./hash.ts";
import type { BpfMap, MapAttributes, MapHost, Status } from "./map.ts";
import { checkPercpuArray, createPercpuArray } from "./percpu-array.ts";
import { checkPerfEventArray, createPerfEventArray } from "./perf-event-array.ts";
import { checkQueue, createQueue } from "./queue.ts";

export interface SupportedMapType {
  readonly supported: true;
  readonly since: string;
  readonly doc: string;
  /** Whether creating one needs CAP_BPF even where unprivileged bpf(2) is allowed. */
  readonly needsCapBpf: boolean;
  check(attributes: MapAttributes, host: MapHost): Status;
  create(host: MapHost, attributes: MapAttributes): Result<BpfMap>;
}

export interface UnsupportedMapType {
  readonly supported: false;
  readonly since: string;
  readonly note: string;
}

export type MapTypeRow = SupportedMapType | UnsupportedMapType;
type MapTypeName = Exclude<keyof typeof BPF_MAP_TYPE, "UNSPEC">;

const hash = (kind: HashKind): Pick<SupportedMapType, "check" | "create"> => ({
  check: (attributes, host) => checkHash(attributes, kind, host),
  create: (host, attributes) => createHash(host, attributes, kind),
});

const absent = (since: string, note: string): UnsupportedMapType => ({ supported: false, since, note });
const NETWORK = "comes with network hooks";
const LATER = "not implemented yet";

export const mapTypes = {
  HASH: {
    supported: true,
    since: "3.19",
    doc: "Keys of any size to values.",
    needsCapBpf: false,
    ...hash({ isPerCpu: false, isLru: false }),
  },
  ARRAY: {
    supported: true,
    since: "3.19",
    doc: "Values by index; all exist, zero at first.",
    needsCapBpf: false,
    check: (attributes) => checkArray(attributes),
    create: createArray,
  },
  PROG_ARRAY: absent("4.2", "comes with tail calls"),
  PERF_EVENT_ARRAY: {
    supported: true,
    since: "4.3",
    doc: "Perf events by index: where perf_event_output writes.",
    needsCapBpf: false,
    check: (attributes) => checkPerfEventArray(attributes),
    create: createPerfEventArray,
  },
  PERCPU_HASH: {
    supported: true,
    since: "4.6",
    doc: "A hash whose values differ per CPU.",
    needsCapBpf: false,
    ...hash({ isPerCpu: true, isLru: false }),
  },
  PERCPU_ARRAY: {
    supported: true,
    since: "4.6",
    doc: "An array whose values differ per CPU.",
    needsCapBpf: false,
    check: (attributes) => checkPercpuArray(attributes),
    create: createPercpuArray,
  },
  STACK_TRACE: absent("4.6", "comes with stack helpers"),
  CGROUP_ARRAY: absent("4.8", "comes with cgroup programs"),
  LRU_HASH: {
    supported: true,
    since: "4.10",
    doc: "A hash that evicts what was not used for longest.",
    needsCapBpf: true,
    ...hash({ isPerCpu: false, isLru: true }),
  },
  LRU_PERCPU_HASH: {
    supported: true,
    since: "4.10",
    doc: "An LRU hash whose values differ per CPU.",
    needsCapBpf: true,
    ...hash({ isPerCpu: true, isLru: true }),
  },
  LPM_TRIE: absent("4.11", LATER),
  ARRAY_OF_MAPS: absent("4.12", LATER),
  HASH_OF_MAPS: absent("4.12", LATER),
  DEVMAP: absent("4.14", NETWORK),
  SOCKMAP: absent("4.14", NETWORK),
  CPUMAP: absent("4.15", NETWORK),
  XSKMAP: absent("4.18", NETWORK),
  SOCKHASH: absent("4.18", NETWORK),
  CGROUP_STORAGE: absent("4.19", "comes with cgroup programs"),
  REUSEPORT_SOCKARRAY: absent("4.19", NETWORK),
  PERCPU_CGROUP_STORAGE: absent("4.20", "comes with cgroup programs"),
  QUEUE: {
    supported: true,
    since: "4.20",
    doc: "Values first in, first out.",
    needsCapBpf: true,
    check: (attributes) => checkQueue(attributes),
    create: createQueue,
  },
  STACK: {
    supported: true,
    since: "4.20",
    doc: "Values last in, first out.",
    needsCapBpf: true,
    check: (attributes) => checkQueue(attributes),
    create: createQueue,
  },
  SK_STORAGE: absent("5.2", NETWORK),
  DEVMAP_HASH: absent("5.4", NETWORK),
  STRUCT_OPS: absent("5.6", "needs BTF of the kernel"),
  RINGBUF: absent("5.8", LATER),
  INODE_STORAGE: absent("5.10", "needs BTF"),
  TASK_STORAGE: absent("5.11", "needs BTF"),
  BLOOM_FILTER: absent("5.16", LATER),
  USER_RINGBUF: absent("6.1", LATER),
  CGRP_STORAGE: absent("6.2", "needs BTF"),
  ARENA: absent("6.9", LATER),
} as const satisfies Record<MapTypeName, MapTypeRow>;

const byNumber: readonly (MapTypeRow | undefined)[] = (() => {
  const rows: (MapTypeRow | undefined)[] = [];
  for (const [name, row] of Object.entries(mapTypes)) rows[BPF_MAP_TYPE[name as MapTypeName]] = row;
  return rows;
})();

/** The row of a map type number; undefined for numbers that Linux does not know either. */
export const mapTypeRow = (mapType: number): MapTypeRow | undefined => byNumber[mapType];
