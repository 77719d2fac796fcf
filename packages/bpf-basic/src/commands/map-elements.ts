/**
 * The commands on one element: MAP_LOOKUP_ELEM, MAP_UPDATE_ELEM, MAP_DELETE_ELEM, MAP_GET_NEXT_KEY,
 * MAP_LOOKUP_AND_DELETE_ELEM, and MAP_FREEZE. Answers to kernel/bpf/syscall.c. Keys and values are copied through kernel
 * memory, so that a map never sees a user address.
 */
import {
  BPF_ELEM,
  BPF_MAP_TYPE,
  bpf_attr_map_elem,
  EBUSY,
  EFAULT,
  EINVAL,
  EPERM,
  isErr,
  type KAddr,
  type Result,
  type UAddr,
} from "@alien-ts/abi";
import type { BpfEngine } from "../engine.ts";
import { type BpfMap, roundUp8 } from "../maps/map.ts";
import { PerfEventArrayMap } from "../maps/perf-event-array.ts";
import { attributesOf, type BpfCall, mapFileOf, withMemory } from "./call.ts";

export function mapLookupElem(call: BpfCall): Result<number> {
  const a = attributesOf(call, bpf_attr_map_elem);
  const { key, value, flags } = a;
  const file = mapFileOf(call.engine, a.map_fd);
  if (isErr(file)) return file;
  if (!file.canRead) return EPERM;
  // BPF_F_LOCK, the only flag, needs a lock in the value, which BTF would tell of.
  if (flags !== 0) return EINVAL;
  const { map } = file;
  return withKey(call.engine, map, key, map.userValueSize, (keyAddr, valueAddr) => {
    const status = map.copyValue(keyAddr, valueAddr);
    return status === 0 ? copyOut(call.engine, value, valueAddr, map.userValueSize) : status;
  });
}

export function mapUpdateElem(call: BpfCall): Result<number> {
  const a = attributesOf(call, bpf_attr_map_elem);
  const { key, value, flags } = a;
  const { engine } = call;
  const file = mapFileOf(engine, a.map_fd);
  if (isErr(file)) return file;
  if (!file.canWrite) return EPERM;
  if (flags >= BPF_ELEM.F_LOCK) return EINVAL;
  const { map } = file;
  return withKey(engine, map, key, map.userValueSize, (keyAddr, valueAddr) => {
    if (!engine.ports.copyFromUser(valueAddr, value, map.userValueSize)) return EFAULT;
    if (map instanceof PerfEventArrayMap) return map.store(keyAddr, valueAddr, flags, engine.ports, file);
    return map.updateFromUser(keyAddr, valueAddr, flags);
  });
}

export function mapDeleteElem(call: BpfCall): Result<number> {
  const a = attributesOf(call, bpf_attr_map_elem);
  const { key } = a;
  const file = mapFileOf(call.engine, a.map_fd);
  if (isErr(file)) return file;
  if (!file.canWrite) return EPERM;
  return withKey(call.engine, file.map, key, 0, (keyAddr) => file.map.delete(keyAddr));
}

export function mapGetNextKey(call: BpfCall): Result<number> {
  const a = attributesOf(call, bpf_attr_map_elem);
  const { key, next_key } = a;
  const { engine } = call;
  const file = mapFileOf(engine, a.map_fd);
  if (isErr(file)) return file;
  if (!file.canRead) return EPERM;
  const { map } = file;
  const next = (keyAddr: KAddr, to: KAddr): Result<number> => {
    const status = map.nextKey(keyAddr, to);
    return status === 0 ? copyOut(engine, next_key, to, map.keySize) : status;
  };
  if (key === 0) return withMemory(engine.ports, map.keySize, (to) => next(0, to));
  return withKey(engine, map, key, map.keySize, next);
}

export function mapLookupAndDeleteElem(call: BpfCall): Result<number> {
  const a = attributesOf(call, bpf_attr_map_elem);
  const { key, value, flags } = a;
  const file = mapFileOf(call.engine, a.map_fd);
  if (isErr(file)) return file;
  if (!file.canRead || !file.canWrite) return EPERM;
  if (flags !== 0) return EINVAL;
  const { map } = file;
  return withKey(call.engine, map, key, map.userValueSize, (keyAddr, valueAddr) => {
    const status = map.lookupAndDelete(keyAddr, valueAddr);
    return status === 0 ? copyOut(call.engine, value, valueAddr, map.userValueSize) : status;
  });
}

/** EPERM for a map that is frozen already (its files have lost the right to write), EBUSY while a writable mapping exists. */
export function mapFreeze(call: BpfCall): Result<number> {
  const file = mapFileOf(call.engine, attributesOf(call, bpf_attr_map_elem).map_fd);
  if (isErr(file)) return file;
  if (!file.canWrite) return EPERM;
  if (file.map.writers > 0) return EBUSY;
  file.map.freeze();
  return 0;
}

/**
 * Copies the key in (`___bpf_copy_key`: keyless maps want NULL) and calls `use` with it and `roomBytes` of memory behind it.
 */
function withKey(
  { ports }: BpfEngine,
  map: BpfMap,
  key: UAddr,
  roomBytes: number,
  use: (key: KAddr, room: KAddr) => Result<number>,
): Result<number> {
  const isKeyless = map.mapType === BPF_MAP_TYPE.QUEUE || map.mapType === BPF_MAP_TYPE.STACK;
  if (isKeyless && key !== 0) return EINVAL;
  const roomAt = roundUp8(map.keySize);
  return withMemory(ports, roomAt + roomBytes, (scratch) => {
    if (!isKeyless && !ports.copyFromUser(scratch, key, map.keySize)) return EFAULT;
    return use(scratch, scratch + roomAt);
  });
}

function copyOut({ ports }: BpfEngine, to: UAddr, from: KAddr, sizeBytes: number): Result<0> {
  return ports.copyToUser(to, from, sizeBytes) ? 0 : EFAULT;
}
