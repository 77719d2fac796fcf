import { AT, DT, EACCES, EINVAL, EIO, ENOENT, EPERM, ESRCH, Layout, SEEK } from "@alien-ts/abi";
import { describe, expect, test } from "vitest";
import type { Kernel } from "../../core/kernel.ts";
import type { FileTask } from "../../file-testing.ts";
import { sys_mkdirat } from "../../syscalls/directories.ts";
import { sys_symlinkat } from "../../syscalls/links.ts";
import { sys_lseek, sys_read } from "../../syscalls/read-write.ts";
import { startTask } from "../../testing.ts";
import { WaitQueue, waitEvent } from "../../sched/wait.ts";
import { do_exit } from "../../task/exit.ts";
import { anon_inode_getfd } from "../../vfs/anon-inodes.ts";
import {
  drain,
  listNode,
  type ProcKernel,
  procKernel,
  readLink,
  readNode,
  sleepingTask,
  walk,
  withPids,
  writeNode,
} from "./testing.ts";
import { cell, intSysctl, registerSysctl, sysctlInt } from "./sysctl.ts";

const LAYOUTS = [
  ["the natural layout", (): Layout => Layout.natural()],
  ["layout 1", (): Layout => Layout.shuffled(1)],
  ["layout 7", (): Layout => Layout.shuffled(7)],
] as const;

const text = (by: FileTask, path: string): string => {
  const got = readNode(by, path);
  if (typeof got === "number") throw new Error(`${path}: errno ${-got}`);
  return got;
};

/** Matches this text and no other. */
const exactly = (expected: string): RegExp =>
  new RegExp(`^${expected.replace(/[.*+?^${}()|[\]\\#]/g, "\\$&")}$`);

/** One kernel for all tests that change nothing. */
function shared(layout: () => Layout): () => ProcKernel {
  let made: ProcKernel | undefined;
  return () => (made ??= procKernel({ layout: layout() }));
}

