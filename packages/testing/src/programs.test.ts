/** Programs of a test's own, on the whole system: what async code may do, and what bad input gets. */
import {
  BPF_CMD,
  BPF_PROG_TYPE,
  bpf_attr_map_create,
  bpf_attr_map_elem,
  bpf_attr_prog_load,
  EBADF,
  EINVAL,
  EFAULT,
  E2BIG,
  ENOENT,
  ENOTSUPP,
  ENOTTY,
  Layout,
  NR,
  perf_event_attr,
  PERF_EVENT_IOC,
  PERF_TYPE,
  type StructDecl,
} from "@alien-ts/abi";
import type { Observer } from "@alien-ts/kernel";
import { Sha256 } from "@alien-ts/testkit";
import { type Process, tool } from "@alien-ts/userland";
import { describe, expect, test } from "vitest";
import { bootTestKernel } from "./index.ts";

/** A system call made at the bottom of `depth` async functions. */
async function nested(process: Process, depth: number): Promise<number> {
  return depth === 0 ? process.call("sched_yield") : nested(process, depth - 1);
}

const yielder = tool({
  name: "yielder",
  usage: "yielder DEPTH",
  options: "",
  main: async (process, { operands }) => {
    for (let i = 0; i < 20; i++) await nested(process, Number(operands[0]));
    return 0;
  },
});

async function orderOf(depths: readonly [number, number]): Promise<string> {
  const hash = new Sha256();
  const nothing = (): void => {};
  const observer: Observer = {
    trap: (cx, nr) => void hash.numbers(cx.task.pid, cx.cpu.id, nr),
    contextSwitch: nothing,
    textTrap: nothing,
    timer: nothing,
    console: nothing,
  };
  await using machine = await bootTestKernel({ programs: [yielder], observer, cpus: 2 });
  const [a, b] = depths.map((depth) => String(depth).padStart(4, "0"));
  const { status } = await machine.run(`yielder ${a} & yielder ${b} & wait`);
  expect(status).toBe(0);
  return hash.hex();
}

test("the depth of async functions does not change the order in which tasks run", async () => {
  const shallow = await orderOf([0, 0]);
  expect(await orderOf([40, 0])).toBe(shallow);
  expect(await orderOf([0, 200])).toBe(shallow);
});

test("a program that waits on the host is warned of, and the others go on", async () => {
  const stray = tool({
    name: "stray",
    usage: "stray",
    options: "",
    main: async (process) => {
      await new Promise((resolve) => setTimeout(resolve, 30));
      await process.stdout.write("back\n");
      return 0;
    },
  });
  await using machine = await bootTestKernel({ programs: [stray], strictTasks: false });
  expect(await machine.run("stray & seq 3; wait")).toEqual({
    stdout: "1\n2\n3\nback\n",
    stderr: "",
    status: 0,
  });
  expect(machine.log.join("\n")).toMatch(/stray\) waits on something that is not this kernel/);
});

const layout = Layout.natural();
const FIELD_BYTES = 8;

/** Memory of the process with a struct in it: fields by name, everything else zero. */
async function put(
  process: Process,
  decl: StructDecl,
  fields: Readonly<Record<string, number>>,
  size = 256,
): Promise<number> {
  const at = await process.malloc(size + FIELD_BYTES);
  process.memory.write(at, new Uint8Array(size + FIELD_BYTES));
  for (const [name, value] of Object.entries(fields))
    process.memory.writeU32(at + layout.offset(decl, name), value);
  return at;
}

