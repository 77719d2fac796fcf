/** CPUs and load: cpuinfo, stat, loadavg, uptime, interrupts (Linux: arch/riscv/kernel/cpu.c, fs/proc/{stat,loadavg,uptime}.c). */
import type { Arch } from "../../arch/arch.ts";
import type { Cpu } from "../../core/cpu.ts";
import type { Kernel } from "../../core/kernel.ts";
import { TASK, type Task } from "../../core/task.ts";
import { file, type SimpleNode } from "../simple.ts";
import { clockTicks, hundredths, right } from "./format.ts";

/** One CPU's paragraph of cpuinfo, per machine. */
const CPU_TEXT: Readonly<Record<Arch["machine"], (cpu: Cpu) => string>> = {
  riscv64: ({ id }) =>
    [
      `processor\t: ${id}`,
      `hart\t\t: ${id}`,
      "isa\t\t: rv64imc",
      "mmu\t\t: sv39",
      "mvendorid\t: 0x0",
      "marchid\t\t: 0x0",
      "mimpid\t\t: 0x0",
      "hart isa\t: rv64imc",
      "\n",
    ].join("\n"),
};

const showCpuinfo = ({ cpus, text }: Kernel): string => cpus.map(CPU_TEXT[text.arch.machine]).join("");

const isRunnable = (task: Task): boolean => task.t.__state === TASK.RUNNING && task.t.exit_state === 0;

/** Times of a CPU in ticks: user, nice, system, idle, and six kinds that do not exist here. */
function cpuTicks(cpu: Cpu, tasks: readonly Task[]): number[] {
  const own = tasks.filter((task) => task.lastCpu === cpu);
  const userNs = own.reduce((sum, task) => sum + task.t.utime, 0);
  const systemNs = own.reduce((sum, task) => sum + task.t.stime, 0);
  return [
    clockTicks(userNs),
    0,
    clockTicks(systemNs),
    clockTicks(cpu.kernel.sched.idleNs(cpu)),
    0,
    0,
    0,
    0,
    0,
    0,
  ];
}

/** Linux: show_stat(). */
function showStat(kernel: Kernel): string {
  const { clock, cpus, pids } = kernel;
  const tasks = pids.tasks();
  const perCpu = cpus.map((cpu) => cpuTicks(cpu, tasks));
  const all = perCpu.reduce((sum, ticks) => sum.map((value, i) => value + ticks[i]!));
  const switches = cpus.reduce((sum, cpu) => sum + cpu.switches, 0);
  const blocked = tasks.filter(
    ({ t }) => t.exit_state === 0 && (t.__state & TASK.UNINTERRUPTIBLE) !== 0,
  ).length;
  return [
    `cpu  ${all.join(" ")}`,
    ...perCpu.map((ticks, id) => `cpu${id} ${ticks.join(" ")}`),
    "intr 0",
    `ctxt ${switches}`,
    `btime ${clock.bootSec}`,
    `processes ${pids.lastPid}`,
    `procs_running ${tasks.filter(isRunnable).length}`,
    `procs_blocked ${blocked}`,
    `softirq ${Array.from({ length: 11 }, () => 0).join(" ")}\n`,
  ].join("\n");
}

/** Linux: loadavg_proc_show(). The averages are not kept: they are 0. */
function showLoadavg({ pids }: Kernel): string {
  const tasks = pids.tasks();
  return `0.00 0.00 0.00 ${tasks.filter(isRunnable).length}/${tasks.length} ${pids.lastPid}\n`;
}

/** Seconds since boot, and those that all CPUs idled (uptime_proc_show). */
function showUptime({ clock, cpus }: Kernel): string {
  const idleNs = cpus.reduce((sum, cpu) => sum + cpu.kernel.sched.idleNs(cpu), 0);
  return `${hundredths(clock.nowNs())} ${hundredths(idleNs)}\n`;
}

const INTERRUPT_COLUMN = 11;

/** The heads of the columns: there are no interrupt lines. */
const showInterrupts = ({ cpus }: Kernel): string =>
  `${right("", INTERRUPT_COLUMN)}${cpus.map(({ id }) => `CPU${String(id).padEnd(8)}`).join("")}\n`;

export const CPU_NODES = (): Readonly<Record<string, SimpleNode>> => ({
  cpuinfo: file(({ kernel }) => showCpuinfo(kernel)),
  stat: file(({ kernel }) => showStat(kernel)),
  loadavg: file(({ kernel }) => showLoadavg(kernel)),
  uptime: file(({ kernel }) => showUptime(kernel)),
  interrupts: file(({ kernel }) => showInterrupts(kernel)),
});
