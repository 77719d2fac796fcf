/** Perf events: opening, the ring in Linux's wire format, ioctls, kprobe events and their programs. */
import {
  BPF_F_CURRENT_CPU,
  BPF_PROG_TYPE,
  E2BIG,
  EACCES,
  EBADF,
  EEXIST,
  EFAULT,
  EINVAL,
  ENOENT,
  ENOSPC,
  ENOTTY,
  EOPNOTSUPP,
  ESRCH,
  type Errno,
  PAGE_SIZE,
  PERF_EVENT_IOC,
  PERF_RECORD,
  PERF_SAMPLE,
  POLL,
  type Result,
} from "@alien-ts/abi";
import { asm, program } from "@alien-ts/bpf-isa";
import { describe, expect, test } from "vitest";
import { le, ok, TestUser } from "../test-user.ts";
import { BpfOutputEvent } from "./bpf-output.ts";
import type { PerfEvent } from "./event.ts";

const OUTPUT = { type: 1, config: 10, sample_type: PERF_SAMPLE.RAW, wakeup: 1 };
const KPROBE = 6;

function eventAt(user: TestUser, fd: number): PerfEvent {
  const object = ok(user.kernel.objectOf(fd));
  if (object?.kind !== "perf") throw new Error("no perf event");
  return object;
}

/** A mapped event with its reader. */
function reader(
  user: TestUser,
  fields: Readonly<Record<string, number>> = {},
  dataPages = 1,
  isWritable = true,
) {
  const fd = ok(user.perf({ ...OUTPUT, ...fields }));
  const event = eventAt(user, fd);
  if (!(event instanceof BpfOutputEvent)) throw new Error("no output event");
  const base = ok(event.map({ pages: 1 + dataPages, pageOffset: 0, isShared: true, isWritable }));
  const { dv, u8 } = user.kernel.memory;
  const data = user.kernel.alloc(PAGE_SIZE);
  const size = dataPages * PAGE_SIZE;
  return {
    fd,
    event,
    head: () => dv.getUint32(base + 1024, true),
    /** Reads all records; the raw bytes of each. */
    drain(): { type: number; body: number[] }[] {
      const records: { type: number; body: number[] }[] = [];
      let tail = dv.getUint32(base + 1032, true);
      while (tail !== dv.getUint32(base + 1024, true)) {
        const byte = (i: number): number => u8[base + PAGE_SIZE + ((tail + i) % size)]!;
        const length = byte(6) | (byte(7) << 8);
        records.push({ type: byte(0), body: Array.from({ length: length - 8 }, (_, i) => byte(8 + i)) });
        tail += length;
      }
      dv.setUint32(base + 1032, tail, true);
      return records;
    },
    write(bytes: readonly number[]) {
      u8.set(bytes, data);
      return event.output(data, bytes.length);
    },
  };
}

