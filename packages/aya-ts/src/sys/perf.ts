/** perf_event_open(2) and the ioctls of its descriptor, as Aya uses them (aya `sys/perf_event.rs`). */
import * as abi from "@alien-ts/abi";
import { NR, PERF_COUNT_SW, PERF_EVENT_IOC, PERF_FLAG, PERF_SAMPLE, PERF_TYPE } from "@alien-ts/abi";
import { makeRecord } from "./record.ts";
import { cStringPart, withParts } from "./sys.ts";
import type { Sys } from "./sys.ts";

/** Aya passes the structure as of PERF_ATTR_SIZE_VER8. */
const ATTR_BYTES = abi.PERF_ATTR_SIZE.VER8;
const ANY_PROCESS = -1;
const NO_GROUP = -1;

export interface KprobeTarget {
  /** PMU type from sysfs. */
  readonly pmuType: number;
  /** Bit of `config` that makes it a return probe, or undefined for an entry probe. */
  readonly returnBit: number | undefined;
  readonly fnName: string;
  /** Bytes from the start of the function. */
  readonly offset: number;
}

export const perfEventOpenKprobe = (sys: Sys, target: KprobeTarget): Promise<number> =>
  withParts(sys, [ATTR_BYTES, cStringPart(target.fnName)], ([attrAt = 0, nameAt = 0]) => {
    const { view, bytes } = makeRecord(abi.perf_event_attr, ATTR_BYTES);
    view.type = target.pmuType;
    view.size = ATTR_BYTES;
    view.config = target.returnBit === undefined ? 0 : 2 ** target.returnBit;
    view.kprobe_func = nameAt;
    view.probe_offset = target.offset;
    sys.memory.write(attrAt, bytes);
    return sys.trap(NR.perf_event_open, attrAt, ANY_PROCESS, 0, NO_GROUP, PERF_FLAG.FD_CLOEXEC);
  });

/** The event that `bpf_perf_event_output` writes to, for one CPU. */
export const perfEventOpenBpfOutput = (sys: Sys, cpu: number): Promise<number> =>
  withParts(sys, [ATTR_BYTES], ([attrAt = 0]) => {
    const { view, bytes } = makeRecord(abi.perf_event_attr, ATTR_BYTES);
    view.type = PERF_TYPE.SOFTWARE;
    view.size = ATTR_BYTES;
    view.config = PERF_COUNT_SW.BPF_OUTPUT;
    view.sample_type = PERF_SAMPLE.RAW;
    view.sample_period = 1;
    view.wakeup_events = 1;
    sys.memory.write(attrAt, bytes);
    return sys.trap(NR.perf_event_open, attrAt, ANY_PROCESS, cpu, NO_GROUP, PERF_FLAG.FD_CLOEXEC);
  });

export const perfEnable = async (sys: Sys, fd: number): Promise<number> =>
  sys.trap(NR.ioctl, fd, PERF_EVENT_IOC.ENABLE, 0);
export const perfDisable = async (sys: Sys, fd: number): Promise<number> =>
  sys.trap(NR.ioctl, fd, PERF_EVENT_IOC.DISABLE, 0);
/** Attaches a program without a link. */
export const perfSetBpf = async (sys: Sys, fd: number, progFd: number): Promise<number> =>
  sys.trap(NR.ioctl, fd, PERF_EVENT_IOC.SET_BPF, progFd);
