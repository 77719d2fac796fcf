/**
 * Tasks whose user code is a TypeScript program: how they get their program, start threads, and let go of both.
 *
 * `kernel.programHost` runs the code; it is passed in at boot, and a kernel may be without one. `startProgram` gives the
 * current task a new program (exec), `startThread` gives a clone's child its function. The host is told `exited` of a port
 * once the port's task is gone (or has another program) and no child that was cloned from it still has to be started.
 */
import type { ProgramHost, ProgramImage } from "@alien-ts/abi";
import type { Cx } from "../core/cx.ts";
import { type Kernel, KernelBug } from "../core/kernel.ts";
import type { Task } from "../core/task.ts";
import { attachPort, Port } from "./port.ts";

declare module "../core/kernel.ts" {
  interface Kernel {
    /** Runs TypeScript programs; undefined where the app gave none. */
    programHost: ProgramHost | undefined;
  }
}

export function initPrograms(kernel: Kernel): void {
  kernel.startThread = startThread;
  kernel.onTaskGone = (task) => releaseProgram(task);
}

/** Gives `task` a fresh program. `ecallPc` is the address that its traps count as. */
export function startProgram(task: Task, image: ProgramImage, at: { sp: number; ecallPc: number }): void {
  const host = hostOf(task.kernel);
  releaseProgram(task);
  const port = new Port(task, at.sp, at.ecallPc, (gone) => host.exited(gone));
  attachPort(task, port, () => host.start(image, port));
}

function startThread(cx: Cx, child: Task): void {
  const parent = cx.task.port;
  if (parent === undefined) throw new KernelBug(`task ${cx.task.pid} has no program to share`);
  const { mem, text } = child.kernel;
  const sp = child.userRegs + text.arch.roles.sp;
  const port = parent.forClone(child, mem.dv.getUint32(sp, true) + mem.dv.getInt32(sp + 4, true) * 2 ** 32);
  attachPort(child, port, () => {
    hostOf(child.kernel).startThread(parent, port);
    port.started();
  });
}

/** The task's program is over: exec or exit. */
function releaseProgram(task: Task): void {
  const { port } = task;
  task.port = undefined;
  task.enterUser = undefined;
  port?.close();
}

function hostOf(kernel: Kernel): ProgramHost {
  const { programHost } = kernel;
  if (programHost === undefined) throw new KernelBug("no program host was given at boot");
  return programHost;
}
