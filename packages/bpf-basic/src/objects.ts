/**
 * What a BPF or perf fd holds. The kernel wraps each object in a `File`; when the last reference to that file goes, it calls
 * `release()`, once.
 */
import type { BtfObject } from "./btf/btf-object.ts";
import type { MapFile } from "./maps/map-file.ts";
import type { PerfEvent } from "./perf/event.ts";
import type { BpfProgram } from "./programs/program.ts";

export type BpfObject = MapFile | BpfProgram | BtfObject | PerfEvent;
