/** Loading objects, programs, probes and maps against a fake kernel: the calls, their order and attributes, and the errors. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { EACCES, EINVAL, ENOENT, ENOSPC, PERF_EVENT_IOC } from "@alien-ts/abi";
import {
  ArrayMap,
  count64,
  Ebpf,
  EbpfLoader,
  encodeValue,
  HashMap,
  MapError,
  PerCpuArray,
  ProgramError,
  Queue,
  struct,
  u32,
  u64,
} from "./index.ts";
import type { EbpfOptions } from "./index.ts";
import { FakeKernel } from "../test/fake-bpf.ts";

const fixture = (name: string): Uint8Array =>
  Uint8Array.from(readFileSync(new URL(`../fixtures/${name}.bpf.o`, import.meta.url)));

const load = (kernel: FakeKernel, options: EbpfOptions = {}, name = "kitchen_sink"): Promise<Ebpf> =>
  Ebpf.load(kernel, fixture(name), options);

/** Names of system calls, from lines of them. */
const calls = (...lines: string[]): string[] => lines.flatMap((line) => line.split(", "));

const KEY = struct({ pid: u32, nr: u32 });

describe("loading", () => {
  it("makes Aya's calls in Aya's order", async () => {
    const kernel = new FakeKernel();
    await load(kernel);
    expect(kernel.log).toEqual(
      calls(
        // BTF at all, then the kinds that the object has, then the object's own.
        "bpf BTF_LOAD, close, bpf BTF_LOAD, close, bpf BTF_LOAD, close, bpf BTF_LOAD, close",
        "bpf BTF_LOAD",
        // Kernel version.
        "openat, uname",
        // Global data.
        "bpf MAP_CREATE, bpf PROG_LOAD, close, close",
        // .rodata, .data
        "bpf MAP_CREATE, bpf MAP_UPDATE_ELEM, bpf MAP_FREEZE",
        "bpf MAP_CREATE, bpf MAP_UPDATE_ELEM",
        // COUNTS
        "bpf MAP_CREATE",
        // EVENTS, which has as many elements as there are CPUs.
        "openat, read, read, close, bpf MAP_CREATE",
        // SLOTS, PER_CPU, RECENT, LINE, RING
        "bpf MAP_CREATE, bpf MAP_CREATE, bpf MAP_CREATE, bpf MAP_CREATE, bpf MAP_CREATE",
        // .bss
        "bpf MAP_CREATE, bpf MAP_UPDATE_ELEM",
        // Names.
        "bpf PROG_LOAD, close",
      ),
    );
    expect(Array.from(kernel.attrSizes)).toEqual([152]);
    expect(kernel.btfSizes.slice(0, 4)).toEqual([45, 95, 93, 93]);
  });

  it("creates each map with what its type wants", async () => {
    const kernel = new FakeKernel();
    await load(kernel);
    const made = Object.fromEntries(Array.from(kernel.maps.values(), (map) => [map.name, map]));
    expect(made["COUNTS"]).toMatchObject({ type: 1, keySize: 8, valueSize: 8, maxEntries: 64 });
    expect(made["COUNTS"]?.btf.every((id) => id > 0)).toBe(true);
    expect(made["EVENTS"]).toMatchObject({ maxEntries: 2, btf: [0, 0, 0] });
    expect(made["RING"]).toMatchObject({ keySize: 0, valueSize: 0, maxEntries: 4096, btf: [0, 0, 0] });
    expect(made["LINE"]).toMatchObject({ btf: [0, 0, 0] });
    expect(made[".rodata"]).toMatchObject({ flags: 0x80, isFrozen: true, btf: [0, 0, 0] });
    expect(made[".bss"]).toMatchObject({ valueSize: 12, isFrozen: false });
  });

  it("does without BTF on a kernel that has none", async () => {
    const kernel = new FakeKernel({ hasBtf: false });
    const ebpf = await load(kernel);
    expect(kernel.btfSizes).toEqual([45]);
    await ebpf.program("on_read").load();
    expect(kernel.programs.at(-1)).toMatchObject({ btfFd: 0, funcInfoCount: 0 });
  });

  it("gives back everything when it is closed", async () => {
    const kernel = new FakeKernel();
    {
      await using ebpf = await load(kernel);
      const program = ebpf.kprobe("on_read");
      await program.load();
      await program.attach("vfs_read");
    }
    expect([kernel.fds.size, kernel.blocks.size]).toEqual([0, 0]);
  });

  it("may run side by side, with system calls that are preempted", async () => {
    const kernel = new FakeKernel();
    let hops = 0;
    kernel.delayHops = () => (hops = (hops + 3) % 5);
    const loaded = await Promise.all([load(kernel), load(kernel, {}, "legacy_maps")]);
    const slots = new ArrayMap(loaded[0].map("SLOTS"), count64);
    await Promise.all([slots.set(0, 5), slots.set(1, 6)]);
    expect(await Promise.all([slots.get(1), slots.get(0)])).toEqual([6, 5]);
    for (const ebpf of loaded) await ebpf.close();
    expect([kernel.fds.size, kernel.blocks.size]).toEqual([0, 0]);
  });

  it("gives back everything when a map is refused", async () => {
    const kernel = new FakeKernel();
    const bpf = kernel.bpf;
    kernel.bpf = (command, attr, self) =>
      command === "MAP_CREATE" && attr.getUint32(0, true) === 22 ? -EINVAL.number : bpf(command, attr, self);
    await expect(load(kernel)).rejects.toThrow(
      "map LINE: the bpf_create_map syscall returned Invalid argument (os error 22, EINVAL)",
    );
    expect([kernel.fds.size, kernel.blocks.size]).toEqual([0, 0]);
  });

  it("takes options as Aya's loader does", async () => {
    const kernel = new FakeKernel();
    await new EbpfLoader()
      .overrideGlobal("target_pid", encodeValue(u32, 77))
      .mapMaxEntries("COUNTS", 1000)
      .load(kernel, fixture("kitchen_sink"));
    const maps = Array.from(kernel.maps.values());
    expect(maps.find(({ name }) => name === "COUNTS")?.maxEntries).toBe(1000);
    const rodata = maps.find(({ name }) => name === ".rodata")?.entries.get("0,0,0,0");
    expect(Array.from(rodata?.subarray(0, 5) ?? [])).toEqual([77, 0, 0, 0, 104]);
  });

  it.each([
    [
      { globals: { nothing: { value: new Uint8Array(4) } } },
      "nothing: the object has no such global variable",
    ],
    [
      { globals: { target_pid: { value: new Uint8Array(3) } } },
      "target_pid: the variable has 4 bytes, the new value 3",
    ],
  ])("refuses bad globals", async (options, message) => {
    await expect(load(new FakeKernel(), options)).rejects.toThrow(message);
  });

  it("reads the object from a file", async () => {
    const kernel = new FakeKernel();
    await expect(Ebpf.loadFile(kernel, "/nowhere.o")).rejects.toThrow(
      "/nowhere.o: the open syscall returned No such file",
    );
  });

  it("opens pinned maps, and pins them otherwise", async () => {
    const kernel = new FakeKernel();
    const ebpf = await load(kernel, {}, "legacy_maps");
    expect(kernel.pins).toBe(1);
    expect(ebpf.map("pids").definition).toMatchObject({ type: 1, maxEntries: 32 });
  });

  it("says what there is when a name is wrong", async () => {
    const ebpf = await load(new FakeKernel());
    expect(() => ebpf.program("on_write")).toThrow("no program on_write; the object has on_read, on_return");
    expect(() => ebpf.map("X")).toThrow(/^no map X; the object has \.rodata, /);
  });
});