describe("perf_event_open", () => {
  test.each<[string, (user: TestUser) => Result<number>, Errno]>([
    ["a hardware event", (u) => u.perf({ type: 0 }), ENOENT],
    ["an unknown PMU", (u) => u.perf({ type: 99 }), ENOENT],
    ["unknown flags", (u) => u.perf(OUTPUT, { flags: 16 }), EINVAL],
    ["no CPU and no task", (u) => u.perf(OUTPUT, { cpu: -1 }), EINVAL],
    ["a CPU that cannot be", (u) => u.perf(OUTPUT, { cpu: 2 }), EINVAL],
    ["a task that does not exist", (u) => u.perf(OUTPUT, { pid: 999 }), ESRCH],
    ["a group fd that is not open", (u) => u.perf(OUTPUT, { groupFd: 99 }), EBADF],
    ["attributes at a bad address", (u) => u.perf(OUTPUT, { attr: 8 }), EFAULT],
    ["unknown sample types", (u) => u.perf({ ...OUTPUT, sample_type: 1 << 25 }), EINVAL],
    [
      "sample types that it cannot give",
      (u) => u.perf({ ...OUTPUT, sample_type: PERF_SAMPLE.CALLCHAIN }),
      EOPNOTSUPP,
    ],
    ["unknown read formats", (u) => u.perf({ ...OUTPUT, read_format: 1 << 5 }), EINVAL],
    ["a backward ring", (u) => u.perf({ ...OUTPUT, flags: 1 << 27 }), EOPNOTSUPP],
    ["an unknown symbol", (u) => u.perf({ type: KPROBE, config1: u.text("nowhere") }), ENOENT],
    ["a symbol at a bad address", (u) => u.perf({ type: KPROBE, config1: 8 }), EFAULT],
    ["an address outside the kernel", (u) => u.perf({ type: KPROBE, config2: 8 }), EINVAL],
    ["a return probe", (u) => u.perf({ type: KPROBE, config: 1, config1: u.text("vfs_open") }), EOPNOTSUPP],
  ])("%s is refused", (_, open, errno) => {
    const user = new TestUser();
    expect(open(user)).toBe(errno);
    expect(user.allocations).toBe(user.baseline);
  });

  test("attributes of every published size are taken; a wrong size is E2BIG and told", () => {
    const user = new TestUser();
    for (const size of [0, 64, 72, 80, 96, 104, 112, 120, 128, 136, 200]) ok(user.perf({ ...OUTPUT, size }));
    const attr = user.place([...le(1), ...le(32), ...new Uint8Array(300)]);
    expect(user.perf({}, { attr })).toBe(E2BIG);
    expect(user.u32(attr + 4)).toBe(136);
    expect(user.perf({ ...OUTPUT, size: 200, tail: 1 })).toBe(E2BIG);
    expect(user.perf({ ...OUTPUT, size: 5000 })).toBe(E2BIG);
  });

  test("the unprivileged may not watch the kernel", () => {
    const user = new TestUser();
    user.kernel.isRoot = false;
    expect(user.perf(OUTPUT)).toBe(EACCES);
    user.kernel.perfEventParanoid = 1;
    ok(user.perf(OUTPUT));
    expect(user.perf({ type: KPROBE, config1: user.text("vfs_open") })).toBe(EACCES);
  });
});

