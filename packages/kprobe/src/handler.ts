/**
 * The life of a hit (Linux: arch/riscv/kernel/probes/kprobes.c; x86's differs by the single-step flag).
 *
 * A kernel calls `kprobe_handler_from_break` for every breakpoint exception in kernel mode, `kprobe_handler_from_debug` for
 * every debug exception where the architecture has one, and `kprobe_fault_handler` for every fault. Each answers undefined
 * (false) when no probe owns the trap, and else has set the frame's pc: the kernel resumes there and adds nothing to it.
 *
 * Between the first and the second trap the point is the CPU's current one, and nothing sleeps. A hit that comes while one is
 * current (from a handler, or from what a BPF helper calls) runs no handlers, is counted in `nmissed`, and its instruction is
 * executed all the same. For a host call nothing is current when the kernel runs its body, but what was current outside.
 */
import type { CpuHit, KprobeManager } from "./manager.ts";
import { HANDLED, type Handled, type KprobePoint } from "./point.ts";
import type { ProbeArgs } from "./probe-args.ts";

/** For a breakpoint exception. Where there is no single step, the trap at the end of a slot comes here too. */
export function kprobe_handler_from_break(manager: KprobeManager, args: ProbeArgs): Handled | undefined {
  const hit = manager.currentHit();
  const addr = args.break_address();
  if (!manager.arch.hasSingleStep && isStepEnd(hit, addr)) return kprobe_handler_from_debug(manager, args);
  if (addr === manager.returns.trampoline) return functionReturned(manager, hit, args);
  const point = manager.points.get(addr);
  if (point?.isArmed !== true) return undefined;
  if (hit.current !== undefined) return reenter(manager, hit, point, args);
  enter(hit, point, "active");
  if (runPreHandlers(point, args) === 0) return execute(manager, hit, point, args);
  leave(manager, hit);
  return HANDLED;
}

/** For the exception after a single step. */
export function kprobe_handler_from_debug(manager: KprobeManager, args: ProbeArgs): Handled | undefined {
  const hit = manager.currentHit();
  const point = hit.current;
  if (point === undefined || !isStepEnd(hit, args.debug_address())) return undefined;
  if (manager.arch.hasSingleStep) args.set_single_step(false);
  args.update_pc(point.nextAddr);
  finish(manager, hit, point, args);
  return HANDLED;
}

/**
 * For a fault: if the copy in a slot caused it, moves the pc to the probed instruction, forgets the hit and answers true. The
 * kernel then goes on with the fault as if there were no probe (Linux: kprobe_fault_handler).
 */
export function kprobe_fault_handler(manager: KprobeManager, args: ProbeArgs): boolean {
  const hit = manager.currentHit();
  const point = hit.current;
  if (point === undefined || !isStepping(hit) || args.pc() !== point.slot) return false;
  if (manager.arch.hasSingleStep) args.set_single_step(false);
  args.update_pc(point.addr);
  leave(manager, hit);
  return true;
}

/**
 * A hooked function has returned into the trampoline (Linux: rethook_trampoline_handler). While a handler runs, its point is
 * current, so that hits in it are nested ones.
 */
function functionReturned(manager: KprobeManager, hit: CpuHit, args: ProbeArgs): Handled {
  const { current, status } = hit;
  const instances = manager.returns.pop();
  args.update_pc(instances.at(-1)!.returnAddress);
  for (const instance of instances) {
    const { kretprobe } = instance;
    const point = manager.points.get(kretprobe.probe.addr);
    if (point !== undefined && kretprobe.probe.isRegistered) {
      enter(hit, point, "active");
      kretprobe.call_ret_handler(instance, args);
      point.hits -= 1;
      manager.releaseIfUnused(point);
    }
    kretprobe.recycle(instance);
    manager.returns.release();
  }
  hit.current = current;
  hit.status = status;
  return HANDLED;
}

const isStepping = (hit: CpuHit): boolean => hit.status === "stepping" || hit.status === "reentered";

const isStepEnd = (hit: CpuHit, addr: number): boolean =>
  hit.current !== undefined && isStepping(hit) && hit.current.slot !== 0 && addr === hit.current.slotEnd;

/** Linux: reenter_kprobe */
function reenter(manager: KprobeManager, hit: CpuHit, point: KprobePoint, args: ProbeArgs): Handled {
  if (isStepping(hit))
    throw new Error(`a probe at 0x${point.addr.toString(16)} was hit inside a single step`);
  for (const probe of point.probes) probe.nmissed += 1;
  hit.previous = hit.current;
  hit.previousStatus = hit.status;
  enter(hit, point, "reentered");
  return execute(manager, hit, point, args);
}

function enter(hit: CpuHit, point: KprobePoint, status: CpuHit["status"]): void {
  hit.current = point;
  hit.status = status;
  point.hits += 1;
}

/** Makes what was current before current again, and lets go of the point. */
function leave(manager: KprobeManager, hit: CpuHit): void {
  const point = hit.current;
  hit.current = hit.previous;
  hit.status = hit.previousStatus;
  hit.previous = undefined;
  hit.previousStatus = "active";
  if (point === undefined) return;
  point.hits -= 1;
  manager.releaseIfUnused(point);
}

function runPreHandlers(point: KprobePoint, args: ProbeArgs): number {
  for (const probe of point.probes) {
    if (!probe.isRegistered || !probe.isEnabled) continue;
    const verdict = probe.call_pre_handler(args);
    if (verdict !== 0) return verdict;
  }
  return 0;
}

/** Executes the displaced instruction, or starts to. */
function execute(manager: KprobeManager, hit: CpuHit, point: KprobePoint, args: ProbeArgs): Handled {
  const { execution } = point;
  switch (execution.kind) {
    case "step":
      if (hit.status === "active") hit.status = "stepping";
      args.update_pc(point.slot);
      if (manager.arch.hasSingleStep) args.set_single_step(true);
      return HANDLED;
    case "simulate":
      execution.simulate(args, point.addr);
      break;
    case "hostCall":
      args.update_pc(point.nextAddr);
      break;
  }
  finish(manager, hit, point, args);
  return point.handled;
}

/** The instruction is done and the pc is behind it (Linux: post_kprobe_handler). */
function finish(manager: KprobeManager, hit: CpuHit, point: KprobePoint, args: ProbeArgs): void {
  if (hit.status !== "reentered") {
    hit.status = "stepDone";
    for (const probe of point.probes)
      if (probe.isRegistered && probe.isEnabled) probe.post_handler?.(probe, args);
  }
  leave(manager, hit);
}
