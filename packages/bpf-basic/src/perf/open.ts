/** perf_event_open(2) for the events that exist here: BPF output and kprobes. Other types answer ENOENT: no such PMU. */
import {
  CAP,
  EACCES,
  EBADF,
  EINVAL,
  ENOENT,
  EOPNOTSUPP,
  ESRCH,
  isErr,
  PERF_COUNT_SW,
  PERF_FLAG,
  PERF_TYPE,
  type Result,
  type UAddr,
} from "@alien-ts/abi";
import type { BpfEngine } from "../engine.ts";
import type { KprobeSpec } from "../ports.ts";
import { copyAttributes, type PerfAttributes } from "./attributes.ts";
import { BPF_OUTPUT_SAMPLE_TYPES, BpfOutputEvent } from "./bpf-output.ts";
import type { PerfEvent } from "./event.ts";
import { readUserString } from "../user-string.ts";
import { KprobePerfEvent } from "./kprobe.ts";

export interface PerfEventOpenArguments {
  readonly attr: UAddr;
  readonly pid: number;
  readonly cpu: number;
  readonly groupFd: number;
  readonly flags: number;
}

const KNOWN_FLAGS = PERF_FLAG.FD_NO_GROUP | PERF_FLAG.FD_OUTPUT | PERF_FLAG.PID_CGROUP | PERF_FLAG.FD_CLOEXEC;
/** kernel.perf_event_max_sample_rate */
const MAX_SAMPLE_RATE = 100_000;
const MAX_SAMPLE_PERIOD = 2 ** 63;
/** KSYM_NAME_LEN */
const SYMBOL_BYTES = 512;
const KPROBE_RETPROBE = 1;

/** A new fd of the current task, or Linux's errno. */
export function perfEventOpen(engine: BpfEngine, a: PerfEventOpenArguments): Result<number> {
  const { ports } = engine;
  if (a.flags > KNOWN_FLAGS || (a.flags & ~KNOWN_FLAGS) !== 0) return EINVAL;
  const attributes = copyAttributes(ports, a.attr);
  if (isErr(attributes)) return attributes;
  const refused = check(engine, a, attributes);
  if (isErr(refused)) return refused;
  const event = makeEvent(engine, attributes, a.cpu);
  if (isErr(event)) return event;
  const fd = ports.installFd(event, (a.flags & PERF_FLAG.FD_CLOEXEC) !== 0);
  if (isErr(fd)) event.put();
  return fd;
}

function check(engine: BpfEngine, a: PerfEventOpenArguments, attributes: PerfAttributes): Result<0> {
  const { ports } = engine;
  const isTrusted = ports.capable(CAP.PERFMON) || ports.capable(CAP.SYS_ADMIN);
  if (!attributes.excludesKernel && ports.perfEventParanoid > 1 && !isTrusted) return EACCES;
  if (
    attributes.isFrequency
      ? attributes.samplePeriod > MAX_SAMPLE_RATE
      : attributes.samplePeriod >= MAX_SAMPLE_PERIOD
  ) {
    return EINVAL;
  }
  if ((a.flags & PERF_FLAG.PID_CGROUP) !== 0) return a.pid === -1 || a.cpu === -1 ? EINVAL : EBADF;
  if (a.groupFd !== -1) {
    const leader = ports.objectOf(a.groupFd);
    if (isErr(leader) || leader?.kind !== "perf") return EBADF;
  }
  if (a.pid !== -1 && !ports.taskExists(a.pid)) return ESRCH;
  const isAnyCpu = a.cpu === -1 && a.pid !== -1;
  return isAnyCpu || (a.cpu >= 0 && a.cpu < ports.possibleCpus) ? 0 : EINVAL;
}

function makeEvent(engine: BpfEngine, attributes: PerfAttributes, cpu: number): Result<PerfEvent> {
  const options = { attributes, cpu, id: engine.nextEventId() };
  if (attributes.type === PERF_TYPE.SOFTWARE && attributes.config === PERF_COUNT_SW.BPF_OUTPUT) {
    const isUnknown = (attributes.sampleType & ~BPF_OUTPUT_SAMPLE_TYPES) !== 0;
    return isUnknown || attributes.isWriteBackward ? EOPNOTSUPP : new BpfOutputEvent(engine.ports, options);
  }
  if (attributes.type !== engine.ports.pmuTypes.kprobe) return ENOENT;
  const { ports } = engine;
  if (!ports.capable(CAP.PERFMON) && !ports.capable(CAP.SYS_ADMIN)) return EACCES;
  if (attributes.config % (2 * KPROBE_RETPROBE) === KPROBE_RETPROBE) {
    ports.printk("perf: kretprobes are not supported yet");
    return EOPNOTSUPP;
  }
  const spec = readSpec(engine, attributes);
  if (isErr(spec)) return spec;
  const event = new KprobePerfEvent(engine, options, spec);
  const armed = event.arm();
  if (armed === 0) return event;
  event.put();
  return armed;
}

/** config1 is the symbol's name and config2 an offset; or config1 is NULL (or the name empty) and config2 an address. */
function readSpec(
  engine: BpfEngine,
  { config1, config2Low, config2High }: PerfAttributes,
): Result<KprobeSpec> {
  const symbol = config1 === 0 ? "" : readUserString(engine, config1, SYMBOL_BYTES);
  if (isErr(symbol)) return symbol;
  if (symbol.length === SYMBOL_BYTES) return EINVAL;
  if (symbol !== "") return config2High === 0 ? { symbol, address: 0, offset: config2Low } : EINVAL;
  return config2High === engine.m.baseHi ? { symbol: undefined, address: config2Low, offset: 0 } : EINVAL;
}