describe("programs", () => {
  it("are loaded with name, license, version, types and linked code", async () => {
    const kernel = new FakeKernel();
    const ebpf = await load(kernel);
    await ebpf.program("on_read").load();
    expect(kernel.programs.at(-1)).toMatchObject({
      type: 2,
      name: "on_read",
      license: "Dual MIT/GPL",
      insnCount: 56,
      kernelVersion: (6 << 16) | (18 << 8),
      logLevel: 0,
      funcInfoCount: 3,
    });
    await expect(ebpf.program("on_read").load()).rejects.toMatchObject({ kind: "AlreadyLoaded" });
  });

  it("that are refused say what the verifier said, asked for with a growing log", async () => {
    const asked: (readonly [number, number])[] = [];
    const kernel = new FakeKernel({
      verify: (name, level, size) => {
        if (name !== "on_read") return undefined;
        asked.push([level, size]);
        if (level === 0) return { result: -EACCES.number, log: "" };
        if (size < 100_000) return { result: -ENOSPC.number, log: "0: R1" };
        return { result: -EACCES.number, log: "0: R1=ctx() R10=fp0\nR2 !read_ok\n" };
      },
    });
    const ebpf = await load(kernel);
    const error = await ebpf
      .program("on_read")
      .load()
      .catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(ProgramError);
    expect(error).toMatchObject({
      kind: "LoadError",
      verifierLog: "0: R1=ctx() R10=fp0\nR2 !read_ok",
      message:
        "program on_read: the BPF_PROG_LOAD syscall returned Permission denied (os error 13, EACCES). " +
        "Verifier output: 0: R1=ctx() R10=fp0\nR2 !read_ok",
    });
    expect(asked).toEqual([
      [0, 0],
      [5, 10_240],
      [5, 102_400],
    ]);
  });

  it("must be loaded before they are attached", async () => {
    const ebpf = await load(new FakeKernel());
    await expect(ebpf.kprobe("on_read").attach("vfs_read")).rejects.toMatchObject({ kind: "NotLoaded" });
  });
});