describe("the ring", () => {
  test("has Linux's header", () => {
    const user = new TestUser();
    const fd = ok(user.perf(OUTPUT));
    const base = ok(eventAt(user, fd).map({ pages: 5, pageOffset: 0, isShared: true, isWritable: true }));
    const { dv } = user.kernel.memory;
    expect([1024, 1032, 1040, 1048].map((at) => dv.getUint32(base + at, true))).toEqual([
      0,
      0,
      4096,
      4 * 4096,
    ]);
  });

  test.each<[string, { pages: number; pageOffset?: number; isShared?: boolean }]>([
    ["three data pages", { pages: 4 }],
    ["no pages", { pages: 0 }],
    ["a private mapping", { pages: 3, isShared: false }],
    ["an offset", { pages: 3, pageOffset: 1 }],
  ])("%s is EINVAL", (_, mapping) => {
    const user = new TestUser();
    const event = eventAt(user, ok(user.perf(OUTPUT)));
    expect(event.map({ pageOffset: 0, isShared: true, isWritable: true, ...mapping })).toBe(EINVAL);
  });

  test("carries samples padded to 8 bytes, across its end, for ever", () => {
    const user = new TestUser();
    const ring = reader(user);
    for (let i = 0; i < 500; i++) {
      const bytes = Array.from({ length: 1 + (i % 100) }, (_, j) => (i + j) & 0xff);
      expect(ring.write(bytes)).toBe(0);
      const padded = Math.ceil((4 + bytes.length) / 8) * 8;
      const expected = [
        ...le(padded - 4),
        ...bytes,
        ...Array.from({ length: padded - 4 - bytes.length }, () => 0),
      ];
      expect(ring.drain()).toEqual([{ type: PERF_RECORD.SAMPLE, body: expected }]);
    }
    expect(ring.head()).toBeGreaterThan(5 * PAGE_SIZE);
  });

  test("counts what does not fit and tells it in a LOST record", () => {
    const user = new TestUser();
    const ring = reader(user);
    const bytes = Array.from({ length: 1000 }, () => 7);
    expect([1, 2, 3, 4].map(() => ring.write(bytes))).toEqual([0, 0, 0, 0]);
    expect(ring.write(bytes)).toBe(ENOSPC);
    expect(ring.write(bytes)).toBe(ENOSPC);
    expect(ring.drain().length).toBe(4);
    expect(ring.write([1])).toBe(0);
    const [lost, sample] = ring.drain();
    expect(lost).toEqual({ type: PERF_RECORD.LOST, body: [...le(ring.event.id, 8), ...le(2, 8)] });
    expect(sample?.type).toBe(PERF_RECORD.SAMPLE);
    expect(ring.write(Array.from({ length: 4096 }, () => 0))).toBe(ENOSPC);
  });

  test("gives the fields that sample_type asks for, in Linux's order, and sample_id_all to LOST records", () => {
    const user = new TestUser();
    const { TID, TIME, ID, CPU, PERIOD, STREAM_ID, IDENTIFIER, RAW } = PERF_SAMPLE;
    const ring = reader(user, {
      sample_type: TID | TIME | ID | CPU | PERIOD | STREAM_ID | IDENTIFIER | RAW,
      period: 1,
      flags: 1 << 18,
    });
    user.kernel.nowNs = 5_000_000_000;
    ring.write([9, 9, 9, 9]);
    const id = le(ring.event.id, 8);
    const fields = [
      ...id,
      ...le(10),
      ...le(12),
      ...le(5e9, 8),
      ...id,
      ...id,
      ...le(0, 8),
      ...le(1, 8),
      ...le(4),
      9,
      9,
      9,
      9,
    ];
    expect(ring.drain()).toEqual([{ type: PERF_RECORD.SAMPLE, body: fields }]);
    expect(ring.write(Array.from({ length: 5000 }, () => 0))).toBe(ENOSPC);
    ring.write([]);
    expect(ring.drain()[0]?.body).toEqual([
      ...id,
      ...le(1, 8),
      ...le(10),
      ...le(12),
      ...le(5e9, 8),
      ...id,
      ...id,
      ...le(0, 8),
      ...id,
    ]);
  });

  test("that is read-only overwrites and loses nothing", () => {
    const ring = reader(new TestUser(), {}, 1, false);
    for (let i = 0; i < 50; i++) expect(ring.write(Array.from({ length: 500 }, () => i))).toBe(0);
  });

  test("wakes its reader every wakeup_events samples, or by watermark, and polls readable until it is read", () => {
    const user = new TestUser();
    const ring = reader(user, { wakeup: 3 });
    const wakeups = [1, 2, 3, 4, 5, 6].map(() => (ring.write([1]), user.kernel.woken.length));
    expect(wakeups).toEqual([0, 0, 1, 1, 1, 2]);
    expect(ring.event.poll()).toBe(POLL.IN | POLL.RDNORM);
    expect(ring.event.poll()).toBe(POLL.IN | POLL.RDNORM);
    ring.drain();
    expect(ring.event.poll()).toBe(0);
    const byBytes = reader(user, { wakeup: 64, flags: 1 << 14 });
    const before = user.kernel.woken.length;
    for (let i = 0; i < 5; i++) byBytes.write([1]);
    expect(user.kernel.woken.length).toBe(before + 1);
    expect(eventAt(user, ok(user.perf(OUTPUT))).poll()).toBe(POLL.HUP);
  });

  test("is freed with its mapping and its event", () => {
    const user = new TestUser();
    const fd = ok(user.perf(OUTPUT));
    const event = eventAt(user, fd);
    ok(event.map({ pages: 3, pageOffset: 0, isShared: true, isWritable: true }));
    event.unmap();
    user.kernel.close(fd);
    expect(user.allocations).toBe(user.baseline);
  });
});

