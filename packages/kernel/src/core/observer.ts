/**
 * What an app may watch: every event whose order and content a run is defined by. The determinism hash, `strace` and the
 * visual tools are observers. An observer must not change the kernel. `NO_OBSERVER` costs one empty call per event.
 */
import type { Cx } from "./cx.ts";

export interface Observer {
  /** A system call is over. `result` is what the task sees, before restarts. */
  trap(cx: Cx, nr: number, args: readonly number[], result: number): void;
  /** `cpu` switches from the task `prev` to the task `next` (pids). */
  contextSwitch(cpu: number, prev: number, next: number, nowNs: number): void;
  /** An exception in kernel text: a breakpoint or a step, at `pc`. */
  textTrap(cx: Cx, pc: number, cause: "break" | "debug"): void;
  timer(nowNs: number): void;
  console(bytes: Uint8Array): void;
}

const nothing = (): void => {};

export const NO_OBSERVER: Observer = {
  trap: nothing,
  contextSwitch: nothing,
  textTrap: nothing,
  timer: nothing,
  console: nothing,
};