describe("kprobes", () => {
  it("are attached by a link, which keeps the event", async () => {
    const kernel = new FakeKernel();
    const ebpf = await load(kernel);
    const probe = ebpf.kprobe("on_read");
    await probe.load();
    kernel.log.length = 0;
    const link = await probe.attach("vfs_read", 4);
    expect(kernel.log).toEqual(
      calls(
        "openat, read, read, close, perf_event_open",
        // Whether there are links.
        "bpf PROG_LOAD, bpf LINK_CREATE, close",
        "bpf LINK_CREATE, close",
      ),
    );
    const attr = kernel.perfAttrs.at(-1)!;
    expect([attr.getUint32(0, true), attr.getUint32(4, true), attr.getUint32(8, true)]).toEqual([6, 136, 0]);
    expect(attr.getUint32(64, true)).toBe(4);
    const [program, event] = kernel.links[0]!;
    expect([program, kernel.fds.has(event), kernel.fds.get(link.fd)?.kind]).toEqual([
      probe.fd,
      false,
      "link",
    ]);
    await expect(probe.attach("vfs_read", 4)).rejects.toMatchObject({ kind: "AlreadyAttached" });
    await link.detach();
    await expect(link.detach()).rejects.toMatchObject({ kind: "NotAttached" });
  });

  it("on returns set the bit that sysfs names", async () => {
    const kernel = new FakeKernel();
    const ebpf = await load(kernel);
    const probe = ebpf.kprobe("on_return");
    await probe.load();
    await probe.attach("vfs_read");
    expect(kernel.perfAttrs.at(-1)!.getUint32(8, true)).toBe(1);
  });

  it("are attached by ioctls on a kernel without links, and keep the event open", async () => {
    const kernel = new FakeKernel({ hasLinks: false });
    const ebpf = await load(kernel);
    const probe = ebpf.kprobe("on_read");
    await probe.load();
    const link = await probe.attach("vfs_read");
    expect(kernel.ioctls).toEqual([
      [PERF_EVENT_IOC.SET_BPF, probe.fd],
      [PERF_EVENT_IOC.ENABLE, 0],
    ]);
    expect(kernel.fds.get(link.fd)?.kind).toBe("perf");
    await link.detach();
    expect(kernel.ioctls.at(-1)).toEqual([PERF_EVENT_IOC.DISABLE, 0]);
    expect(kernel.fds.has(link.fd)).toBe(false);
  });

  it("are detached at the end of a block", async () => {
    const kernel = new FakeKernel();
    const ebpf = await load(kernel);
    const probe = ebpf.kprobe("on_read");
    await probe.load();
    {
      await using link = await probe.attach("vfs_read");
      expect(link.isAttached).toBe(true);
    }
    {
      using link = await probe.attach("vfs_read");
      expect(kernel.fds.has(link.fd)).toBe(true);
    }
    expect(Array.from(kernel.fds.values()).some(({ kind }) => kind === "link")).toBe(false);
  });

  it.each([
    [
      "an unknown symbol",
      "perf_event_open",
      ENOENT.number,
      /on nothing: the perf_event_open syscall returned No such file/,
    ],
    [
      "an ioctl that fails",
      "ioctl",
      EINVAL.number,
      /PERF_EVENT_IOC_SET_BPF syscall returned Invalid argument/,
    ],
  ])("report %s, and leave nothing open", async (_, call, errno, message) => {
    const kernel = new FakeKernel({ hasLinks: false });
    const ebpf = await load(kernel);
    const probe = ebpf.kprobe("on_read");
    await probe.load();
    const before = kernel.fds.size;
    kernel.overrides.set(call, () => -errno);
    await expect(probe.attach("nothing")).rejects.toThrow(message);
    expect(kernel.fds.size).toBe(before);
  });

  it("report a kernel without kprobes", async () => {
    const kernel = new FakeKernel();
    kernel.files.delete("/sys/bus/event_source/devices/kprobe/type");
    const probe = (await load(kernel)).kprobe("on_read");
    await probe.load();
    await expect(probe.attach("vfs_read")).rejects.toMatchObject({ kind: "KProbeError" });
  });
});

