/** Terminals through system calls: the console, job control, pseudo-terminals, the console that is none. */
import {
  EAGAIN,
  EIO,
  ENOTTY,
  ENXIO,
  EPERM,
  IFLAG,
  IOCTL,
  isErr,
  LFLAG,
  NR,
  O,
  POLL,
  SIG,
  SIG_IGN,
  termios as termiosStruct,
  utf8Encode,
  VCC,
} from "@alien-ts/abi";
import { describe, expect, test } from "vitest";
import type { Kernel } from "../../core/kernel.ts";
import type { Blocking } from "../../core/row.ts";
import { mountAtBoot } from "../../vfs/namespace.ts";
import { ipcKernel, leaksOf, type Program, runProgram, startProgram } from "../../testing-program.ts";
import { do_mkdirat } from "../../vfs/namei-ops.ts";
import { getname_kernel } from "../../vfs/filename.ts";

interface Machine {
  readonly kernel: Kernel;
  /** What the console showed. */
  shown(): string;
  type(text: string): void;
}

function machine(isTerminal = true): Machine {
  const kernel = ipcKernel();
  for (const path of ["/dev"]) {
    const name = getname_kernel(kernel.bootCx.kernel, path);
    if (!isErr(name)) do_mkdirat(kernel.bootCx, -100, name, 0o755);
  }
  mountAtBoot(kernel.bootCx, "devtmpfs", "/dev");
  mountAtBoot(kernel.bootCx, "devpts", "/dev/pts");
  let shown = "";
  kernel.console.isTerminal = isTerminal;
  kernel.console.onOutput = (bytes) => {
    shown += String.fromCharCode(...bytes);
  };
  return { kernel, shown: () => shown, type: (text) => kernel.console.input(utf8Encode(text)) };
}

function* open(p: Program, path: string, flags: number = O.RDWR): Blocking<number> {
  return yield* p.call(NR.openat, -100, p.put([...utf8Encode(path), 0]), flags, 0);
}

function* readText(p: Program, fd: number, size = 256): Blocking<string | number> {
  const buffer = p.room(size);
  const count = yield* p.call(NR.read, fd, buffer, size);
  return count < 0 ? count : p.text(buffer, count);
}

function* writeText(p: Program, fd: number, text: string): Blocking<number> {
  const bytes = utf8Encode(text);
  return yield* p.call(NR.write, fd, p.put(bytes), bytes.length);
}

/** Makes the program the leader of a session with the console as its terminal. */
function* login(p: Program): Blocking<number> {
  const { process } = p.cx.task;
  process.sid = process.pid;
  process.pgid = process.pid;
  return yield* open(p, "/dev/ttyS0");
}

function* changeTermios(p: Program, fd: number, change: (view: DataView) => void): Blocking<number> {
  const at = p.room(36);
  yield* p.call(NR.ioctl, fd, IOCTL.TCGETS, at);
  const bytes = p.read(at, 36);
  change(new DataView(bytes.buffer, bytes.byteOffset));
  p.write(at, bytes);
  return yield* p.call(NR.ioctl, fd, IOCTL.TCSETS, at);
}

const LOCAL = 12;
const CC = 17;

function pendingOf(p: Program): bigint {
  return p.cx.task.process.pending.mask;
}
function forgetSignals(p: Program): void {
  p.cx.task.process.pending.mask = 0n;
  p.cx.task.process.pending.queue.length = 0;
  p.cx.task.hasPendingSignal = false;
}

