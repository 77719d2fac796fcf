import {
  BPF_CMD,
  bpf_attr_map_create,
  EFAULT,
  EMFILE,
  MAP,
  MREMAP_MAYMOVE,
  NR,
  PAGE_SIZE,
  PERF_COUNT_SW,
  PERF_TYPE,
  perf_event_attr,
  PROT,
  RLIMIT,
  type StructDecl,
  type UAddr,
} from "@alien-ts/abi";
import { expect, test } from "vitest";
import type { Blocking } from "../core/row.ts";
import { difference } from "../mm/allocation-faults.ts";
import { ipcKernel, type Program, runProgram } from "../testing-program.ts";

/** A struct in user memory. */
function attr(program: Program, decl: StructDecl, fields: Readonly<Record<string, number>>): UAddr {
  const { layout } = program.cx.kernel;
  const bytes = new Uint8Array(136);
  const view = new DataView(bytes.buffer);
  for (const [name, value] of Object.entries(fields)) view.setUint32(layout.offset(decl, name), value, true);
  return program.put(bytes);
}

const ARRAY = { map_type: 2, key_size: 4, value_size: 8, max_entries: 4 };
const OUTPUT = {
  type: PERF_TYPE.SOFTWARE,
  size: 136,
  config: PERF_COUNT_SW.BPF_OUTPUT,
  sample_type: 1 << 10,
};

function createMap(program: Program): Blocking<number> {
  return program.call(BPF_NR, BPF_CMD.MAP_CREATE, attr(program, bpf_attr_map_create, ARRAY), 72);
}
const BPF_NR = NR.bpf;

function openEvent(program: Program): Blocking<number> {
  return program.call(NR.perf_event_open, attr(program, perf_event_attr, OUTPUT), -1, 0, -1, 0);
}

test.each([
  ["a map", createMap],
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