describe("maps", () => {
  it("have typed keys and values", async () => {
    const ebpf = await load(new FakeKernel());
    const counts = new HashMap(ebpf.map("COUNTS"), KEY, u64);
    await counts.insert({ pid: 1, nr: 63 }, 5n);
    await counts.insert({ pid: 2, nr: 64 }, 2n ** 63n);
    expect(await counts.get({ pid: 1, nr: 63 })).toBe(5n);
    const entries = [];
    for await (const entry of counts) entries.push(entry);
    expect(entries).toEqual([
      [{ pid: 1, nr: 63 }, 5n],
      [{ pid: 2, nr: 64 }, 2n ** 63n],
    ]);
    await expect(counts.insert({ pid: 1, nr: 63 }, 6n, 1)).rejects.toThrow(
      /bpf_map_update_elem syscall returned File exists/,
    );
    await counts.remove({ pid: 1, nr: 63 });
    expect(await counts.find({ pid: 1, nr: 63 })).toBeUndefined();
    await expect(counts.get({ pid: 1, nr: 63 })).rejects.toThrow(
      'map COUNTS: key {"pid":1,"nr":63} not found',
    );
    await expect(counts.remove({ pid: 1, nr: 63 })).rejects.toMatchObject({ kind: "SyscallError" });
  });

  it("of arrays check the index", async () => {
    const slots = new ArrayMap((await load(new FakeKernel())).map("SLOTS"), count64);
    await slots.set(3, 2 ** 40);
    expect(await slots.get(3)).toBe(2 ** 40);
    await expect(slots.get(4)).rejects.toMatchObject({ kind: "OutOfBounds" });
  });

  it("of CPUs have one value for each", async () => {
    const perCpu = new PerCpuArray((await load(new FakeKernel({ cpus: 4 }))).map("PER_CPU"), u64);
    await perCpu.set(0, [1n, 2n, 3n, 4n]);
    expect(await perCpu.get(0)).toEqual([1n, 2n, 3n, 4n]);
    await expect(perCpu.set(0, [1n])).rejects.toThrow("expected 4 values, one per CPU, found 1");
  });

  it("of queues have no keys", async () => {
    const line = new Queue((await load(new FakeKernel())).map("LINE"), u32);
    await line.push(7);
    await line.push(8);
    expect([await line.pop(), await line.pop()]).toEqual([7, 8]);
    await expect(line.pop()).rejects.toMatchObject({ kind: "ElementNotFound" });
  });

  it("refuse a wrong type, key or value size", async () => {
    const ebpf = await load(new FakeKernel());
    expect(() => new HashMap(ebpf.map("SLOTS"), u32, u64)).toThrow(
      "map SLOTS: expected type HASH or LRU_HASH, found ARRAY",
    );
    expect(() => new HashMap(ebpf.map("COUNTS"), u32, u64)).toThrow("key has 8 bytes, the codec 4");
    expect(() => new ArrayMap(ebpf.map("SLOTS"), u32)).toThrow(MapError);
  });
});
