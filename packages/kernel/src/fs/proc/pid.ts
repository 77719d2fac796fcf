/**
 * /proc/<pid>, /proc/<pid>/task/<tid>: directories of a task, made when they are looked up (Linux: fs/proc/base.c). An entry
 * is a row of `PID_ENTRIES`.
 */
import { DT } from "@alien-ts/abi";
import type { Cx } from "../../core/cx.ts";
import type { Task } from "../../core/task.ts";
import { dynamicDir, type Listed, type SimpleDir } from "../simple.ts";
import { NS_ENTRY } from "./namespaces.ts";
import { FD_ENTRIES, numberOf } from "./task-fd.ts";
import { MAPS_ENTRIES } from "./task-maps.ts";
import { MISC_ENTRIES } from "./task-misc.ts";
import { STAT_ENTRIES } from "./task-stat.ts";
import { type PidEntry, Target } from "./target.ts";

const PID_ENTRIES: readonly PidEntry[] = [
  { name: "task", only: "process", make: taskDir },
  ...FD_ENTRIES,
  NS_ENTRY,
  ...STAT_ENTRIES,
  ...MAPS_ENTRIES,
  ...MISC_ENTRIES,
];

/** The directory of the task with a pid; any thread's number will do, as on Linux. */
export function lookupPid({ kernel }: Cx, name: string): SimpleDir | null {
  const pid = numberOf(name);
  const task = pid === undefined ? undefined : kernel.pids.find(pid);
  return task === undefined ? null : taskDirectory(new Target(task, true));
}

/** Thread groups, by pid. */
export const listPids = ({ kernel }: Cx): Listed[] =>
  kernel.pids.processes().map(({ pid }) => ({ name: String(pid), type: DT.DIR }));

function taskDirectory(target: Target): SimpleDir {
  const entries = PID_ENTRIES.filter(
    ({ only }) => only === undefined || (only === "process") === target.isGroup,
  );
  return dynamicDir(
    {
      lookup: (_cx, name) =>
        target.isAlive ? (entries.find((entry) => entry.name === name)?.make(target) ?? null) : null,
      list: () => (target.isAlive ? entries.map((entry) => listed(entry, target)) : []),
    },
    {},
    { ...target.nodeOptions, mode: 0o555 },
  );
}

const listed = (entry: PidEntry, target: Target): Listed => ({
  name: entry.name,
  type: entry.make(target).mode >> 12,
});

/** The live threads of a process; the leader stays listed as a zombie. */
function threadsOf({ task }: Target): Task[] {
  const { leader, threads } = task.process;
  return [...new Set([leader, ...threads])].sort((a, b) => a.pid - b.pid);
}

function taskDir(target: Target): SimpleDir {
  return dynamicDir(
    {
      lookup(_cx, name) {
        const tid = numberOf(name);
        const thread = target.isAlive ? threadsOf(target).find((one) => one.pid === tid) : undefined;
        return thread === undefined ? null : taskDirectory(new Target(thread, false));
      },
      list: () =>
        target.isAlive ? threadsOf(target).map((thread) => ({ name: String(thread.pid), type: DT.DIR })) : [],
    },
    {},
    { ...target.nodeOptions, mode: 0o555 },
  );
}
