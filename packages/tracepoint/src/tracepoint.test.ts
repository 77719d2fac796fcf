import { array, chars, LinearMemory, long, NULL_GUARD_BYTES, ptr, s32, u64, u8, named } from "@alien-ts/abi";
import { describe, expect, test } from "vitest";
import { dynamicString, type Tracepoint, tracepoint, type TraceFields } from "./event.ts";
import { formatFile } from "./format-file.ts";
import { formatPrint } from "./printf.ts";
import { formatRecord, readRecord, recordBytes, writeRecord } from "./record.ts";
import { RECORD_BYTES_MAX, SCRATCH_LEVELS, TracepointRegistry } from "./registry.ts";

const pid_t = named("pid_t", s32);

const sched_wakeup = tracepoint(
  "sched",
  "sched_wakeup",
  { comm: chars(16), pid: pid_t, prio: s32, target_cpu: s32 },
  "comm=%s pid=%d prio=%d target_cpu=%03d",
);
const sched_process_exec = tracepoint(
  "sched",
  "sched_process_exec",
  { filename: dynamicString, pid: pid_t, old_pid: pid_t },
  "filename=%s pid=%d old_pid=%d",
);
const sys_enter = tracepoint(
  "raw_syscalls",
  "sys_enter",
  { id: long, args: array(named("unsigned long", u64), 2) },
  "NR %ld (%lx, %lx)",
  [
    { c: "REC->id", value: ({ id }) => id },
    ...[0, 1].map((i) => ({
      c: `REC->args[${i}]`,
      value: ({ args }: { readonly args: readonly bigint[] }) => args[i]!,
    })),
  ],
);
const odd = tracepoint(
  "test",
  "odd",
  { flag: u8, name: dynamicString, at: ptr("file"), other: dynamicString },
  "%s",
);

const COMMON = `\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;
\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;
`;

describe("a format file", () => {
  test.each([
    [
      "sched_wakeup",
      sched_wakeup as Tracepoint<TraceFields>,
      318,
      `name: sched_wakeup
ID: 318
format:
${COMMON}
\tfield:char comm[16];\toffset:8;\tsize:16;\tsigned:0;
\tfield:pid_t pid;\toffset:24;\tsize:4;\tsigned:1;
\tfield:int prio;\toffset:28;\tsize:4;\tsigned:1;
\tfield:int target_cpu;\toffset:32;\tsize:4;\tsigned:1;

print fmt: "comm=%s pid=%d prio=%d target_cpu=%03d", REC->comm, REC->pid, REC->prio, REC->target_cpu
`,
    ],
    [
      "sched_process_exec",
      sched_process_exec as Tracepoint<TraceFields>,
      312,
      `name: sched_process_exec
ID: 312
format:
${COMMON}
\tfield:__data_loc char[] filename;\toffset:8;\tsize:4;\tsigned:0;
\tfield:pid_t pid;\toffset:12;\tsize:4;\tsigned:1;
\tfield:pid_t old_pid;\toffset:16;\tsize:4;\tsigned:1;

print fmt: "filename=%s pid=%d old_pid=%d", __get_str(filename), REC->pid, REC->old_pid
`,
    ],
    [
      "sys_enter",
      sys_enter as unknown as Tracepoint<TraceFields>,
      404,
      `name: sys_enter
ID: 404
format:
${COMMON}
\tfield:long id;\toffset:8;\tsize:8;\tsigned:1;
\tfield:unsigned long args[2];\toffset:16;\tsize:16;\tsigned:0;

print fmt: "NR %ld (%lx, %lx)", REC->id, REC->args[0], REC->args[1]
`,
    ],
  ])("of %s is what Linux prints", (_, event, id, text) => {
    expect(formatFile(event, id)).toBe(text);
  });

  test("fields are placed as a C compiler places them", () => {
    expect(odd.placed.map(({ name, offset, size }) => [name, offset, size])).toEqual([
      ["flag", 8, 1],
      ["name", 12, 4],
      ["at", 16, 8],
      ["other", 24, 4],
    ]);
    expect([odd.fixedBytes, odd.dataOffset]).toEqual([32, 28]);
  });
});

const COMMON_FIELDS = { flags: 1, preemptCount: 2, pid: 77 };
const AT = NULL_GUARD_BYTES;

