/**
 * The files whose exported rows are the kernel's text, in text order. A new file with rows is one line here; rows of a file
 * that is not listed have no address, and a call of an armed one stops the kernel.
 */
import type { RowModule } from "./core/image.ts";
import * as schedWakeup from "./sched/wakeup.ts";
import * as taskExit from "./task/exit.ts";
import * as taskFork from "./task/fork.ts";
import * as taskPort from "./task/port.ts";
import * as taskSignal from "./task/signal.ts";

export const TEXT: readonly RowModule[] = [schedWakeup, taskFork, taskExit, taskSignal, taskPort];