describe.each(LAYOUTS)("with %s", (_name, layout) => {
  const world = shared(layout);

  test.each(["/proc", "/proc/self", "/proc/self/fd", "/proc/self/task", "/proc/sys", "/proc/sys/kernel"])(
    "nothing can be made in %s: the name is not there",
    (path) => {
      const { root } = world();
      const name = root.str(`${path}/new`);
      expect(root.call(sys_mkdirat, AT.FDCWD, name, 0o755)).toBe(-ENOENT.number);
      expect(root.call(sys_symlinkat, name, AT.FDCWD, name)).toBe(-ENOENT.number);
      expect(writeNode(root, `${path}/new`, "")).toBe(-ENOENT.number);
    },
  );

  test.each([
    ["/proc/version", "Linux version 6.18.0-alien (alien-ts) #1 SMP PREEMPT_DYNAMIC alien-ts\n"],
    ["/proc/cmdline", "quiet\n"],
    ["/proc/uptime", /^\d+\.\d\d \d+\.\d\d\n$/],
    ["/proc/loadavg", /^0\.00 0\.00 0\.00 \d+\/\d+ \d+\n$/],
    ["/proc/self/cgroup", "0::/\n"],
    ["/proc/self/comm", "test\n"],
    ["/proc/self/loginuid", "4294967295"],
    ["/proc/self/cmdline", ""],
    ["/proc/self/oom_score_adj", "0\n"],
    ["/proc/swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"],
    ["/proc/sys/kernel/ostype", "Linux\n"],
    ["/proc/sys/kernel/osrelease", "6.18.0-alien\n"],
    ["/proc/sys/kernel/hostname", "alien\n"],
    ["/proc/sys/kernel/unprivileged_bpf_disabled", "2\n"],
    ["/proc/sys/kernel/perf_event_paranoid", "2\n"],
    ["/proc/sys/kernel/printk", "7\t4\t1\t7\n"],
    [
      "/proc/sys/kernel/random/boot_id",
      /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\n$/,
    ],
    ["/proc/sys/net/core/bpf_jit_limit", "264241152\n"],
    ["/proc/sys/fs/file-nr", /^\d+\t0\t65536\n$/],
    ["/proc/meminfo", /^MemTotal: {8}\s*\d+ kB\nMemFree: {9}\s*\d+ kB\nMemAvailable: /],
    ["/proc/filesystems", /^nodev\ttmpfs\n(nodev\t\w+\n)*nodev\tproc\nnodev\tsysfs\nnodev\tdebugfs\n$/],
  ])("%s says what Linux's says", (path, expected) => {
    const { root } = world();
    const got = text(root, path);
    expect(got).toMatch(typeof expected === "string" ? exactly(expected) : expected);
  });

  test("stat has 52 fields", () => {
    const { root, user } = world();
    const fields = text(root, `/proc/${user.task.pid}/stat`).trimEnd().split(" ");
    expect(fields).toHaveLength(52);
    expect(fields.slice(0, 8)).toEqual([
      String(user.task.pid),
      "(test)",
      "R",
      fields[3],
      "0",
      "0",
      "0",
      "-1",
    ]);
    expect(Number(fields[22])).toBe(user.mm.t.total_vm * 4096);
    expect(fields[24]).toBe("18446744073709551615");
  });

  test("status has the lines of Linux, in order", () => {
    const { user } = world();
    const got = text(user, "/proc/self/status");
    expect(got).toMatch(
      /^Name:\ttest\nUmask:\t0022\nState:\tR \(running\)\nTgid:\t\d+\nNgid:\t0\nPid:\t\d+\nPPid:\t\d+\nTracerPid:\t0\n/,
    );
    expect(got).toContain(
      "Uid:\t1000\t1000\t1000\t1000\nGid:\t1000\t1000\t1000\t1000\nFDSize:\t64\nGroups:\t \nNStgid:\t",
    );
    expect(got).toMatch(/\nVmPeak:\t {5}\d{3} kB\nVmSize:\t {5}\d{3} kB\n/);
    expect(got).toContain("\nCapEff:\t0000000000000000\nCapBnd:\t000001ffffffffff\n");
    expect(got).toContain("\nMems_allowed:\t1\nMems_allowed_list:\t0\n");
    expect(got).toMatch(/\nvoluntary_ctxt_switches:\t\d+\nnonvoluntary_ctxt_switches:\t\d+\n$/);
  });

  test("a line of maps ends with a blank where the area has no name", () => {
    const { root } = world();
    expect(text(root, "/proc/self/maps")).toMatch(/^[0-9a-f]{10}-[0-9a-f]{10} rw-p 00000000 00:00 0 \n$/);
  });

  test("the names in maps begin at column 73", () => {
    const { root } = procKernel({ layout: layout() });
    const [area] = root.mm.vmas.items;
    root.mm.t.start_brk = area!.start;
    root.mm.t.brk = area!.end;
    const [line] = text(root, "/proc/self/maps").split("\n");
    expect(line!.indexOf("[heap]")).toBe(73);
  });

  test("smaps counts the pages of an area", () => {
    const { root } = world();
    const got = text(root, "/proc/self/smaps");
    expect(got).toContain(
      "\nSize:                512 kB\nKernelPageSize:        4 kB\nMMUPageSize:           4 kB\nRss:                 512 kB\n",
    );
    expect(got).toContain("\nPrivate_Dirty:       512 kB\n");
    expect(got).toContain("\nAnonymous:           512 kB\n");
    expect(got).toMatch(/\nTHPeligible: {11}0\nVmFlags: rd wr mr mw me /);
  });

  test("fdinfo tells position, flags, mount and inode, then what the file adds", () => {
    const { root } = procKernel({ layout: layout() });
    root.writeFile("/f", "hello");
    const fd = root.open("/f", 0o2000000);
    drainOne(root, fd);
    expect(text(root, `/proc/self/fdinfo/${fd}`)).toMatch(
      /^pos:\t1\nflags:\t02?0?[0-7]*\nmnt_id:\t\d+\nino:\t\d+\n$/,
    );
    const special = anon_inode_getfd(
      root.cx,
      "bpf-map",
      { name: "bpf_map_fops", show_fdinfo: () => "map_type:\t2\n" },
      undefined,
      2,
    );
    expect(text(root, `/proc/self/fdinfo/${Number(special)}`)).toMatch(
      /^pos:\t0\nflags:\t02\nmnt_id:\t\d+\nino:\t\d+\nmap_type:\t2\n$/,
    );
    expect(readLink(root, `/proc/self/fd/${Number(special)}`)).toBe("anon_inode:bpf-map");
  });

  test("fd lists the descriptors, and its links open what they stand for", () => {
    const { root } = procKernel({ layout: layout() });
    root.writeFile("/f", "hello");
    const fd = root.open("/f", 0);
    expect(readLink(root, `/proc/self/fd/${fd}`)).toBe("/f");
    expect(text(root, `/proc/self/fd/${fd}`)).toBe("hello");
    const names = listNode(root, "/proc/self/fd");
    expect(names).toContainEqual({ name: String(fd), type: DT.LNK });
    expect(readLink(root, "/proc/self/fd/99")).toBe(-ENOENT.number);
  });

  test.each([
    ["/proc/self", "{root}"],
    ["/proc/thread-self", "{root}/task/{root}"],
    ["/proc/mounts", "self/mounts"],
    ["/proc/self/cwd", "/"],
    ["/proc/self/root", "/"],
    ["/proc/self/ns/net", "net:[4026531833]"],
    ["/proc/self/ns/pid_for_children", "pid:[4026531836]"],
    ["/proc/self/exe", -ENOENT.number],
  ])("the link %s shows %s", (path, expected) => {
    const { root } = world();
    expect(readLink(root, path)).toBe(typeof expected === "string" ? withPids(world(), expected) : expected);
  });

  test("mounts and mountinfo show what is mounted", () => {
    const { root } = world();
    expect(text(root, "/proc/mounts")).toContain(
      "proc /proc proc rw,relatime 0 0\nsysfs /sys sysfs rw,relatime 0 0\n",
    );
    expect(text(root, "/proc/self/mountinfo")).toMatch(
      /\n\d+ \d+ 0:\d+ \/ \/proc rw,relatime - proc proc rw\n/,
    );
  });

  test("limits are a table", () => {
    const { root } = world();
    const lines = text(root, "/proc/self/limits").split("\n");
    expect(lines[0]).toBe("Limit                     Soft Limit           Hard Limit           Units     ");
    expect(lines[1]).toBe("Max cpu time              unlimited            unlimited            seconds   ");
    expect(lines[8]).toBe("Max open files            1024                 4096                 files     ");
    expect(lines[14]).toBe("Max nice priority         0                    0                    ");
  });
});

