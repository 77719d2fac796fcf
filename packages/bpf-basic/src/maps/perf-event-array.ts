/**
 * BPF_MAP_TYPE_PERF_EVENT_ARRAY: indices to perf events. User space stores an fd; the map holds the event itself, with a
 * reference, so that any task's programs can write to it. Lookup from user space is refused. When the map file through which
 * an event was stored is closed, the event goes, unless BPF_F_PRESERVE_ELEMS. Answers to kernel/bpf/arraymap.c.
 */
import {
  BPF_ELEM,
  BPF_F,
  E2BIG,
  EBADF,
  EINVAL,
  ENOENT,
  ENOTSUPP,
  isErr,
  type KAddr,
  type Result,
} from "@alien-ts/abi";
import type { PerfEvent } from "../perf/event.ts";
import type { FdOps } from "../ports.ts";
import { ARRAY_FLAGS, checkArray, nextIndex } from "./array.ts";
import { createWithStorage } from "./create.ts";
import { BpfMap, type MapAttributes, type MapHost, type Status } from "./map.ts";

export function checkPerfEventArray(a: MapAttributes): Status {
  if (a.valueSize !== 4) return EINVAL;
  if ((a.flags & (BPF_F.RDONLY_PROG | BPF_F.WRONLY_PROG)) !== 0) return EINVAL;
  return checkArray(a, (ARRAY_FLAGS & ~(BPF_F.MMAPABLE | BPF_F.INNER_MAP)) | BPF_F.PRESERVE_ELEMS);
}

/** Linux takes 8 bytes per entry, so that a map with absurdly many is ENOMEM; here they are accounted the same way. */
export function createPerfEventArray(host: MapHost, a: MapAttributes): Result<BpfMap> {
  return createWithStorage(
    host,
    a.maxEntries * 8,
    (addr, storage) => new PerfEventArrayMap(host, addr, a, storage),
  );
}

interface Entry {
  readonly event: PerfEvent;
  /** The map file through which it was stored. */
  readonly through: object;
}

export class PerfEventArrayMap extends BpfMap {
  readonly #storage: KAddr;
  readonly #entries = new Map<number, Entry>();

  constructor(host: MapHost, addr: KAddr, a: MapAttributes, storage: KAddr) {
    super(host, addr, a);
    this.#storage = storage;
  }

  /** E2BIG for an index outside, ENOENT where no event is. */
  eventAt(index: number): Result<PerfEvent> {
    if (index >= this.maxEntries) return E2BIG;
    return this.#entries.get(index)?.event ?? ENOENT;
  }

  /** MAP_UPDATE_ELEM: the value is an fd of the current task. */
  store(key: KAddr, value: KAddr, flags: number, fds: FdOps, through: object): Status {
    if (flags !== BPF_ELEM.ANY) return EINVAL;
    const index = this.m.dv.getUint32(key, true);
    if (index >= this.maxEntries) return E2BIG;
    const object = fds.objectOf(this.m.dv.getInt32(value, true));
    if (isErr(object)) return object;
    if (object?.kind !== "perf") return EBADF;
    object.get();
    this.#drop(index);
    this.#entries.set(index, { event: object, through });
    return 0;
  }

  override delete(key: KAddr): Status {
    const index = this.m.dv.getUint32(key, true);
    if (index >= this.maxEntries) return E2BIG;
    return this.#drop(index) ? 0 : ENOENT;
  }

  override copyValue(): Status {
    return ENOTSUPP;
  }

  override nextKey(key: KAddr, to: KAddr): Status {
    return nextIndex(this, key, to);
  }

  override fileClosed(file: object): void {
    if ((this.flags & BPF_F.PRESERVE_ELEMS) !== 0) return;
    for (const [index, entry] of this.#entries) if (entry.through === file) this.#drop(index);
  }

  protected override freeContents(): void {
    for (const index of this.#entries.keys()) this.#drop(index);
    this.host.ports.free(this.#storage);
  }

  #drop(index: number): boolean {
    const entry = this.#entries.get(index);
    if (entry === undefined) return false;
    this.#entries.delete(index);
    entry.event.put();
    return true;
  }
}
