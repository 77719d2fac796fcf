import { AT, EAGAIN, EBUSY, EINVAL, isErr, Layout, NR, O } from "@alien-ts/abi";
import { beforeEach, describe, expect, test } from "vitest";
import type { Kernel } from "../core/kernel.ts";
import { type Blocking, isBlocking } from "../core/row.ts";
import type { SyscallResult, SyscallRow } from "../core/syscall.ts";
import type { BootOptions } from "../boot.ts";
import { fileKernel, FileTask } from "../file-testing.ts";
import { sys_mkdirat } from "../syscalls/directories.ts";
import { sys_openat } from "../syscalls/open.ts";
import { sys_read, sys_write } from "../syscalls/read-write.ts";
import { waitEvent, WaitQueue, wakeUpAll } from "../sched/wait.ts";
import { do_trap_ecall_u } from "../task/port.ts";
import { settle, startTask } from "../testing.ts";
import { mountAtBoot } from "../vfs/namespace.ts";
import { reportedState } from "./event-rows.ts";
import { initTracing } from "./init.ts";
import { initTraceBuffer, TRACE_FLAG } from "./trace-buffer.ts";

let kernel: Kernel;
let task: FileTask;

/** A kernel with tracefs at /t, whose init makes the calls. */
function start(options: BootOptions = {}): void {
  kernel = fileKernel(options);
  initTraceBuffer(kernel);
  initTracing(kernel);
  task = new FileTask(
    startTask(kernel, "test", function* (cx) {
      yield* waitEvent(cx, new WaitQueue(), () => false);
    }),
  );
  settle(kernel);
  task.call(sys_mkdirat, AT.FDCWD, task.str("/t"), 0o755);
  mountAtBoot(kernel.bootCx, "tracefs", "/t");
}

beforeEach(() => start());

const open = (path: string, flags: number): number =>
  task.call(sys_openat, AT.FDCWD, task.str(path), flags, 0);

/** Opens, writes and closes, as a shell's redirection does; answers what write said. */
function write(path: string, text: string, flags: number = O.WRONLY | O.TRUNC): number {
  const fd = task.open(path, flags);
  const result = task.call(sys_write, fd, task.str(text), text.length);
  task.close(fd);
  return result;
}

/** Records of `trace`, without the header. */
const records = (): string[] =>
  task
    .readFile("/t/trace")
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"));

/** Records of one event: what is behind its name. */
const recordsOf = (event: string): string[] =>
  records()
    .filter((line) => line.includes(`: ${event}: `))
    .map((line) => line.slice(line.indexOf(`: ${event}: `) + event.length + 4));

