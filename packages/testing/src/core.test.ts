/**
 * One object, compiled once, on kernels that lay out their types differently: CO-RE finds every field by the types that the kernel
 * itself tells of, and externs by its names.
 */
import { readFileSync } from "node:fs";
import { Layout, NR } from "@alien-ts/abi";
import { close, open, type Process, readFile, sysOf } from "@alien-ts/userland";
import { array, ArrayMap, chars, type Codec, type Decoded, Ebpf, Runtime, struct, u32, u64 } from "aya-ts";
import { describe, expect, test } from "vitest";
import { bootTestKernel, type TestKernelOptions } from "./index.ts";

const objectOf = (name: string): Uint8Array =>
  new Uint8Array(readFileSync(new URL(`../fixtures/${name}.bpf.o`, import.meta.url)));

const LAYOUTS: readonly (readonly [name: string, TestKernelOptions])[] = [
  ["natural", { layout: Layout.natural(), cpus: 1 }],
  ["shuffled(21)", { layout: Layout.shuffled(21), cpus: 2 }],
  ["shuffled(22)", { layout: Layout.shuffled(22), cpus: 2 }],
];

const fact = struct({
  name: chars(32),
  parent: chars(32),
  address: u64,
  mode: u32,
  version: u32,
  offsets: array(u32, 2),
  hasPid: u32,
  hasLost: u32,
  hasLock: u32,
  hasFunction: u32,
});

const taskFact = struct({
  comm: chars(16),
  tgid: u32,
  readTgid: u32,
  typedTgid: u32,
  parentTgid: u32,
  typedParentTgid: u32,
  isSame: u32,
});

/** What the program `on_open` of an object notes in FACTS while `path` is opened. */
async function noteOpen<T>(process: Process, name: string, facts: Codec<T>, path: string): Promise<T> {
  await using rt = await Runtime.open(sysOf(process));
  await using ebpf = await rt.blockOn(() => Ebpf.load(rt.sys, objectOf(name)));
  const probe = ebpf.kprobe("on_open");
  await using _link = await rt.blockOn(async () => {
    await probe.load();
    return probe.attach("vfs_open");
  });
  await close(process, await open(process, path, 0));
  return rt.blockOn(() => new ArrayMap(ebpf.map("FACTS"), facts).get(0));
}

/** What is noted while /data/inner/some-file is opened, and the address of vfs_open. */
async function run(options: TestKernelOptions): Promise<{ noted: Decoded<typeof fact>; address: bigint }> {
  await using machine = await bootTestKernel(options);
  await machine.run("mkdir -p /data/inner; echo x >/data/inner/some-file; chmod 640 /data/inner/some-file");
  const symbols = await machine.run("grep ' vfs_open$' /proc/kallsyms");
  const noted = await machine.inProcess((process) =>
    noteOpen(process, "open_names", fact, "/data/inner/some-file"),
  );
  return { noted, address: BigInt(`0x${symbols.stdout.split(" ")[0]}`) };
}

const seen = new Set<string>();

describe("an object with CO-RE relocations and externs", () => {
  test.each(LAYOUTS)("reads the kernel's structures where they are: %s", async (_, options) => {
    const { noted, address } = await run(options);
    expect(noted).toMatchObject({
      name: "some-file",
      parent: "inner",
      mode: 0o100640,
      address,
      version: 0x06_12_00,
      hasPid: 1,
      hasLost: 0,
      hasLock: 1,
      hasFunction: 0,
    });
    seen.add(noted.offsets.join());
  });

  test.each(LAYOUTS)("reads the current task by its address and by its type: %s", async (_, options) => {
    await using machine = await bootTestKernel(options);
    const { noted, ids, comm } = await machine.inProcess(async (process) => ({
      noted: await noteOpen(process, "current_task", taskFact, "/etc/passwd"),
      ids: [await process.trap(NR.getpid), await process.trap(NR.getppid)],
      comm: await readFile(process, "/proc/self/comm"),
    }));
    const [pid, parent] = ids;
    expect(noted).toEqual({
      comm: comm.trimEnd(),
      tgid: pid,
      readTgid: pid,
      typedTgid: pid,
      parentTgid: parent,
      typedParentTgid: parent,
      isSame: 1,
    });
  });

  test("on layouts that do differ", () => {
    expect(seen.size).toBe(LAYOUTS.length);
  });
});