describe("the console", () => {
  test("a read sleeps until a line was typed", () => {
    const m = machine();
    let got: string | number = "";
    startProgram(m.kernel, "shell", function* (p) {
      const fd = yield* open(p, "/dev/console");
      yield* writeText(p, fd, "$ \n");
      got = yield* readText(p, fd);
    });
    m.kernel.sched.run();
    m.type("ec");
    m.kernel.sched.run();
    expect(got).toBe("");
    m.type("ho\r");
    m.kernel.sched.run();
    expect(got).toBe("echo\n");
    expect(m.shown()).toBe("$ \r\necho\r\n");
  });

  test("isatty works, the size is reported, and a new size is SIGWINCH", () => {
    const m = machine();
    runProgram(m.kernel, function* (p) {
      const fd = yield* login(p);
      const at = p.room(36);
      expect(yield* p.call(NR.ioctl, fd, IOCTL.TCGETS, at)).toBe(0);
      expect(p.word(at + LOCAL) & LFLAG.ICANON).toBe(LFLAG.ICANON);
      p.cx.task.blocked = (1n << 64n) - 1n;
      m.kernel.console.resize(24, 80);
      expect(yield* p.call(NR.ioctl, fd, IOCTL.TIOCGWINSZ, at)).toBe(0);
      expect([...new Uint16Array(p.read(at, 4).buffer)]).toEqual([24, 80]);
      expect(pendingOf(p)).toBe(1n << BigInt(SIG.WINCH - 1));
      forgetSignals(p);
    });
  });

  test("Ctrl-C signals the foreground group", () => {
    const m = machine();
    runProgram(m.kernel, function* (p) {
      yield* login(p);
      m.type("\x03");
      expect(pendingOf(p)).toBe(1n << BigInt(SIG.INT - 1));
      forgetSignals(p);
      expect(m.shown()).toBe("^C");
    });
  });

  test("output that was stopped waits, and poll says so", () => {
    const m = machine();
    runProgram(m.kernel, function* (p) {
      const fd = yield* open(p, "/dev/console", O.RDWR | O.NONBLOCK);
      m.type("\x13");
      expect(yield* writeText(p, fd, "x")).toBe(-EAGAIN.number);
      const entry = p.words(fd, POLL.OUT | POLL.IN);
      expect(yield* p.call(NR.ppoll, entry, 1, p.put(new Uint8Array(16)), 0, 0)).toBe(0);
      m.type("\x11");
      expect(yield* writeText(p, fd, "x")).toBe(1);
      expect(m.shown()).toBe("x");
    });
  });

  test.each([
    { name: "VMIN 0, VTIME 0: a read never waits", min: 0, time: 0, typed: "", got: "", waitedMs: 0 },
    {
      name: "VMIN 0, VTIME 2: a read waits two tenths of a second",
      min: 0,
      time: 2,
      typed: "",
      got: "",
      waitedMs: 200,
    },
    {
      name: "VMIN 3: a read takes what is there once it is enough",
      min: 3,
      time: 0,
      typed: "abcd",
      got: "abcd",
      waitedMs: 0,
    },
    {
      name: "VMIN 3, VTIME 1: the time runs from the first byte",
      min: 3,
      time: 1,
      typed: "ab",
      got: "ab",
      waitedMs: 100,
    },
  ])("$name", ({ min, time, typed, got, waitedMs }) => {
    const m = machine();
    runProgram(m.kernel, function* (p) {
      const fd = yield* open(p, "/dev/console");
      yield* changeTermios(p, fd, (view) => {
        view.setUint32(LOCAL, view.getUint32(LOCAL, true) & ~(LFLAG.ICANON | LFLAG.ECHO), true);
        view.setUint8(CC + VCC.MIN, min);
        view.setUint8(CC + VCC.TIME, time);
      });
      m.type(typed);
      const before = m.kernel.clock.nowNs();
      expect(yield* readText(p, fd)).toBe(got);
      const waited = (m.kernel.clock.nowNs() - before) / 1e6;
      expect(waited).toBeGreaterThanOrEqual(waitedMs);
      expect(waited).toBeLessThan(waitedMs + 5);
    });
  });

  test("a hangup ends reads, and the session leader gets SIGHUP", () => {
    const m = machine();
    runProgram(m.kernel, function* (p) {
      const fd = yield* login(p);
      p.cx.task.blocked = (1n << 64n) - 1n;
      m.kernel.console.hangup();
      expect(pendingOf(p) & 1n).toBe(1n);
      forgetSignals(p);
      expect(yield* readText(p, fd)).toBe("");
      expect(yield* writeText(p, fd, "x")).toBe(-EIO.number);
      expect(yield* open(p, "/dev/tty")).toBe(-ENXIO.number);
    });
  });

  test("termios layout has no say in what users see", () => {
    const m = machine();
    expect(m.kernel.layout.size(termiosStruct)).toBe(36);
  });
});