function drainOne(by: FileTask, fd: number): void {
  by.cx.task.files.get(fd)!.pos = 1;
}

describe("kallsyms", () => {
  const firstLine = (by: FileTask): string => text(by, "/proc/kallsyms").split("\n")[0]!;
  const isHidden = (line: string): boolean => line.startsWith("0000000000000000 ");

  test.each([
    { restrict: "0", paranoid: "2", root: false, user: true },
    { restrict: "0", paranoid: "1", root: false, user: false },
    { restrict: "1", paranoid: "1", root: false, user: true },
    { restrict: "2", paranoid: "1", root: true, user: true },
  ])(
    "kptr_restrict $restrict with perf_event_paranoid $paranoid hides addresses: root $root, user $user",
    (row) => {
      const { root, user } = procKernel();
      expect(writeNode(root, "/proc/sys/kernel/kptr_restrict", row.restrict)).toBe(0);
      expect(writeNode(root, "/proc/sys/kernel/perf_event_paranoid", row.paranoid)).toBe(0);
      expect(isHidden(firstLine(root))).toBe(row.root);
      expect(isHidden(firstLine(user))).toBe(row.user);
    },
  );

  test("every symbol has a line, in address order, modules last", () => {
    const { kernel, root } = procKernel();
    kernel.text.symbols.addModule("demo", [{ name: "demo_init", address: 0x30_0000, type: "t" }]);
    const lines = text(root, "/proc/kallsyms").trimEnd().split("\n");
    expect(lines).toHaveLength(kernel.text.symbols.size);
    expect(lines.at(-1)).toMatch(/^[0-9a-f]{16} t demo_init\t\[demo\]$/);
    expect(lines).toContainEqual(expect.stringMatching(/^[0-9a-f]{16} T vfs_read$/));
  });

  test("the decision is made at open", () => {
    const { root } = procKernel();
    const fd = root.open("/proc/kallsyms", 0);
    expect(writeNode(root, "/proc/sys/kernel/kptr_restrict", "2\n")).toBe(0);
    expect(isHidden(drain(root, fd) as string)).toBe(false);
    root.close(fd);
  });
});

