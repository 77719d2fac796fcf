import {
  BPF_CMD,
  BPF_PROG_TYPE,
  bpf_attr_map_create,
  bpf_attr_map_elem,
  bpf_attr_prog_load,
  EFAULT,
  EMFILE,
  ENOMEM,
  MAP,
  MREMAP_MAYMOVE,
  NR,
  PAGE_SIZE,
  PERF_COUNT_SW,
  PERF_EVENT_IOC,
  PERF_TYPE,
  perf_event_attr,
  PROT,
  RLIMIT,
  type StructDecl,
  type UAddr,
} from "@alien-ts/abi";
import { asm, encode } from "@alien-ts/bpf-isa";
import { expect, test } from "vitest";
import type { Blocking } from "../core/row.ts";
import { difference } from "../mm/allocation-faults.ts";
import { PMU_TYPES } from "./host.ts";
import { ipcKernel, leaksOf, type Program, runProgram } from "../testing-program.ts";

/** A struct in user memory. */
function attr(program: Program, decl: StructDecl, fields: Readonly<Record<string, number>>): UAddr {
  const { layout } = program.cx.kernel;
  const bytes = new Uint8Array(136);
  const view = new DataView(bytes.buffer);
  for (const [name, value] of Object.entries(fields)) {
    view.setUint32(layout.offset(decl, name), value, true);
    if (value >= 2 ** 32) view.setUint32(layout.offset(decl, name) + 4, Math.floor(value / 2 ** 32), true);
  }
  return program.put(bytes);
}

const ARRAY = { map_type: 2, key_size: 4, value_size: 8, max_entries: 4 };
const OUTPUT = {
  type: PERF_TYPE.SOFTWARE,
  size: 136,
  config: PERF_COUNT_SW.BPF_OUTPUT,
  sample_type: 1 << 10,
};

function createMap(program: Program, fields: Readonly<Record<string, number>> = ARRAY): Blocking<number> {
  return program.call(NR.bpf, BPF_CMD.MAP_CREATE, attr(program, bpf_attr_map_create, fields), 72);
}

function openEvent(program: Program): Blocking<number> {
  return program.call(NR.perf_event_open, attr(program, perf_event_attr, OUTPUT), -1, 0, -1, 0);
}

test.each([
  ["a map", (program: Program) => createMap(program)],
  ["a perf event", openEvent],
])("%s that gets no descriptor is freed once", (_, open) => {
  const kernel = ipcKernel();
  runProgram(kernel, function* (program) {
    const first = yield* open(program);
    const limit = program.cx.task.process.limits[RLIMIT.NOFILE]!;
    program.cx.task.process.limits[RLIMIT.NOFILE] = { soft: first + 1, hard: limit.hard };
    const before = kernel.kmalloc.snapshot();
    for (let i = 0; i < 3; i++) expect(yield* open(program)).toBe(-EMFILE.number);
    expect(difference(before, kernel.kmalloc.snapshot())).toEqual(new Map());
    expect(yield* program.call(NR.close, first)).toBe(0);
    expect(yield* open(program)).toBe(first);
  });
});

test("a mapped ring cannot be made longer than it is", () => {
  const kernel = ipcKernel();
  runProgram(kernel, function* (program) {
    const fd = yield* openEvent(program);
    const size = 2 * PAGE_SIZE;
    const at = yield* program.call(NR.mmap, 0, size, PROT.READ | PROT.WRITE, MAP.SHARED, fd, 0);
    expect(at).toBeGreaterThan(0);
    expect(yield* program.call(NR.mremap, at, size, 2 * size, MREMAP_MAYMOVE, 0)).toBe(-EFAULT.number);
    expect(yield* program.call(NR.munmap, at, size)).toBe(0);
  });
});

