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
  /** What types its keys and values may have: any, an index and any, or none. */
  readonly btf: "any" | "array" | "none";
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

export const mapTypes = {
  HASH: {
    supported: true,
    since: "3.19",
    doc: "Keys of any size to values.",
    needsCapBpf: false,
    btf: "any",
    ...hash({ isPerCpu: false, isLru: false }),
  },
  ARRAY: {
    supported: true,
    since: "3.19",
    doc: "Values by index; all exist, zero at first.",
    needsCapBpf: false,
    btf: "array",
    check: (attributes) => checkArray(attributes),
    create: createArray,
  },
  PROG_ARRAY: absent("4.2", "tail calls are not wired to maps; call a function of the same program"),
  PERF_EVENT_ARRAY: {
    supported: true,
    since: "4.3",
    doc: "Perf events by index: where perf_event_output writes.",
    needsCapBpf: false,
    btf: "none",
    check: (attributes) => checkPerfEventArray(attributes),
    create: createPerfEventArray,
  },
  PERCPU_HASH: {
    supported: true,
    since: "4.6",
    doc: "A hash whose values differ per CPU.",
    needsCapBpf: false,
    btf: "any",
    ...hash({ isPerCpu: true, isLru: false }),
  },
  PERCPU_ARRAY: {
    supported: true,
    since: "4.6",
    doc: "An array whose values differ per CPU.",
    needsCapBpf: false,
    btf: "array",
    check: (attributes) => checkPercpuArray(attributes),
    create: createPercpuArray,
  },
  STACK_TRACE: absent(
    "4.6",
    "stacks of calls are not walked for programs; use the frame pointer in the context",
  ),
  CGROUP_ARRAY: absent("4.8", "control groups have no programs here; filter by pid or by comm"),
  LRU_HASH: {
    supported: true,
    since: "4.10",
    doc: "A hash that evicts what was not used for longest.",
    needsCapBpf: true,
    btf: "any",
    ...hash({ isPerCpu: false, isLru: true }),
  },
  LRU_PERCPU_HASH: {
    supported: true,
    since: "4.10",
    doc: "An LRU hash whose values differ per CPU.",
    needsCapBpf: true,
    btf: "any",
    ...hash({ isPerCpu: true, isLru: true }),
  },
  LPM_TRIE: absent(
    "4.11",
    "longest-prefix lookups are not implemented; keep one HASH per prefix length and try the longest first",
  ),
  ARRAY_OF_MAPS: absent(
    "4.12",
    "maps cannot be held by maps; put the outer key in front of the inner one, in a HASH",
  ),
  HASH_OF_MAPS: absent(
    "4.12",
    "maps cannot be held by maps; put the outer key in front of the inner one, in a HASH",
  ),
  DEVMAP: absent("4.14", "there are no network devices to send frames to"),
  SOCKMAP: absent("4.14", "there are no sockets of the internet families to hold"),
  CPUMAP: absent("4.15", "there are no network devices whose frames another CPU could take"),
  XSKMAP: absent(
    "4.18",
    "there are no AF_XDP sockets; read packets where they are sent, by a kprobe on the system call",
  ),
  SOCKHASH: absent("4.18", "there are no sockets of the internet families to hold"),
  CGROUP_STORAGE: absent("4.19", "control groups have no programs here; use a HASH"),
  REUSEPORT_SOCKARRAY: absent("4.19", "there are no sockets of the internet families to choose from"),
  PERCPU_CGROUP_STORAGE: absent("4.20", "control groups have no programs here; use a PERCPU_HASH"),
  QUEUE: {
    supported: true,
    since: "4.20",
    doc: "Values first in, first out.",
    needsCapBpf: true,
    btf: "none",
    check: (attributes) => checkQueue(attributes),
    create: createQueue,
  },
  STACK: {
    supported: true,
    since: "4.20",
    doc: "Values last in, first out.",
    needsCapBpf: true,
    btf: "none",
    check: (attributes) => checkQueue(attributes),
    create: createQueue,
  },
  SK_STORAGE: absent("5.2", "there are no sockets of the internet families to keep values for; use a HASH"),
  DEVMAP_HASH: absent("5.4", "there are no network devices to send frames to"),
  STRUCT_OPS: absent("5.6", "no table of functions of this kernel takes programs; use kprobes"),
  RINGBUF: absent(
    "5.8",
    "ring buffers that programs reserve room in are not implemented; write records to a PERF_EVENT_ARRAY",
  ),
  INODE_STORAGE: absent("5.10", "no storage is kept at inodes; use a HASH by inode number"),
  TASK_STORAGE: absent("5.11", "no storage is kept at tasks; use a HASH by pid"),
  BLOOM_FILTER: absent("5.16", "set membership with false positives is not implemented; use a HASH"),
  USER_RINGBUF: absent(
    "6.1",
    "records from user space are not implemented; put them in a QUEUE with MAP_UPDATE_ELEM",
  ),
  CGRP_STORAGE: absent("6.2", "no storage is kept at control groups; use a HASH"),
  ARENA: absent("6.9", "memory shared page by page is not implemented; map an ARRAY with BPF_F_MMAPABLE"),
} as const satisfies Record<MapTypeName, MapTypeRow>;

const byNumber: readonly (MapTypeRow | undefined)[] = (() => {
  const rows: (MapTypeRow | undefined)[] = [];
  for (const [name, row] of Object.entries(mapTypes)) rows[BPF_MAP_TYPE[name as MapTypeName]] = row;
  return rows;
})();

/** The row of a map type number; undefined for numbers that Linux does not know either. */
export const mapTypeRow = (mapType: number): MapTypeRow | undefined => byNumber[mapType];
