/**
 * init(8), the first process.
 *
 *     init                 a login shell on the console, started again when it ends
 *     init --once          a login shell on the console; the machine stops with its status
 *     init -c COMMAND      `sh -c COMMAND` on the console; the machine stops with its status
 *
 * It mounts the kernel's file systems, sets the host name, and reaps orphans. The machine is stopped by
 * reboot(LINUX_REBOOT_CMD_POWER_OFF) with the status as its fourth argument; where that is refused, init exits with it.
 */
import { EBADF, ECHILD, F, IOCTL, NR, O } from "@alien-ts/abi";
import { execve, isContinued, isStopped, shellStatus, startChild, tryWait } from "../libc/children.ts";
import { SystemError, UsageError, failed } from "../libc/errors.ts";
import { mkdir, open, readFile, tryStat } from "../libc/files.ts";
import type { Process } from "../libc/process.ts";
import { setHostName, stopMachine, tryMount } from "../libc/system.ts";
import { complain, tool } from "../libc/tool.ts";

const MOUNTS = [
  { source: "proc", target: "/proc", type: "proc" },
  { source: "sysfs", target: "/sys", type: "sysfs" },
  { source: "devtmpfs", target: "/dev", type: "devtmpfs" },
  { source: "devpts", target: "/dev/pts", type: "devpts", data: "mode=620,gid=5" },
  { source: "tmpfs", target: "/tmp", type: "tmpfs", data: "mode=1777" },
  { source: "debugfs", target: "/sys/kernel/debug", type: "debugfs" },
  { source: "tracefs", target: "/sys/kernel/tracing", type: "tracefs" },
  { source: "bpf", target: "/sys/fs/bpf", type: "bpf" },
] as const;

export const init = tool({
  name: "init",
  path: "/sbin/init",
  usage: "init [--once] [-c COMMAND]",
  options: "c:",
  long: { once: "once" },
  main: async (process, { options, operands }) => {
    if (operands.length > 0) throw new UsageError(`extra operand '${operands[0]!}'`);
    await setUp(process);
    const command = options.value("c");
    const status =
      command === undefined
        ? await runLoginShells(process, options.has("once"))
        : await runAndReap(process, ["sh", "-c", command]);
    await stopMachine(process, "poweroff", status);
    return status;
  },
});

async function setUp(process: Process): Promise<void> {
  for (const mount of MOUNTS) await mountOne(process, mount);
  await openConsole(process);
  const name = await readIfPresent(process, "/etc/hostname");
  if (name.trim() !== "") await nameHost(process, name.trim());
  const defaults = [
    ["PATH", "/bin:/sbin:/usr/bin:/usr/sbin"],
    ["HOME", "/root"],
    ["USER", "root"],
    ["LOGNAME", "root"],
    ["SHELL", "/bin/sh"],
    ["TERM", "xterm-256color"],
  ] as const;
  for (const [key, value] of defaults)
    if (key !== "TERM" || !process.env.has(key)) process.env.set(key, value);
}

/** A machine without a name is still a machine. */
async function nameHost(process: Process, name: string): Promise<void> {
  try {
    await setHostName(process, name);
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    await complain(process, "init", `cannot set the host name: ${error.errno.message}`);
  }
}

/** A file system that this kernel lacks, or that is mounted already, is passed over. */
async function mountOne(process: Process, mount: (typeof MOUNTS)[number]): Promise<void> {
  if (typeof (await tryStat(process, mount.target)) === "number") {
    try {
      await mkdir(process, mount.target, 0o755);
    } catch (error) {
      if (error instanceof SystemError) return;
      throw error;
    }
  }
  await tryMount(process, mount);
}

/** Descriptors 0, 1 and 2, where the kernel has not opened them. */
async function openConsole(process: Process): Promise<void> {
  if ((await process.trap(NR.fcntl, 0, F.GETFD)) !== -EBADF.number) return;
  for (const path of ["/dev/console", "/dev/null"]) {
    try {
      const fd = await open(process, path, O.RDWR | O.NOCTTY);
      for (let other = fd + 1; other < 3; other++) await process.trap(NR.dup3, fd, other, 0);
      return;
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
    }
  }
}

async function runLoginShells(process: Process, once: boolean): Promise<number> {
  await process.stdout.write(await readIfPresent(process, "/etc/motd"));
  await process.stdout.flush();
  for (;;) {
    const status = await runAndReap(process, ["-sh"]);
    if (once) return status;
  }
}

/** Runs a shell as the leader of a session on the console, and reaps every child until it has ended. */
async function runAndReap(process: Process, argv: readonly string[]): Promise<number> {
  const shell = await startChild(
    process,
    async (child) => {
      await child.trap(NR.setsid);
      await child.trap(NR.ioctl, 0, IOCTL.TIOCSCTTY, 0);
      await child.trap(NR.chdir, await child.allocString(argv[0] === "-sh" ? "/root" : "/"));
      const failure = await execve(child, "/bin/sh", argv, child.env);
      await child.stderr.write(`init: cannot run /bin/sh: error ${-failure}\n`);
      return 127;
    },
    { vfork: true },
  );
  for (;;) {
    const result = await tryWait(process, -1, 0);
    if (typeof result === "number") {
      if (failed(result) && result === -ECHILD.number) return 127;
      continue;
    }
    const hasEnded = !isStopped(result.status) && !isContinued(result.status);
    if (result.pid === shell && hasEnded) return shellStatus(result.status);
  }
}

async function readIfPresent(process: Process, path: string): Promise<string> {
  try {
    return await readFile(process, path);
  } catch (error) {
    if (error instanceof SystemError) return "";
    throw error;
  }
}