const SET_BPF = PERF_EVENT_IOC.SET_BPF;
const { KPROBE, SOCKET_FILTER } = BPF_PROG_TYPE;
const HASH = { map_type: 1, key_size: 4, value_size: 8, max_entries: 4 };
/** `r0 = 0; exit`, and a call of a helper that no kernel has. */
const TRIVIAL = [0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
const UNKNOWN_HELPER = [0x85, 0, 0, 0, 0x39, 0x30, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];

async function load(
  process: Process,
  insns: readonly number[],
  logSize: number,
  type: number = KPROBE,
): Promise<{ result: number; log: string }> {
  const code = await process.malloc(insns.length);
  process.memory.write(code, Uint8Array.from(insns));
  const license = await process.allocString("GPL");
  const log = await process.malloc(4096);
  process.memory.write(log, new Uint8Array(4096));
  const attr = await put(process, bpf_attr_prog_load, {
    prog_type: type,
    insn_cnt: insns.length / 8,
    insns: code,
    license,
    ...(logSize > 0 && { log_level: 1, log_buf: log, log_size: logSize }),
  });
  const result = await process.trap(NR.bpf, BPF_CMD.PROG_LOAD, attr, 152);
  return { result, log: new TextDecoder().decode(process.memory.readCString(log)) };
}

type Attempt = (process: Process) => Promise<number>;

const mapFd = async (process: Process): Promise<number> =>
  process.trap(NR.bpf, BPF_CMD.MAP_CREATE, await put(process, bpf_attr_map_create, HASH), 152);

const perfOpen = async (process: Process, fields: Record<string, number>): Promise<number> =>
  process.trap(
    NR.perf_event_open,
    await put(process, perf_event_attr, { size: 136, ...fields }),
    -1,
    0,
    -1,
    0,
  );

const BAD: Readonly<Record<string, readonly [Attempt, number]>> = {
  "a map whose keys have no bytes": [
    async (p) =>
      p.trap(NR.bpf, BPF_CMD.MAP_CREATE, await put(p, bpf_attr_map_create, { ...HASH, key_size: 0 }), 152),
    EINVAL.number,
  ],
  "a map type that nobody knows": [
    async (p) =>
      p.trap(NR.bpf, BPF_CMD.MAP_CREATE, await put(p, bpf_attr_map_create, { ...HASH, map_type: 999 }), 152),
    EINVAL.number,
  ],
  "an attribute longer than the kernel's, with a byte set behind it": [
    async (p) => {
      const attr = await put(p, bpf_attr_map_create, HASH);
      p.memory.writeU32(attr + 200, 1);
      return p.trap(NR.bpf, BPF_CMD.MAP_CREATE, attr, 208);
    },
    E2BIG.number,
  ],
  "an attribute with a byte set behind the command's last field": [
    async (p) => {
      const attr = await put(p, bpf_attr_map_create, HASH);
      p.memory.writeU32(attr + 148, 1);
      return p.trap(NR.bpf, BPF_CMD.MAP_CREATE, attr, 152);
    },
    EINVAL.number,
  ],
  "an attribute that is not there": [
    async (p) => p.trap(NR.bpf, BPF_CMD.MAP_CREATE, 0x10, 152),
    EFAULT.number,
  ],
  "a command that nobody knows": [
    async (p) => p.trap(NR.bpf, 12345, await put(p, bpf_attr_map_create, {}), 152),
    EINVAL.number,
  ],
  "read of a map": [async (p) => p.trap(NR.read, await mapFd(p), await p.malloc(64), 64), EINVAL.number],
  "write to a map": [async (p) => p.trap(NR.write, await mapFd(p), await p.malloc(64), 64), EINVAL.number],
  "mmap of a map that cannot be mapped": [
    async (p) => p.trap(NR.mmap, 0, 4096, 1, 1, await mapFd(p), 0),
    ENOTSUPP.number,
  ],
  "a lookup in a file that is no map": [
    async (p) => p.trap(NR.bpf, BPF_CMD.MAP_LOOKUP_ELEM, await put(p, bpf_attr_map_elem, { map_fd: 1 }), 152),
    EINVAL.number,
  ],
  "a lookup in no file": [
    async (p) =>
      p.trap(NR.bpf, BPF_CMD.MAP_LOOKUP_ELEM, await put(p, bpf_attr_map_elem, { map_fd: 77 }), 152),
    EBADF.number,
  ],
  "a key that is not there": [
    async (p) => {
      const key = await p.malloc(16);
      const attr = await put(p, bpf_attr_map_elem, { map_fd: await mapFd(p), key, value: key + 8 });
      return p.trap(NR.bpf, BPF_CMD.MAP_LOOKUP_ELEM, attr, 152);
    },
    ENOENT.number,
  ],
  "a kprobe on a symbol that does not exist": [
    async (p) => perfOpen(p, { type: 6, config1: await p.allocString("no_such_function") }),
    ENOENT.number,
  ],
  "a perf event type that nobody knows": [async (p) => perfOpen(p, { type: 4242 }), ENOENT.number],
  "a program of another kind on a kprobe": [
    async (p) => {
      const fd = await perfOpen(p, { type: 6, config1: await p.allocString("vfs_read") });
      const { result } = await load(p, TRIVIAL, 0, SOCKET_FILTER);
      return p.trap(NR.ioctl, fd, SET_BPF, result);
    },
    EINVAL.number,
  ],
  "SET_BPF on a file that is no event": [
    async (p) => p.trap(NR.ioctl, await mapFd(p), SET_BPF, 0),
    ENOTTY.number,
  ],
};

describe("bad input", () => {
  test.each(Object.entries(BAD))("%s is refused as Linux refuses it", async (_, [attempt, errno]) => {
    await using machine = await bootTestKernel();
    await machine.inProcess(async () => 0);
    await machine.advance(10);
    const before = machine.kernel.kmalloc.liveObjects;
    expect(await machine.inProcess(attempt)).toBe(-errno);
    await machine.advance(10);
    expect(machine.kernel.kmalloc.liveObjects).toBe(before);
  });

  test("an unknown helper is refused with Linux's words, and a log too short by ENOSPC", async () => {
    await using machine = await bootTestKernel();
    const refused = await machine.inProcess((process) => load(process, UNKNOWN_HELPER, 4096));
    expect(refused.result).toBe(-EINVAL.number);
    expect(refused.log).toContain("invalid func unknown#12345");
    expect((await machine.inProcess((process) => load(process, UNKNOWN_HELPER, 8))).result).toBe(-28);
  });

  test("a software event that is not BPF output is refused, and the machine goes on", async () => {
    await using machine = await bootTestKernel();
    expect(await machine.inProcess((p) => perfOpen(p, { type: PERF_TYPE.SOFTWARE, config: 9999 }))).toBe(
      -ENOENT.number,
    );
    expect((await machine.run("echo on")).stdout).toBe("on\n");
  });
});