/** Calls that allocate: each allocation fails in turn. */
const ALLOCATING: Readonly<Record<string, (program: Program) => Blocking<number>>> = {
  "a map": (program) => createMap(program),
  "a hash": (program) => createMap(program, { ...ARRAY, map_type: 1 }),
  "a perf event array": (program) => createMap(program, { ...ARRAY, map_type: 4, value_size: 4 }),
  "an element of a hash": function* (program) {
    const map = yield* createMap(program, { ...ARRAY, map_type: 1, map_flags: 1 });
    if (map < 0) return map;
    const key = program.words(1, 0, 0, 0);
    const at = attr(program, bpf_attr_map_elem, { map_fd: map, key, value: key });
    return yield* program.call(NR.bpf, BPF_CMD.MAP_UPDATE_ELEM, at, 32);
  },
  "a mapped ring": function* (program) {
    const fd = yield* openEvent(program);
    if (fd < 0) return fd;
    const at = yield* program.call(NR.mmap, 0, 2 * PAGE_SIZE, PROT.READ | PROT.WRITE, MAP.SHARED, fd, 0);
    return at < 0 ? at : yield* program.call(NR.munmap, at, 2 * PAGE_SIZE);
  },
  "a program on a kprobe": function* (program) {
    const loaded = yield* loadProgram(program);
    const event = yield* openKprobe(program, "vfs_read");
    if (loaded < 0 || event < 0) return Math.min(loaded, event);
    return yield* program.call(NR.ioctl, event, PERF_EVENT_IOC.SET_BPF, loaded);
  },
};

function loadProgram(program: Program): Blocking<number> {
  const insns = encode([asm.movImm(0, 0), asm.exit()]);
  const at = attr(program, bpf_attr_prog_load, {
    prog_type: BPF_PROG_TYPE.KPROBE,
    insn_cnt: 2,
    insns: program.put(insns),
    license: program.put([0x47, 0x50, 0x4c, 0]),
  });
  return program.call(NR.bpf, BPF_CMD.PROG_LOAD, at, 128);
}

function openKprobe(program: Program, symbol: string): Blocking<number> {
  const config1 = program.put([...symbol].map((char) => char.charCodeAt(0)).concat(0));
  const at = attr(program, perf_event_attr, { type: PMU_TYPES.kprobe, size: 136, config1 });
  return program.call(NR.perf_event_open, at, -1, 0, -1, 0);
}

test.each(Object.entries(ALLOCATING))("%s: whichever allocation fails, nothing leaks", (_, call) => {
  const kernel = ipcKernel();
  const { faults } = kernel.pages;
  let failures = 0;
  for (let n = 1; n < 40; n++) {
    let result = 0;
    let failed: string | undefined;
    const leaks = leaksOf(kernel, () =>
      runProgram(kernel, function* (program) {
        // Touched at once: what fails is to be the call's.
        program.write(program.room(0), new Uint8Array(4 * PAGE_SIZE));
        faults.failAfter(n);
        result = yield* call(program);
        failed = faults.failedTag;
        faults.failAfter(0);
      }),
    );
    expect(leaks, `allocation ${n} (${failed}) failed`).toEqual(new Map());
    if (failed === undefined) break;
    failures += 1;
    expect(result, `allocation ${n} (${failed}) failed`).toBe(-ENOMEM.number);
  }
  expect(failures).toBeGreaterThan(0);
});

test("an event is gone with its last descriptor, whoever else has one, and with the process", () => {
  const kernel = ipcKernel();
  runProgram(kernel, function* (program) {
    const event = yield* openKprobe(program, "vfs_read");
    expect(yield* program.call(NR.ioctl, event, PERF_EVENT_IOC.SET_BPF, yield* loadProgram(program))).toBe(0);
    const copy = yield* program.call(NR.dup, event);
    yield* program.call(NR.close, event);
    expect([...kernel.kprobes.kprobes()].length).toBe(1);
    yield* program.call(NR.close, copy);
    expect([...kernel.kprobes.kprobes()].length).toBe(0);
    yield* openKprobe(program, "vfs_read");
    expect([...kernel.kprobes.kprobes()].length).toBe(1);
  });
  expect([...kernel.kprobes.kprobes()].length).toBe(0);
  expect(kernel.bpf.engine.programs.size).toBe(0);
});