describe("a record", () => {
  test("starts with id, flags, preempt count and pid", () => {
    const mem = new LinearMemory(new ArrayBuffer(2 * NULL_GUARD_BYTES));
    const size = writeRecord(mem, AT, sched_wakeup, 318, COMMON_FIELDS, {
      comm: "init",
      pid: 1,
      prio: 120,
      target_cpu: 3,
    });
    expect(size).toBe(36);
    expect([...mem.bytes(AT, 12)]).toEqual([0x3e, 1, 1, 2, 77, 0, 0, 0, 0x69, 0x6e, 0x69, 0x74]);
    expect(formatRecord(mem, AT, sched_wakeup)).toBe("comm=init pid=1 prio=120 target_cpu=003");
  });

  test("has its strings behind the fields", () => {
    const mem = new LinearMemory(new ArrayBuffer(2 * NULL_GUARD_BYTES));
    const values = { flag: 1, name: "grüße", at: AT, other: "" };
    const size = writeRecord(mem, AT, odd, 9, COMMON_FIELDS, values);
    expect(size).toBe(recordBytes(odd, values));
    expect(mem.dv.getUint32(AT + 12, true)).toBe((6 << 16) | 28);
    expect(mem.dv.getUint32(AT + 24, true)).toBe((1 << 16) | 34);
    expect(readRecord(mem, AT, odd)).toEqual(values);
  });

  test("keeps 64-bit values whole", () => {
    const mem = new LinearMemory(new ArrayBuffer(2 * NULL_GUARD_BYTES));
    writeRecord(mem, AT, sys_enter, 1, COMMON_FIELDS, { id: -1, args: [2n ** 64n - 1n, 0x1234n] });
    expect(formatRecord(mem, AT, sys_enter)).toBe("NR -1 (ffffffffffffffff, 1234)");
  });
});

test.each([
  ["%d %i %u", [-1, 5, -1], "-1 5 4294967295"],
  ["%x %X %#x %#X %o", [255, 255, 255, 255, 8], "ff FF 0xff 0XFF 10"],
  ["%lx %llx %lu", [-1, 2n ** 64n - 1n, -1n], "ffffffffffffffff ffffffffffffffff 18446744073709551615"],
  ["%ld %lld", [-(2 ** 40), -(2n ** 63n)], "-1099511627776 -9223372036854775808"],
  ["%hhx %hd %zu", [0x1ff, 0x18000, 12], "ff -32768 12"],
  ["[%03d] [%-5d] [%5d] [%+d] [% d]", [7, 7, -7, 7, 7], "[007] [7    ] [   -7] [+7] [ 7]"],
  ["[%05d] [%#06x] [%.3d]", [-7, 10, 7], "[-0007] [0x000a] [007]"],
  ["[%s] [%5s] [%-5s] [%.2s]", ["ab", "ab", "ab", "abc"], "[ab] [   ab] [ab   ] [ab]"],
  ["%c%c %p", ["a", 66, 0xffff_ffd6_0000_0000n], "aB ffffffd600000000"],
  ["100%% %d", [1], "100% 1"],
  ["%d %d", [1], "1 %d"],
  ["%d", [true], "1"],
] as const)("%s prints as in the kernel", (format, values, text) => {
  expect(formatPrint(format, values)).toBe(text);
});

function registry() {
  const mem = new LinearMemory(new ArrayBuffer(2 * NULL_GUARD_BYTES));
  return {
    mem,
    events: new TracepointRegistry<string>({ mem, scratch: AT, common: () => COMMON_FIELDS }, 300),
  };
}

describe("a registry", () => {
  const values = { filename: "/bin/ls", pid: 5, old_pid: 5 };

  test("gives ids in order and finds events by name and id", () => {
    const { events } = registry();
    const wakeup = events.register(sched_wakeup);
    const exec = events.register(sched_process_exec);
    expect([wakeup.id, exec.id]).toEqual([300, 301]);
    expect(events.find("sched:sched_wakeup")?.id).toBe(300);
    expect(events.findId(301)?.event.name).toBe("sched_process_exec");
    expect(events.all().length).toBe(2);
    expect(() => events.register(sched_wakeup)).toThrow("two events are called sched:sched_wakeup");
  });

  test("arms an event while it has consumers, and shows each the record", () => {
    const { mem, events } = registry();
    const exec = events.register(sched_process_exec);
    const armed: boolean[] = [];
    const seen: string[] = [];
    exec.onArmed = (isArmed) => void armed.push(isArmed);
    exec.emit("nowhere", values);
    const first = exec.attach(
      (where, addr) => void seen.push(`${where} ${formatRecord(mem, addr, sched_process_exec)}`),
    );
    const second = exec.attach((where, _, size) => void seen.push(`${where} ${size}`));
    exec.emit("cpu0", values);
    first();
    first();
    exec.emit("cpu1", values);
    second();
    exec.emit("nowhere", values);
    expect(seen).toEqual(["cpu0 filename=/bin/ls pid=5 old_pid=5", "cpu0 28", "cpu1 28"]);
    expect(armed).toEqual([true, false]);
  });

  test("keeps the records of nested events apart, and counts those that are too deep or too large", () => {
    const { mem, events } = registry();
    const exec = events.register(sched_process_exec);
    const seen: string[] = [];
    exec.attach((where, addr) => {
      const depth = Number(where);
      exec.emit(String(depth + 1), { ...values, pid: depth + 1 });
      seen.push(formatRecord(mem, addr, sched_process_exec));
    });
    exec.emit("0", { ...values, pid: 0 });
    expect(seen).toEqual([3, 2, 1, 0].map((pid) => `filename=/bin/ls pid=${pid} old_pid=5`));
    expect([seen.length, exec.missed]).toEqual([SCRATCH_LEVELS, 1]);
    exec.emit("0", { ...values, filename: "x".repeat(RECORD_BYTES_MAX) });
    expect(exec.missed).toBe(2);
  });
});