describe("job control", () => {
  test("a session leader gets the terminal that it opens, unless O_NOCTTY is given to TIOCSCTTY's users", () => {
    const m = machine();
    runProgram(m.kernel, function* (p) {
      const { process } = p.cx.task;
      process.sid = process.pid;
      process.pgid = process.pid;
      const fd = yield* open(p, "/dev/console");
      expect(yield* open(p, "/dev/tty")).toBe(-ENXIO.number);
      expect(yield* p.call(NR.ioctl, fd, IOCTL.TIOCSCTTY, 0)).toBe(0);
      expect(yield* open(p, "/dev/tty")).toBeGreaterThan(0);
      const at = p.room(4);
      expect(yield* p.call(NR.ioctl, fd, IOCTL.TIOCGPGRP, at)).toBe(0);
      expect(p.word(at)).toBe(process.pgid);
      expect(yield* p.call(NR.ioctl, fd, IOCTL.TIOCGSID, at)).toBe(0);
      expect(p.word(at)).toBe(process.sid);
      expect(yield* p.call(NR.ioctl, fd, IOCTL.TIOCNOTTY, 0)).toBe(0);
      forgetSignals(p);
      expect(yield* p.call(NR.ioctl, fd, IOCTL.TIOCGPGRP, at)).toBe(-ENOTTY.number);
    });
  });

  test("a background read is SIGTTIN, or EIO when that is ignored or the group is orphaned", () => {
    const m = machine();
    runProgram(m.kernel, function* (p) {
      const { task } = p.cx;
      const fd = yield* login(p);
      m.kernel.console.tty.pgrp = 4242;
      expect(yield* readText(p, fd)).toBe(-EIO.number);
      task.sighand.actions[SIG.TTIN] = { handler: SIG_IGN, flags: 0, mask: 0n };
      expect(yield* readText(p, fd)).toBe(-EIO.number);
      expect(pendingOf(p)).toBe(0n);
    });
  });

  test("only groups of the session can be brought to the foreground", () => {
    const m = machine();
    runProgram(m.kernel, function* (p) {
      const fd = yield* login(p);
      expect(yield* p.call(NR.ioctl, fd, IOCTL.TIOCSPGRP, p.words(9999))).toBe(-3);
      const other = startProgram(m.kernel, "other", function* (o) {
        yield* o.call(NR.ppoll, 0, 0, o.words(1, 0, 0, 0), 0, 0);
      });
      other.process.pgid = other.pid;
      expect(yield* p.call(NR.ioctl, fd, IOCTL.TIOCSPGRP, p.words(other.pid))).toBe(-EPERM.number);
      other.process.sid = p.cx.task.process.sid;
      expect(yield* p.call(NR.ioctl, fd, IOCTL.TIOCSPGRP, p.words(other.pid))).toBe(0);
    });
  });
});

describe("pseudo-terminals", () => {
  function* pty(p: Program): Blocking<{ master: number; slave: number; index: number }> {
    const master = yield* open(p, "/dev/ptmx");
    const at = p.room(4);
    expect(yield* p.call(NR.ioctl, master, IOCTL.TIOCGPTN, at)).toBe(0);
    const index = p.word(at);
    const path = `/dev/pts/${index}`;
    expect(yield* open(p, path, O.RDWR | O.NOCTTY)).toBe(-EIO.number);
    expect(yield* p.call(NR.ioctl, master, IOCTL.TIOCSPTLCK, p.words(0))).toBe(0);
    return { master, slave: yield* open(p, path, O.RDWR | O.NOCTTY), index };
  }

  test("what one side writes the other reads, through the line discipline", () => {
    const m = machine();
    const leaks = leaksOf(m.kernel, () =>
      runProgram(m.kernel, function* (p) {
        const { master, slave } = yield* pty(p);
        expect(slave).toBeGreaterThan(0);
        yield* writeText(p, master, "ls\r");
        expect(yield* readText(p, slave)).toBe("ls\n");
        expect(yield* readText(p, master)).toBe("ls\r\n");
        yield* writeText(p, slave, "a\nb\n");
        expect(yield* readText(p, master)).toBe("a\r\nb\r\n");
      }),
    );
    expect([...leaks.keys()].filter((tag) => tag.includes("tty"))).toEqual([]);
  });

  test("when the slave is closed the master reads EIO; when the master is closed the slave is hung up", () => {
    const m = machine();
    runProgram(m.kernel, function* (p) {
      const first = yield* pty(p);
      yield* writeText(p, first.slave, "x");
      yield* p.call(NR.close, first.slave);
      expect(yield* readText(p, first.master)).toBe("x");
      expect(yield* readText(p, first.master)).toBe(-EIO.number);
      const second = yield* pty(p);
      expect(second.index).toBe(1);
      yield* p.call(NR.close, second.master);
      expect(yield* readText(p, second.slave)).toBe("");
      expect(yield* writeText(p, second.slave, "x")).toBe(-EIO.number);
    });
  });
});

describe("a console that is no terminal", () => {
  test("is a stream with an end: no echo, no line discipline, no isatty", () => {
    const m = machine(false);
    runProgram(m.kernel, function* (p) {
      const fd = yield* open(p, "/dev/console");
      expect(yield* p.call(NR.ioctl, fd, IOCTL.TCGETS, p.room(36))).toBe(-ENOTTY.number);
      m.type("ls\r\x03");
      m.kernel.console.hangup();
      expect(yield* readText(p, fd, 3)).toBe("ls\r");
      expect(yield* readText(p, fd)).toBe("\x03");
      expect(yield* readText(p, fd)).toBe("");
      yield* writeText(p, fd, "out\n");
      expect(m.shown()).toBe("out\n");
      expect(yield* open(p, "/dev/tty")).toBe(-ENXIO.number);
    });
  });
});

test("input flags are those of a new terminal", () => {
  const { termios } = machine().kernel.console.tty;
  expect(termios.c_iflag).toBe(IFLAG.ICRNL | IFLAG.IXON);
});