describe("a file that is read from the middle", () => {
  test.each(["/proc/kallsyms", "/proc/meminfo", "/proc/self/limits"])(
    "%s goes on where lseek went, forth and back",
    (path) => {
      const { root } = procKernel();
      const whole = text(root, path);
      const fd = root.open(path, 0);
      for (const at of [whole.length - 5, 3, 5000 % whole.length, 0]) {
        expect(root.call(sys_lseek, fd, at, SEEK.SET)).toBe(at);
        expect(drain(root, fd, 1000)).toBe(whole.slice(at));
      }
      expect(root.call(sys_lseek, fd, 0, SEEK.END)).toBe(-EINVAL.number);
      root.close(fd);
    },
  );
});

describe("sysctl", () => {
  const PATH = "/proc/sys/kernel/kptr_restrict";

  test.each([
    ["1\n", 0, "1\n"],
    [" 2 ", 0, "2\n"],
    ["0x1", 0, "1\n"],
    ["3", -EINVAL.number, "0\n"],
    ["-1", -EINVAL.number, "0\n"],
    ["x", -EINVAL.number, "0\n"],
    ["1x", -EINVAL.number, "0\n"],
    ["", 0, "0\n"],
    ["\n", -EINVAL.number, "0\n"],
    ["4294967297", -EINVAL.number, "0\n"],
  ])("writing %j to kptr_restrict gives %i and leaves %j", (written, result, left) => {
    const { root } = procKernel();
    expect(writeNode(root, PATH, written)).toBe(result);
    expect(text(root, PATH)).toBe(left);
  });

  test("a value lives at its data symbol", () => {
    const { kernel, root } = procKernel();
    writeNode(root, PATH, "2");
    const addr = kernel.text.image.addressOf("kptr_restrict");
    expect(kernel.mem.dv.getInt32(addr, true)).toBe(2);
    kernel.mem.dv.setInt32(addr, 1, true);
    expect(text(root, PATH)).toBe("1\n");
    expect(sysctlInt(kernel, "kernel/kptr_restrict")).toBe(1);
  });

  test("unprivileged_bpf_disabled 1 cannot be undone", () => {
    const { root } = procKernel();
    const path = "/proc/sys/kernel/unprivileged_bpf_disabled";
    expect(writeNode(root, path, "1")).toBe(0);
    expect(writeNode(root, path, "0")).toBe(-EPERM.number);
    expect(writeNode(root, path, "1")).toBe(0);
  });

  test("mode bits bind root too, and users may not write", () => {
    const { root, user } = procKernel();
    expect(writeNode(root, "/proc/sys/kernel/osrelease", "7")).toBe(-EACCES.number);
    expect(writeNode(user, "/proc/sys/kernel/panic", "7")).toBe(-EACCES.number);
    expect(readNode(user, "/proc/sys/net/core/bpf_jit_harden")).toBe(-EACCES.number);
  });

  test("several numbers are written from the front", () => {
    const { kernel, root } = procKernel();
    expect(writeNode(root, "/proc/sys/kernel/printk", "4 5\n")).toBe(0);
    expect(text(root, "/proc/sys/kernel/printk")).toBe("4\t5\t1\t7\n");
    expect(kernel.log.consoleLevel).toBe(4);
  });

  test("the host name is a line of at most 64 bytes", () => {
    const { kernel, root } = procKernel();
    expect(writeNode(root, "/proc/sys/kernel/hostname", "moon\nbase")).toBe(0);
    expect(text(root, "/proc/sys/kernel/hostname")).toBe("moon\n");
    writeNode(root, "/proc/sys/kernel/hostname", "x".repeat(100));
    expect(kernel.uts.nodename).toBe("x".repeat(64));
  });

  test("uuid differs at each open", () => {
    const { root } = procKernel();
    const path = "/proc/sys/kernel/random/uuid";
    expect(text(root, path)).not.toBe(text(root, path));
  });

  test("an extension's parameter appears at once", () => {
    const { kernel, root } = procKernel();
    registerSysctl(kernel, "net/demo/limit", intSysctl([cell(3)], { min: 0, max: 9 }));
    expect(text(root, "/proc/sys/net/demo/limit")).toBe("3\n");
    expect(writeNode(root, "/proc/sys/net/demo/limit", "10")).toBe(-EINVAL.number);
  });
});

