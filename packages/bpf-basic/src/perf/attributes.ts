/** `struct perf_event_attr` as it comes from user space: size rules and the checks that do not depend on the PMU. */
import {
  E2BIG,
  EFAULT,
  EINVAL,
  ENOMEM,
  isErr,
  type KAddr,
  PAGE_SIZE,
  PERF_ATTR_SIZE,
  PERF_FORMAT,
  PERF_SAMPLE,
  perf_event_attr,
  type Result,
  type UAddr,
} from "@alien-ts/abi";
import type { MemoryOps, UserCopyOps } from "../ports.ts";

/** The attributes that this package uses. */
export interface PerfAttributes {
  readonly type: number;
  readonly config: number;
  readonly config1: number;
  /** `config2` may be a kernel address: its words. */
  readonly config2Low: number;
  readonly config2High: number;
  readonly samplePeriod: number;
  readonly sampleType: number;
  readonly readFormat: number;
  readonly isDisabled: boolean;
  readonly isInherited: boolean;
  readonly isFrequency: boolean;
  readonly isWriteBackward: boolean;
  readonly excludesKernel: boolean;
  readonly hasSampleId: boolean;
  /** Samples before a wakeup; 0 where bytes count. */
  readonly wakeupEvents: number;
  readonly wakeupBytes: number;
}

const KNOWN_BYTES = PERF_ATTR_SIZE.VER8;

/** `perf_copy_attr`: E2BIG, with the size that the kernel knows written back, where the caller's is wrong. */
export function copyAttributes(ports: MemoryOps & UserCopyOps, from: UAddr): Result<PerfAttributes> {
  const scratch = ports.alloc(PAGE_SIZE);
  if (scratch === 0) return ENOMEM;
  const copied = copyIn(ports, from, scratch);
  const attributes = isErr(copied) ? copied : parse(ports, scratch);
  ports.free(scratch);
  return attributes;
}

function copyIn(ports: MemoryOps & UserCopyOps, from: UAddr, to: KAddr): Result<0> {
  const { memory } = ports;
  if (!ports.copyFromUser(to, from + 4, 4)) return EFAULT;
  const size = memory.u32[to >> 2]! || PERF_ATTR_SIZE.VER0;
  const tooBig = (): Result<0> => {
    memory.u32[to >> 2] = KNOWN_BYTES;
    return ports.copyToUser(from + 4, to, 4) ? E2BIG : EFAULT;
  };
  if (size < PERF_ATTR_SIZE.VER0 || size > PAGE_SIZE) return tooBig();
  if (!ports.copyFromUser(to, from, size)) return EFAULT;
  for (let i = KNOWN_BYTES; i < size; i++) if (memory.u8[to + i] !== 0) return tooBig();
  return 0;
}

function parse(ports: MemoryOps, at: KAddr): Result<PerfAttributes> {
  const a = new (ports.layout.view(perf_event_attr))(ports.memory, at);
  if (a.__reserved_1 !== 0 || a.__reserved_2 !== 0) return EINVAL;
  if (a.sample_type >= PERF_SAMPLE.MAX || a.read_format >= PERF_FORMAT.MAX) return EINVAL;
  const weights = PERF_SAMPLE.WEIGHT | PERF_SAMPLE.WEIGHT_STRUCT;
  if ((a.sample_type & weights) === weights) return EINVAL;
  if (a.inherit_thread === 1 && a.inherit === 0) return EINVAL;
  if (a.remove_on_exec === 1 && a.enable_on_exec === 1) return EINVAL;
  if (a.sigtrap === 1 && a.remove_on_exec === 0) return EINVAL;
  const config2 = ports.layout.offset(perf_event_attr, "config2");
  return {
    type: a.type,
    config: a.config,
    config1: a.config1,
    config2Low: ports.memory.dv.getUint32(at + config2, true),
    config2High: ports.memory.dv.getUint32(at + config2 + 4, true),
    samplePeriod: a.sample_period,
    sampleType: a.sample_type,
    readFormat: a.read_format,
    isDisabled: a.disabled === 1,
    isInherited: a.inherit === 1,
    isFrequency: a.freq === 1,
    isWriteBackward: a.write_backward === 1,
    excludesKernel: a.exclude_kernel === 1,
    hasSampleId: a.sample_id_all === 1,
    wakeupEvents: a.watermark === 1 ? 0 : a.wakeup_events,
    wakeupBytes: a.watermark === 1 ? a.wakeup_events : 0,
  };
}
