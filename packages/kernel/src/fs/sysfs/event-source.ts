/**
 * The sources of perf events (Linux: kernel/events/core.c, perf_pmu_register). `type` is what perf_event_attr.type must be;
 * a file of format/ says which bits of the attr a word of the event's description sets.
 */
import { PAGE_SIZE } from "@alien-ts/abi";
import { file, type SimpleDir, type SimpleFile, type SimpleNode, symlink } from "../simple.ts";
import { folder } from "./folder.ts";

interface EventSource {
  readonly name: string;
  /** PERF_TYPE_*, or a number given at boot. */
  readonly type: number;
  readonly format: Readonly<Record<string, string>>;
}

/** Types of event sources without a fixed number, in the order in which they register behind PERF_TYPE_MAX. */
export const PERF_TYPE_KPROBE = 6;
export const PERF_TYPE_UPROBE = 7;

const SOURCES: readonly EventSource[] = [
  { name: "kprobe", type: PERF_TYPE_KPROBE, format: { retprobe: "config:0" } },
  { name: "software", type: 1, format: {} },
  { name: "tracepoint", type: 2, format: {} },
  {
    name: "uprobe",
    type: PERF_TYPE_UPROBE,
    format: { ref_ctr_offset: "config:32-63", retprobe: "config:0" },
  },
];

const line = (text: string): SimpleFile => file(() => `${text}\n`, { size: PAGE_SIZE });

/** A device of the bus. */
function eventSourceDevice({ type, format }: Omit<EventSource, "name">): SimpleDir {
  const formats = Object.entries(format).map(([word, bits]) => [word, line(bits)] as const);
  return folder({
    ...(formats.length === 0 ? {} : { format: folder(Object.fromEntries(formats)) }),
    perf_event_mux_interval_ms: line("4"),
    subsystem: symlink("../../bus/event_source"),
    type: line(String(type)),
    uevent: file(() => "", { size: PAGE_SIZE, mode: 0o644, write: () => 0 }),
  });
}

/** /sys/devices: one directory per source. */
export const eventSourceDevices = (): Readonly<Record<string, SimpleNode>> =>
  Object.fromEntries(SOURCES.map((source) => [source.name, eventSourceDevice(source)]));

/** /sys/bus/event_source, whose devices are links. */
export const eventSourceBus = (): SimpleDir =>
  folder({
    devices: folder(
      Object.fromEntries(SOURCES.map(({ name }) => [name, symlink(`../../../devices/${name}`)])),
    ),
    drivers: folder({}),
  });