describe("ioctl", () => {
  test("knows Linux's requests and answers ENOTTY to others", () => {
    const user = new TestUser();
    const { fd, event } = reader(user);
    const at = user.place(le(0, 8));
    expect(event.ioctl(PERF_EVENT_IOC.ID, at)).toBe(0);
    expect(user.u32(at)).toBe(event.id);
    expect(event.ioctl(PERF_EVENT_IOC.ID, 8)).toBe(EFAULT);
    expect(event.ioctl(PERF_EVENT_IOC.RESET, 0)).toBe(0);
    expect(event.ioctl(PERF_EVENT_IOC.SET_BPF, 99)).toBe(EBADF);
    expect(event.ioctl(PERF_EVENT_IOC.SET_BPF, fd)).toBe(EINVAL);
    expect(event.ioctl(0x5401, 0)).toBe(ENOTTY);
  });

  test("DISABLE stops output, ENABLE lets it go on, PAUSE_OUTPUT loses", () => {
    const ring = reader(new TestUser());
    ring.event.ioctl(PERF_EVENT_IOC.DISABLE, 0);
    expect(ring.write([1])).toBe(EOPNOTSUPP);
    ring.event.ioctl(PERF_EVENT_IOC.ENABLE, 0);
    expect(ring.write([1])).toBe(0);
    ring.event.ioctl(PERF_EVENT_IOC.PAUSE_OUTPUT, 1);
    expect(ring.write([1])).toBe(ENOSPC);
    ring.event.ioctl(PERF_EVENT_IOC.PAUSE_OUTPUT, 0);
    expect(ring.write([1])).toBe(0);
    expect(ring.drain().map(({ type }) => type)).toEqual([
      PERF_RECORD.SAMPLE,
      PERF_RECORD.LOST,
      PERF_RECORD.SAMPLE,
    ]);
  });

  test("SET_OUTPUT sends one event's samples to another's ring", () => {
    const user = new TestUser();
    const ring = reader(user);
    const other = eventAt(user, ok(user.perf(OUTPUT)));
    expect(other.ioctl(PERF_EVENT_IOC.SET_OUTPUT, ring.fd)).toBe(0);
    expect(ring.event.ioctl(PERF_EVENT_IOC.SET_OUTPUT, ring.fd)).toBe(EINVAL);
    expect(other.ioctl(PERF_EVENT_IOC.SET_OUTPUT, 99)).toBe(EBADF);
    expect(other instanceof BpfOutputEvent && other.output(user.kernel.alloc(8), 4)).toBe(0);
    expect(ring.drain().length).toBe(1);
    expect(other.ioctl(PERF_EVENT_IOC.SET_OUTPUT, -1)).toBe(0);
  });

  test("read gives the counters that read_format asks for", () => {
    const user = new TestUser();
    const event = eventAt(user, ok(user.perf({ ...OUTPUT, read_format: 7 })));
    user.kernel.nowNs = 50;
    const into = new Uint8Array(48);
    expect(event.readCounters(into, 31)).toBe(ENOSPC);
    expect(event.readCounters(into, 4096)).toBe(32);
    expect([...into.subarray(0, 32)]).toEqual([...le(0, 8), ...le(50, 8), ...le(50, 8), ...le(event.id, 8)]);
  });
});