describe.each([
  [1, "1", "0"],
  [2, "3", "0-1"],
  [4, "f", "0-3"],
])("with %d CPUs", (cpus, mask, list) => {
  const { root } = procKernel({ cpus });
  const each = (of: (cpu: number) => string): string => [...Array(cpus).keys()].map(of).join("");

  test("each has its lines and columns", () => {
    expect(text(root, "/proc/cpuinfo")).toMatch(
      new RegExp(
        `^${each((cpu) => `processor\t: ${cpu}\nhart\t\t: ${cpu}\nisa\t\t: rv64imc\nmmu\t\t: sv39\n[^]*?\n\n`)}$`,
      ),
    );
    const fields = "(\\d+ ){9}\\d+\n";
    expect(text(root, "/proc/stat")).toMatch(
      new RegExp(`^cpu {2}${fields}${each((cpu) => `cpu${cpu} ${fields}`)}intr `),
    );
    expect(text(root, "/proc/interrupts")).toBe(`           ${each((cpu) => `CPU${cpu}       `)}\n`);
    expect(text(root, "/proc/self/status")).toContain(
      `\nCpus_allowed:\t${mask}\nCpus_allowed_list:\t${list}\n`,
    );
  });
});

describe("another user's process", () => {
  const world = shared(() => Layout.natural());

  test.each([
    ["/proc/{root}/environ", -EACCES.number],
    ["/proc/{root}/maps", -EACCES.number],
    ["/proc/{root}/mem", -EACCES.number],
    ["/proc/{root}/io", -EACCES.number],
    ["/proc/{root}/stack", -EACCES.number],
    ["/proc/{root}/wchan", "0"],
    ["/proc/{root}/comm", "test\n"],
    ["/proc/slabinfo", -EACCES.number],
    ["/proc/kmsg", -EACCES.number],
  ])("shows %s as %j", (path, expected) => {
    const { user } = world();
    expect(readNode(user, withPids(world(), path))).toBe(expected);
  });

  test("does not show its descriptors and links", () => {
    const { user } = world();
    expect(listNode(user, withPids(world(), "/proc/{root}/fd"))).toBe(-EACCES.number);
    expect(listNode(user, withPids(world(), "/proc/{root}/fdinfo"))).toBe(-EACCES.number);
    expect(readLink(user, withPids(world(), "/proc/{root}/cwd"))).toBe(-EACCES.number);
    expect(readLink(user, withPids(world(), "/proc/{root}/ns/net"))).toBe(-EACCES.number);
  });

  test("shows one's own", () => {
    const { user } = world();
    expect(listNode(user, "/proc/self/fd")).toHaveLength(1);
    expect(readLink(user, "/proc/self/cwd")).toBe("/");
    expect(text(user, "/proc/self/environ")).toBe("");
  });

  test("a file that takes nothing opens for those whom its mode does not bind, and answers writes with an error", () => {
    const { root, user } = world();
    expect(writeNode(root, "/proc/version", "x")).toBe(-EIO.number);
    expect(writeNode(root, "/proc/self/status", "x")).toBe(-EINVAL.number);
    expect(writeNode(root, "/proc/sys/kernel/osrelease", "x")).toBe(-EACCES.number);
    expect(writeNode(root, "/sys/kernel/uevent_seqnum", "x")).toBe(-EACCES.number);
    expect(writeNode(user, "/proc/version", "x")).toBe(-EACCES.number);
  });

  test("cannot be renamed, and one's own can", () => {
    const own = procKernel();
    const { user, root } = own;
    expect(writeNode(root, withPids(own, "/proc/{user}/comm"), "x")).toBe(-EINVAL.number);
    expect(writeNode(user, "/proc/self/comm", "a-name-of-twenty-one")).toBe(0);
    expect(text(user, "/proc/self/comm")).toBe("a-name-of-twent\n");
  });

  test("lowering oom_score_adj needs CAP_SYS_RESOURCE", () => {
    const own = procKernel();
    const { user, root } = own;
    expect(writeNode(user, "/proc/self/oom_score_adj", "500\n")).toBe(0);
    expect(writeNode(user, "/proc/self/oom_score_adj", "400")).toBe(-EACCES.number);
    expect(writeNode(root, withPids(own, "/proc/{user}/oom_score_adj"), "400")).toBe(0);
    expect(writeNode(root, withPids(own, "/proc/{user}/oom_score_adj"), "1001")).toBe(-EINVAL.number);
  });
});

