/**
 * PERF_COUNT_SW_BPF_OUTPUT: the event into which `bpf_perf_event_output` writes samples. Answers to kernel/events/core.c
 * (`perf_output_sample`) and kernel/trace/bpf_trace.c.
 */
import {
  BPF_PROG_TYPE,
  E2BIG,
  EOPNOTSUPP,
  ENOSPC,
  type KAddr,
  PERF_EVENT_HEADER_SIZE,
  PERF_RECORD,
  PERF_RECORD_MISC,
  PERF_SAMPLE,
} from "@alien-ts/abi";
import type { BpfProgram } from "../programs/program.ts";
import type { Status } from "../maps/map.ts";
import { PerfEvent } from "./event.ts";
import type { PerfRing } from "./ring.ts";

/** Fields of a sample that this event can give; others are refused when the event is opened. */
export const BPF_OUTPUT_SAMPLE_TYPES =
  PERF_SAMPLE.IDENTIFIER |
  PERF_SAMPLE.TID |
  PERF_SAMPLE.TIME |
  PERF_SAMPLE.ID |
  PERF_SAMPLE.STREAM_ID |
  PERF_SAMPLE.CPU |
  PERF_SAMPLE.PERIOD |
  PERF_SAMPLE.RAW;

/** Fields that `sample_id_all` appends to other records. */
const ID_SAMPLE_TYPES =
  PERF_SAMPLE.TID |
  PERF_SAMPLE.TIME |
  PERF_SAMPLE.ID |
  PERF_SAMPLE.STREAM_ID |
  PERF_SAMPLE.CPU |
  PERF_SAMPLE.IDENTIFIER;

const MAX_RECORD_BYTES = 0xffff;

export class BpfOutputEvent extends PerfEvent {
  /**
   * Writes one sample with `sizeBytes` at `data`, and `contextBytes` at `context` behind them. EOPNOTSUPP where the event is not
   * enabled on this CPU, ENOSPC where there is no room (counted, and told by a LOST record later), E2BIG for more than a record
   * can hold (Linux lets the record's 16-bit size overflow).
   */
  output(data: KAddr, sizeBytes: number, context: KAddr = 0, contextBytes = 0): Status {
    if (!this.isEnabled || (this.cpu !== -1 && this.cpu !== this.ports.currentCpu())) return EOPNOTSUPP;
    const { ring } = this;
    if (ring === undefined || ring.dataPages === 0) return ENOSPC;
    const { sampleType, hasSampleId } = this.attributes;
    const hasRaw = (sampleType & PERF_SAMPLE.RAW) !== 0;
    const rawBytes = hasRaw ? Math.ceil((4 + sizeBytes + contextBytes) / 8) * 8 : 0;
    const recordBytes = PERF_EVENT_HEADER_SIZE + 8 * countBits(sampleType & ~PERF_SAMPLE.RAW) + rawBytes;
    if (recordBytes > MAX_RECORD_BYTES) return E2BIG;
    const idBytes = hasSampleId ? 8 * countBits(sampleType & ID_SAMPLE_TYPES) : 0;
    const hasLost = ring.pendingLost > 0;
    if (!ring.begin(recordBytes, idBytes)) {
      this.lostSamples += 1;
      return ENOSPC;
    }
    if (hasLost) {
      ring.putLost(this.id, idBytes);
      if (hasSampleId) this.#putIdSample(ring);
    }
    ring.putHeader(PERF_RECORD.SAMPLE, PERF_RECORD_MISC.KERNEL, recordBytes);
    this.#putSample(ring);
    if (hasRaw) {
      ring.putU32(rawBytes - 4);
      ring.putBytes(data, sizeBytes);
      ring.putBytes(context, contextBytes);
      ring.putZeros(rawBytes - 4 - sizeBytes - contextBytes);
    }
    if (ring.end(this.attributes.wakeupEvents)) this.ports.wakeReaders(this);
    return 0;
  }

  /** The fields before RAW, in Linux's order. */
  #putSample(ring: PerfRing): void {
    const type = this.attributes.sampleType;
    if ((type & PERF_SAMPLE.IDENTIFIER) !== 0) ring.putU64(this.id);
    if ((type & PERF_SAMPLE.TID) !== 0) this.#putTid(ring);
    if ((type & PERF_SAMPLE.TIME) !== 0) ring.putU64(this.ports.ktimeNs());
    if ((type & PERF_SAMPLE.ID) !== 0) ring.putU64(this.id);
    if ((type & PERF_SAMPLE.STREAM_ID) !== 0) ring.putU64(this.id);
    if ((type & PERF_SAMPLE.CPU) !== 0) ring.putU64(this.ports.currentCpu());
    if ((type & PERF_SAMPLE.PERIOD) !== 0) ring.putU64(this.attributes.samplePeriod);
  }

  #putIdSample(ring: PerfRing): void {
    const type = this.attributes.sampleType;
    if ((type & PERF_SAMPLE.TID) !== 0) this.#putTid(ring);
    if ((type & PERF_SAMPLE.TIME) !== 0) ring.putU64(this.ports.ktimeNs());
    if ((type & PERF_SAMPLE.ID) !== 0) ring.putU64(this.id);
    if ((type & PERF_SAMPLE.STREAM_ID) !== 0) ring.putU64(this.id);
    if ((type & PERF_SAMPLE.CPU) !== 0) ring.putU64(this.ports.currentCpu());
    if ((type & PERF_SAMPLE.IDENTIFIER) !== 0) ring.putU64(this.id);
  }

  #putTid(ring: PerfRing): void {
    ring.putU32(this.ports.currentTgid());
    ring.putU32(this.ports.currentPid());
  }

  protected override accepts(program: BpfProgram): boolean {
    return program.type === BPF_PROG_TYPE.PERF_EVENT;
  }

  protected override destroy(): void {}
}

function countBits(bits: number): number {
  let count = 0;
  for (let rest = bits; rest !== 0; rest &= rest - 1) count += 1;
  return count;
}