describe("a kprobe event", () => {
  const kprobe = (user: TestUser): PerfEvent => {
    user.kernel.probes.set("vfs_open", user.kernel.probes.get("vfs_open") ?? []);
    return eventAt(user, ok(user.perf({ type: KPROBE, config1: user.text("vfs_open") })));
  };
  const count = (map: number) =>
    program(
      asm.mapValue(1, map, 0),
      asm.load(8, 2, 1),
      asm.aluImm("add", 2, 1),
      asm.storeReg(8, 1, 0, 2),
      asm.movImm(0, 0),
      asm.exit(),
    );

  test("runs its program at each hit until it is closed, and frees everything", () => {
    const user = new TestUser();
    const map = ok(user.map("ARRAY", 4, 8, 1));
    const prog = ok(user.load(count(map)));
    const event = kprobe(user);
    expect(event.ioctl(PERF_EVENT_IOC.SET_BPF, prog)).toBe(0);
    expect(event.ioctl(PERF_EVENT_IOC.SET_BPF, prog)).toBe(EEXIST);
    user.kernel.close(prog);
    const regs = user.regs();
    for (let i = 0; i < 3; i++) user.kernel.hit("vfs_open", regs);
    user.kernel.free(regs);
    expect(user.lookup(map, le(0), 8)).toEqual(le(3, 8));
    user.kernel.close(map + 2);
    user.kernel.hit("vfs_open", 0);
    user.kernel.close(map);
    expect(user.allocations).toBe(user.baseline);
  });

  test("takes kprobe programs alone", () => {
    const user = new TestUser();
    const filter = ok(
      user.load(program(asm.movImm(0, 0), asm.exit()), { prog_type: BPF_PROG_TYPE.SOCKET_FILTER }),
    );
    const map = ok(user.map("ARRAY", 4, 4, 1));
    const event = kprobe(user);
    expect(event.ioctl(PERF_EVENT_IOC.SET_BPF, filter)).toBe(EINVAL);
    expect(event.ioctl(PERF_EVENT_IOC.SET_BPF, map)).toBe(EINVAL);
  });

  test("does not interrupt a program that runs on the same CPU: that is a miss", () => {
    const user = new TestUser();
    const prog = ok(user.load(program(asm.call(5), asm.exit())));
    ok(kprobe(user).ioctl(PERF_EVENT_IOC.SET_BPF, prog));
    const regs = user.regs();
    let depth = 0;
    user.kernel.ktimeNs = () => {
      depth += 1;
      user.kernel.hit("vfs_open", regs);
      return 0;
    };
    user.kernel.hit("vfs_open", regs);
    const { runCount, missCount } = user.programAt(prog);
    expect([depth, runCount, missCount]).toEqual([1, 1, 1]);
  });

  test("a program reads its trap frame, and nothing beyond", () => {
    const user = new TestUser();
    const regs = user.regs();
    user.kernel.memory.u32[(regs + 80) >> 2] = 1234;
    const load = (offset: number): Result<number> =>
      user.load(program(asm.load(8, 0, 1, offset), asm.exit()));
    expect(user.programAt(ok(load(80))).run(regs)).toBe(1234);
    ok(load(user.kernel.ptRegsBytes - 8));
    expect(load(user.kernel.ptRegsBytes)).toBe(EACCES);
  });
});

describe("bpf_perf_event_output", () => {
  const output = (user: TestUser, map: number, flagsLow: number, flagsHigh = 0): number => {
    const insns = program(
      asm.storeImm(8, 10, -8, 0x55),
      asm.mapFd(2, map),
      asm.wide(3, flagsLow, flagsHigh),
      asm.movReg(4, 10),
      asm.aluImm("add", 4, -8),
      asm.movImm(5, 8),
      asm.call(25),
      asm.exit(),
    );
    return user.programAt(ok(user.load(insns))).run(user.regs()) | 0;
  };

  test("writes to the ring of this CPU's event, which any task's program reaches", () => {
    const user = new TestUser();
    const map = ok(user.map("PERF_EVENT_ARRAY", 4, 4, 2));
    const ring = reader(user);
    ok(user.update(map, le(0), le(ring.fd)));
    user.kernel.close(ring.fd);
    expect(output(user, map, BPF_F_CURRENT_CPU)).toBe(0);
    expect(output(user, map, 0)).toBe(0);
    expect(ring.drain().map(({ body }) => body.slice(0, 12))).toEqual([
      [...le(12), ...le(0x55, 8)],
      [...le(12), ...le(0x55, 8)],
    ]);
  });

  test.each<[string, number, number, Errno]>([
    ["an index outside", 2, 0, E2BIG],
    ["an index without event", 1, 0, ENOENT],
    ["unknown flags", 0, 1, EINVAL],
  ])("%s is refused", (_, low, high, errno) => {
    const user = new TestUser();
    const map = ok(user.map("PERF_EVENT_ARRAY", 4, 4, 2));
    ok(user.update(map, le(0), le(reader(user).fd)));
    expect(output(user, map, low, high)).toBe(-errno.number);
  });

  test("another CPU's event is EOPNOTSUPP, an event without ring ENOSPC, another kind of event EINVAL", () => {
    const user = new TestUser();
    const map = ok(user.map("PERF_EVENT_ARRAY", 4, 4, 2));
    ok(user.update(map, le(0), le(ok(user.perf(OUTPUT)))));
    expect(output(user, map, 0)).toBe(-ENOSPC.number);
    user.kernel.cpu = 1;
    expect(output(user, map, 0)).toBe(-EOPNOTSUPP.number);
    user.kernel.probes.set("vfs_open", []);
    ok(user.update(map, le(1), le(ok(user.perf({ type: KPROBE, config1: user.text("vfs_open") })))));
    expect(output(user, map, 1)).toBe(-EINVAL.number);
  });
});
