/** Tracing at boot: the buffer, the events and tracefs, which needs the VFS. */
import type { Kernel } from "../core/kernel.ts";
import { initTraceEvents } from "./events.ts";
import { initTraceBuffer } from "./trace-buffer.ts";
import { initTracefs } from "./tracefs.ts";

export function initTracing(kernel: Kernel): void {
  initTraceBuffer(kernel);
  initTraceEvents(kernel);
  initTracefs(kernel);
}
