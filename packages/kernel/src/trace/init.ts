/** Tracing at boot: the events and tracefs. Needs the trace buffer and the VFS. */
import type { Kernel } from "../core/kernel.ts";
import { initTraceEvents } from "./events.ts";
import { initTracefs } from "./tracefs.ts";

export function initTracing(kernel: Kernel): void {
  initTraceEvents(kernel);
  initTracefs(kernel);
}