describe("a process that ends", () => {
  const sleeper = (kernel: Kernel): { readonly pid: number; end(): void } => {
    const queue = new WaitQueue();
    let isDone = false;
    const task = startTask(kernel, "sleeper", function* (cx) {
      yield* waitEvent(cx, queue, () => isDone);
      yield* do_exit(cx, 0);
    });
    kernel.sched.run();
    return {
      pid: task.pid,
      end() {
        isDone = true;
        queue.wake(kernel.bootCx, 0, 0);
        kernel.sched.run();
        kernel.pids.remove(task);
      },
    };
  };

  test("answers ESRCH where it is still open, and ENOENT by name", () => {
    const { kernel } = procKernel();
    const by = sleepingTask(kernel);
    const child = sleeper(kernel);
    const stat = by.open(`/proc/${child.pid}/stat`, 0);
    expect(text(by, `/proc/${child.pid}/wchan`)).toBe("0");
    child.end();
    expect(readOpen(by, stat)).toBe(-ESRCH.number);
    expect(readNode(by, `/proc/${child.pid}/stat`)).toBe(-ENOENT.number);
    by.close(stat);
  });

  test("kernel threads have no maps", () => {
    const { kernel } = procKernel();
    const by = sleepingTask(kernel);
    const child = sleeper(kernel);
    expect(readNode(by, `/proc/${child.pid}/maps`)).toBe(-ESRCH.number);
    expect(text(by, `/proc/${child.pid}/cmdline`)).toBe("");
    expect(text(by, `/proc/${child.pid}/stat`)).toMatch(/^\d+ \(sleeper\) S /);
  });
});

function readOpen(by: FileTask, fd: number): string | number {
  const buffer = by.buffer(64);
  return by.call(sys_read, fd, buffer, 64);
}

const READ_BUFFERS = [1, 7] as const;

describe("every node", () => {
  const all = (by: FileTask): ReturnType<typeof walk> => [...walk(by, "/proc"), ...walk(by, "/sys")];

  test.each([
    ["root", 0],
    ["user", 0],
    ["root", 3],
    ["user", 3],
  ] as const)("can be opened, listed and read by %s without a leak, layout %i", (who, seed) => {
    const world = procKernel({ layout: seed === 0 ? Layout.natural() : Layout.shuffled(seed) });
    const by = world[who];
    const before = world.kernel.kmalloc.snapshot();
    const nodes = all(by);
    expect(nodes.length).toBeGreaterThan(200);
    for (const { path, type } of nodes) {
      if (type === DT.LNK) readLink(by, path);
      else if (type === DT.REG) readNode(by, path);
    }
    expect(world.kernel.kmalloc.snapshot()).toEqual(before);
  });

  test.each(READ_BUFFERS)("reads the same with a buffer of %i bytes", (chunk) => {
    const { root } = procKernel();
    for (const { path, type } of all(root)) {
      if (type !== DT.REG || /\/(kmsg|uuid|mem|kallsyms)$/.test(path)) continue;
      expect([path, readNode(root, path, chunk)]).toEqual([path, readNode(root, path)]);
    }
  });

  test.each(READ_BUFFERS)("kallsyms reads the same with a buffer of %i bytes", (chunk) => {
    const { root } = procKernel();
    expect(readNode(root, "/proc/kallsyms", chunk)).toBe(text(root, "/proc/kallsyms"));
  });
});
