/**
 * BPF_MAP_LOOKUP_BATCH. Arrays are walked by key (`generic_map_lookup_batch`), hashes by bucket
 * (`__htab_map_lookup_and_delete_batch`): `in_batch` and `out_batch` are then a bucket number. ENOENT at the end, with the count
 * of what was copied; ENOSPC where a bucket does not fit.
 */
import {
  bpf_attr_map_batch,
  EFAULT,
  EINVAL,
  ENOENT,
  ENOSPC,
  ENOTSUPP,
  EPERM,
  isErr,
  type KAddr,
  type Result,
  type UAddr,
} from "@alien-ts/abi";
import type { BpfEngine } from "../engine.ts";
import { HashMap } from "../maps/hash.ts";
import { type BpfMap, roundUp8 } from "../maps/map.ts";
import { attributesOf, type BpfCall, mapFileOf, withMemory, writeBack } from "./call.ts";

interface Batch {
  readonly engine: BpfEngine;
  readonly map: BpfMap;
  readonly inBatch: UAddr;
  readonly outBatch: UAddr;
  readonly keys: UAddr;
  readonly values: UAddr;
  readonly limit: number;
}

/** How a walk ended: what it copied, and what it answers. */
interface Walked {
  readonly count: number;
  readonly result: Result<0>;
}

export function mapLookupBatch(call: BpfCall): Result<number> {
  const { engine } = call;
  const a = attributesOf(call, bpf_attr_map_batch);
  const file = mapFileOf(engine, a.map_fd);
  if (isErr(file)) return file;
  if (!file.canRead) return EPERM;
  const { map } = file;
  if (map.batchForm === "none") return ENOTSUPP;
  if (a.elem_flags !== 0 || a.flags !== 0) return EINVAL;
  const batch = {
    engine,
    map,
    inBatch: a.in_batch,
    outBatch: a.out_batch,
    keys: a.keys,
    values: a.values,
    limit: a.count,
  };
  if (batch.limit === 0) return 0;
  const setCount = (count: number): Result<0> => {
    a.count = count;
    return writeBack(call, engine.ports.layout.offset(bpf_attr_map_batch, "count"), 4);
  };
  if (isErr(setCount(0))) return EFAULT;
  const walked = map instanceof HashMap ? walkBuckets(batch, map) : walkKeys(batch);
  if (isErr(walked)) return walked;
  return isErr(setCount(walked.count)) ? EFAULT : walked.result;
}

/** Takes a cursor from `in_batch`, walks, and leaves it in `out_batch`. */
function walkKeys(batch: Batch): Result<Walked> {
  const { engine, map } = batch;
  const keyRoom = roundUp8(map.keySize);
  return withMemory(engine.ports, 2 * keyRoom + map.userValueSize, (scratch) => {
    const { ports, m } = engine;
    const [previous, key, value] = [scratch, scratch + keyRoom, scratch + 2 * keyRoom];
    let hasPrevious = batch.inBatch !== 0;
    if (hasPrevious && !ports.copyFromUser(previous, batch.inBatch, map.keySize)) return EFAULT;
    let count = 0;
    let result: Result<0> = 0;
    while (count < batch.limit && result === 0) {
      result = map.nextKey(hasPrevious ? previous : 0, key);
      if (result !== 0) break;
      const copied = map.copyValue(key, value);
      if (copied === 0 && !copyElement(batch, count, key, value)) return EFAULT;
      if (copied === 0) count += 1;
      m.u8.copyWithin(previous, key, key + map.keySize);
      hasPrevious = true;
    }
    if (count > 0 && !ports.copyToUser(batch.outBatch, previous, map.keySize)) return EFAULT;
    return { count, result };
  });
}

function copyElement({ engine, map, keys, values }: Batch, index: number, key: KAddr, value: KAddr): boolean {
  return (
    engine.ports.copyToUser(keys + index * map.keySize, key, map.keySize) &&
    engine.ports.copyToUser(values + index * map.userValueSize, value, map.userValueSize)
  );
}

function walkBuckets(batch: Batch, map: HashMap): Result<Walked> {
  return withMemory(batch.engine.ports, 8, (cursor) => {
    const { ports, m } = batch.engine;
    if (batch.inBatch !== 0 && !ports.copyFromUser(cursor, batch.inBatch, 4)) return EFAULT;
    let bucket = m.u32[cursor >> 2]!;
    if (bucket >= map.bucketCount) return ENOENT;
    let count = 0;
    let result: Result<0> = 0;
    for (; bucket < map.bucketCount; bucket++) {
      const length = map.bucketLength(bucket);
      if (length > batch.limit - count) {
        if (count === 0) result = ENOSPC;
        break;
      }
      const copied = length === 0 ? 0 : copyBucket(batch, map, bucket, { first: count, length });
      if (isErr(copied)) return copied;
      count += length;
    }
    if (bucket === map.bucketCount) result = ENOENT;
    m.u32[cursor >> 2] = bucket;
    return ports.copyToUser(batch.outBatch, cursor, 4) ? { count, result } : EFAULT;
  });
}

function copyBucket(
  { engine, keys, values }: Batch,
  map: HashMap,
  bucket: number,
  { first, length }: { readonly first: number; readonly length: number },
): Result<0> {
  const keyBytes = roundUp8(length * map.keySize);
  return withMemory(engine.ports, keyBytes + length * map.userValueSize, (scratch) => {
    map.copyBucket(bucket, scratch, scratch + keyBytes);
    const isCopied =
      engine.ports.copyToUser(keys + first * map.keySize, scratch, length * map.keySize) &&
      engine.ports.copyToUser(
        values + first * map.userValueSize,
        scratch + keyBytes,
        length * map.userValueSize,
      );
    return isCopied ? 0 : EFAULT;
  });
}