describe("tracefs", () => {
  test.each([
    ["available_tracers", "nop\n"],
    ["current_tracer", "nop\n"],
    ["tracing_on", "1\n"],
    ["set_event", ""],
    ["events/enable", "0\n"],
    ["events/sched/enable", "0\n"],
    ["events/sched/sched_switch/enable", "0\n"],
    ["events/sched/sched_waking/id", "20\n"],
    ["events/raw_syscalls/sys_exit/id", "28\n"],
  ])("%s shows %j", (path, text) => {
    expect(task.readFile(`/t/${path}`)).toBe(text);
  });

  test("sched_switch has Linux's format file", () => {
    const report =
      "(0x00000000 | 0x00000001 | 0x00000002 | 0x00000004 | 0x00000008 | 0x00000010 | 0x00000020 | 0x00000040)";
    const mask = `(((${report} + 1) << 1) - 1)`;
    const letters =
      '{ 0x00000001, "S" }, { 0x00000002, "D" }, { 0x00000004, "T" }, { 0x00000008, "t" }, ' +
      '{ 0x00000010, "X" }, { 0x00000020, "Z" }, { 0x00000040, "P" }, { 0x00000080, "I" }';
    const text = task.readFile("/t/events/sched/sched_switch/format");
    expect(text).toContain("\tfield:long prev_state;\toffset:32;\tsize:8;\tsigned:1;\n");
    expect(text).toContain("\tfield:int next_prio;\toffset:60;\tsize:4;\tsigned:1;\n");
    expect(text.slice(text.indexOf("print fmt:"))).toBe(
      'print fmt: "prev_comm=%s prev_pid=%d prev_prio=%d prev_state=%s%s ==> next_comm=%s next_pid=%d next_prio=%d", ' +
        `REC->prev_comm, REC->prev_pid, REC->prev_prio, (REC->prev_state & ${mask}) ? ` +
        `__print_flags(REC->prev_state & ${mask}, "|", ${letters}) : "R", ` +
        `REC->prev_state & ((${report} + 1) << 1) ? "+" : "", REC->next_comm, REC->next_pid, REC->next_prio\n`,
    );
  });

  test("an enable file takes 0 and 1, and shows X above a mixture", () => {
    expect(write("/t/events/sched/sched_switch/enable", "1\n")).toBe(2);
    expect(write("/t/events/sched/sched_switch/enable", "2\n")).toBe(-EINVAL.number);
    expect(
      ["events/sched/sched_switch", "events/sched", "events"].map((at) => task.readFile(`/t/${at}/enable`)),
    ).toEqual(["1\n", "X\n", "X\n"]);
    write("/t/events/enable", "1");
    expect(task.readFile("/t/events/sched/enable")).toBe("1\n");
    write("/t/events/enable", "0");
    expect(kernel.sched.onSwitch).toBeUndefined();
  });

  test.each([
    ["sched:sched_switch", ["sched:sched_switch"]],
    ["sys_*", ["raw_syscalls:sys_enter", "raw_syscalls:sys_exit"]],
    ["raw_syscalls:", ["raw_syscalls:sys_enter", "raw_syscalls:sys_exit"]],
    ["sys_enter sched_waking !sys_enter", ["sched:sched_waking"]],
  ])("set_event takes %j", (words, enabled) => {
    expect(write("/t/set_event", words)).toBe(words.length);
    expect(task.readFile("/t/set_event").split("\n").filter(Boolean)).toEqual(enabled);
    write("/t/set_event", "");
    expect(task.readFile("/t/set_event")).toBe("");
  });

  test("set_event refuses what matches nothing", () => {
    expect(write("/t/set_event", "no_such_event")).toBe(-EINVAL.number);
  });

  test("trace shows a header with counts, and is cleared by opening it for writing", () => {
    write("/t/trace_marker", "one\n");
    kernel.traceBuffer.appendFrom(
      {
        cx: task.cx,
        task: task.task,
        cpu: kernel.cpus.at(-1)!,
        flags: TRACE_FLAG.IRQS_OFF | TRACE_FLAG.HARDIRQ,
        preemptCount: 2,
      },
      "event",
      "two",
    );
    const text = task.readFile("/t/trace");
    expect(text.split("\n").slice(0, 4)).toEqual([
      "# tracer: nop",
      "#",
      `# entries-in-buffer/entries-written: 2/2   #P:${kernel.cpus.length}`,
      "#",
    ]);
    expect(
      records().map((line) => line.replace(/ +\d+\.\d{6}/, (time) => "T".padStart(time.length))),
    ).toEqual([
      `            test-${String(task.task.pid).padEnd(7)} [00${task.cx.cpu.id}] .....            T: tracing_mark_write: one`,
      `            test-${String(task.task.pid).padEnd(7)} [00${kernel.cpus.length - 1}] d.h2.            T: event: two`,
    ]);
    write("/t/trace", "");
    expect(records()).toEqual([]);
  });

  test("nothing is recorded while tracing_on is 0", () => {
    write("/t/tracing_on", "0");
    write("/t/trace_marker", "lost");
    write("/t/tracing_on", "1");
    write("/t/trace_marker", "kept");
    expect(recordsOf("tracing_mark_write")).toEqual(["kept"]);
    expect(write("/t/tracing_on", "x")).toBe(-EINVAL.number);
  });
});

describe("trace_pipe", () => {
  const READ_BYTES = 4096;

  test("gives EAGAIN with O_NONBLOCK while there is nothing, and consumes what there is", () => {
    const fd = open("/t/trace_pipe", O.RDONLY | O.NONBLOCK);
    const buffer = task.buffer(READ_BYTES);
    expect(task.call(sys_read, fd, buffer, READ_BYTES)).toBe(-EAGAIN.number);
    write("/t/trace_marker", "a");
    write("/t/trace_marker", "b");
    const got = task.call(sys_read, fd, buffer, READ_BYTES);
    expect(task.text(buffer, got).match(/tracing_mark_write: ./g)).toEqual([
      "tracing_mark_write: a",
      "tracing_mark_write: b",
    ]);
    expect(task.call(sys_read, fd, buffer, READ_BYTES)).toBe(-EAGAIN.number);
    expect(records()).toEqual([]);
  });

  test("gives whole records where they fit, and the rest of a long one at the next read", () => {
    const fd = open("/t/trace_pipe", O.RDONLY | O.NONBLOCK);
    const buffer = task.buffer(READ_BYTES);
    write("/t/trace_marker", "first");
    write("/t/trace_marker", "second");
    const whole = kernel.traceBuffer.lines().map((line) => line.length);
    const sizes = [whole[0]! + 5, 10, READ_BYTES].map((size) => task.call(sys_read, fd, buffer, size));
    expect(sizes).toEqual([whole[0], 10, whole[1]! - 10]);
  });

  test("is open once", () => {
    const fd = open("/t/trace_pipe", O.RDONLY);
    expect(open("/t/trace_pipe", O.RDONLY)).toBe(-EBUSY.number);
    task.close(fd);
    expect(open("/t/trace_pipe", O.RDONLY)).toBeGreaterThanOrEqual(0);
  });

  test("ends for a reader that has had something when recording is off", () => {
    const fd = open("/t/trace_pipe", O.RDONLY | O.NONBLOCK);
    const buffer = task.buffer(READ_BYTES);
    write("/t/trace_marker", "a");
    task.call(sys_read, fd, buffer, READ_BYTES);
    write("/t/tracing_on", "0");
    expect(task.call(sys_read, fd, buffer, READ_BYTES)).toBe(0);
  });

  test("a blocking read sleeps until an event is recorded", () => {
    const results: string[] = [];
    const reader = new FileTask(
      startTask(kernel, "reader", function* () {
        const buffer = reader.buffer(READ_BYTES);
        const fd = reader.open("/t/trace_pipe", O.RDONLY);
        const result = yield* finish(reader.start(sys_read, fd, buffer, READ_BYTES));
        results.push(isErr(result) ? result.name : reader.text(buffer, result));
      }),
    );
    settle(kernel);
    expect(results).toEqual([]);
    write("/t/trace_marker", "now");
    settle(kernel);
    expect(results).toEqual([expect.stringMatching(/: tracing_mark_write: now\n$/)]);
  });
});

