/** Tools that read /proc, and init, on the fake kernel with prepared files. */
import { expect, test } from "vitest";
import { PROGRAMS } from "../programs.ts";
import { type Run, run } from "../testing/run.ts";

/** proc_pid_stat(5): pid (comm) state ppid pgrp session tty tpgid … utime stime … start vsize rss */
const stat = (
  pid: number,
  comm: string,
  fields: { ppid: number; sid: number; tty: number; ticks: number },
): string =>
  `${pid} (${comm}) S ${fields.ppid} ${fields.sid} ${fields.sid} ${fields.tty} ${fields.sid} 0 0 0 0 0 ${fields.ticks} 0 0 0 20 0 1 0 100 1048576 10\n`;

const FILES = {
  "/proc/1/": "",
  "/proc/1/stat": stat(1, "init", { ppid: 0, sid: 1, tty: 0, ticks: 0 }),
  "/proc/1/cmdline": "/sbin/init\0--once\0",
  "/proc/2/": "",
  "/proc/2/stat": stat(2, "a (b) c", { ppid: 1, sid: 2, tty: 0x8803, ticks: 6150 }),
  "/proc/2/cmdline": "",
  "/proc/uptime": "100.00 90.00\n",
  "/proc/meminfo":
    "MemTotal:  2000 kB\nMemFree:  1000 kB\nMemAvailable: 1500 kB\nBuffers: 100 kB\nCached: 200 kB\nShmem: 10 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n",
  "/proc/mounts": "none / tmpfs rw,relatime 0 0\nproc /proc proc rw 0 0\nx /a\\040b ext4 ro 0 0\n",
};

const sh = (script: string): Promise<Run> =>
  run(["/bin/sh", "-c", script, "sh"], { programs: PROGRAMS, files: FILES });

test.each([
  [
    "ps -e",
    "    PID TTY          TIME CMD\n      1 ?        00:00:00 init\n      2 pts/3    00:01:01 a (b) c\n",
  ],
  ["ps -p 2 -o pid,ppid,tty,args", "    PID    PPID TTY      COMMAND\n      2       1 pts/3    [a (b) c]\n"],
  ["ps -e -o pid= -o comm=", "      1 init\n      2 a (b) c\n"],
  ["ps -t pts/3 -o pid=,stat=", "      2 Ss+\n"],
  ["ps -o nope", ""],
  ["ps -Z", ""],
  [
    "free",
    "             total        used        free      shared  buff/cache   available\nMem:          2000         700        1000          10         300        1500\nSwap:            0           0           0\n",
  ],
  [
    "free -m | head -n 2 | tail -n 1",
    "Mem:             1           0           0           0           0           1\n",
  ],
  ["mount", "none on / type tmpfs (rw,relatime)\nproc on /proc type proc (rw)\nx on /a b type ext4 (ro)\n"],
  ["mount -t proc", "proc on /proc type proc (rw)\n"],
  ["dmesg", "[    0.000000] Linux version\n[    1.500000] oops\n"],
  ["dmesg -l err; dmesg -t -l info", "[    1.500000] oops\nLinux version\n"],
  ["dmesg -r | head -n 1", "<6>[    0.000000] Linux version\n"],
])("%s", async (script, stdout) => {
  expect((await sh(script)).stdout).toBe(stdout);
});

test.each([
  ["ps -o nope", 1, 'ps: error: unknown user-defined format specifier "nope"\n'],
  ["ps -p 99 -o pid=", 1, ""],
  [
    "mount a b c",
    1,
    "mount: bad usage\nUsage: mount [-rwt TYPE] [-o OPTION[,OPTION]...] [SOURCE] DIRECTORY\n",
  ],
  ["umount", 1, "umount: bad usage\nUsage: umount [-fl] DIRECTORY...\n"],
  ["dmesg -l loud", 1, "dmesg: unknown level 'loud'\n"],
  ["poweroff", 1, "poweroff: Function not implemented\n"],
])("%s fails", async (script, status, stderr) => {
  const result = await sh(script);
  expect([result.status, result.stderr]).toEqual([status, stderr]);
});

test("init runs a command, and ends with its status where the machine cannot be stopped", async () => {
  const { status, stdout } = await run(["/sbin/init", "-c", "echo $HOME $USER; exit 3"], {
    programs: PROGRAMS,
  });
  expect([status, stdout]).toEqual([3, "/root root\n"]);
});

test("init reaps orphans while its shell runs", async () => {
  const { kernel, stdout } = await run(["/sbin/init", "-c", "(sleep 1 &); sleep 2; echo done"], {
    programs: PROGRAMS,
  });
  expect(stdout).toBe("done\n");
  expect([...kernel.tasks.keys()]).toEqual([1]);
});

test("init --once runs a login shell with its profile", async () => {
  const { status, stdout } = await run(["/sbin/init", "--once"], {
    programs: PROGRAMS,
    stdin: "echo $0 $PATH\nexit 4\n",
  });
  expect(stdout).toContain("sh /bin:/sbin:/usr/bin:/usr/sbin\n");
  expect(status).toBe(4);
});

test("init refuses other arguments", async () => {
  const { status, stderr } = await run(["/sbin/init", "5"], { programs: PROGRAMS });
  expect([status, stderr]).toEqual([1, "init: extra operand '5'\nUsage: init [--once] [-c COMMAND]\n"]);
});