function* finish(made: SyscallResult | Blocking<SyscallResult>): Blocking<SyscallResult> {
  return isBlocking(made) ? yield* made as Blocking<SyscallResult> : (made as SyscallResult);
}

describe.each([Layout.natural(), Layout.shuffled(1), Layout.shuffled(2), Layout.shuffled(3)])(
  "events in layout $name",
  (layout) => {
    beforeEach(() => start({ layout, cpus: 1 }));

    test("the scheduler's say who sleeps, who wakes whom and who goes", () => {
      const queue = new WaitQueue();
      let isReady = false;
      settle(kernel);
      write("/t/set_event", "sched:*");
      const sleeper = startTask(kernel, "sleeper", function* (cx) {
        yield* waitEvent(cx, queue, () => isReady);
      });
      settle(kernel);
      isReady = true;
      wakeUpAll(kernel.bootCx, queue);
      settle(kernel);
      const { pid } = sleeper;
      write("/t/set_event", "");
      expect(recordsOf("sched_wakeup_new")).toEqual([`comm=sleeper pid=${pid} prio=120 target_cpu=000`]);
      expect(recordsOf("sched_wakeup")).toEqual([`comm=sleeper pid=${pid} prio=120 target_cpu=000`]);
      expect(recordsOf("sched_waking")).toEqual(recordsOf("sched_wakeup"));
      const idle = "swapper/0";
      expect(recordsOf("sched_switch")).toEqual([
        `prev_comm=${idle} prev_pid=0 prev_prio=120 prev_state=R ==> next_comm=sleeper next_pid=${pid} next_prio=120`,
        `prev_comm=sleeper prev_pid=${pid} prev_prio=120 prev_state=S ==> next_comm=${idle} next_pid=0 next_prio=120`,
        `prev_comm=${idle} prev_pid=0 prev_prio=120 prev_state=R ==> next_comm=sleeper next_pid=${pid} next_prio=120`,
        expect.stringMatching(
          new RegExp(`^prev_comm=sleeper prev_pid=${pid} .* prev_state=[XZ] ==> next_comm=${idle} `),
        ),
      ]);
      expect(recordsOf("sched_process_exit")).toEqual([`comm=sleeper pid=${pid} prio=120 group_dead=true`]);
    });

    test("a system call is recorded with its arguments and its result", () => {
      write("/t/set_event", "raw_syscalls:*");
      kernel.syscallTable[NR.close] = { nr: NR.close } as SyscallRow;
      const { dv } = kernel.mem;
      const { roles } = kernel.text.arch;
      const regs = task.task.userRegs;
      dv.setInt32(regs + roles.syscallNumber, 999, true);
      [1n, 2n, 3n, 4n, 5n, -1n].forEach((value, i) =>
        dv.setBigInt64(regs + roles.arguments[i]!, value, true),
      );
      do_trap_ecall_u(task.cx, regs);
      write("/t/set_event", "");
      expect(recordsOf("sys_enter")).toContain("NR 999 (1, 2, 3, 4, 5, ffffffffffffffff)");
      expect(recordsOf("sys_exit")).toContain("NR 999 = -38");
    });

    test("events that are off leave no hook behind", () => {
      write("/t/events/enable", "1");
      const { sched } = kernel;
      const hooks = () => [
        sched.onSwitch,
        sched.onWakeup,
        kernel.onFork,
        kernel.onExec,
        kernel.onExit,
        kernel.onSyscallEnter,
        kernel.onSyscallExit,
      ];
      expect(hooks().every((hook) => hook !== undefined)).toBe(true);
      write("/t/events/enable", "0");
      expect(hooks().every((hook) => hook === undefined)).toBe(true);
    });
  },
);

test.each([
  ["running", 0, 0, false, 0],
  ["preempted", 0, 0, true, 0x100],
  ["asleep", 1, 0, false, 1],
  ["asleep, killable", 0x102, 0, false, 2],
  ["idle worker", 0x402, 0, false, 0x80],
  ["dead, unreaped", 0x80, 0x20, false, 0x20],
  ["dead, reaped", 0x80, 0x10, false, 0x10],
])("prev_state of a task that is %s", (_, state, exitState, isPreempted, reported) => {
  expect(reportedState(state, exitState, isPreempted)).toBe(reported);
});
