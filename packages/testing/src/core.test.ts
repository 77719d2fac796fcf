/**
 * One object, compiled once, on kernels that lay out their types differently: CO-RE finds every field by the types that the kernel
 * itself tells of, and externs by its names.
 */
import { readFileSync } from "node:fs";
import { Layout } from "@alien-ts/abi";
import { close, open, sysOf } from "@alien-ts/userland";
import { array, ArrayMap, chars, type Decoded, Ebpf, Runtime, struct, u32, u64 } from "aya-ts";
import { describe, expect, test } from "vitest";
import { bootTestKernel, type TestKernelOptions } from "./index.ts";

const object = new Uint8Array(readFileSync(new URL("../fixtures/open_names.bpf.o", import.meta.url)));

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

/** What the program notes while /data/inner/some-file is opened, and the address of vfs_open. */
async function run(options: TestKernelOptions): Promise<{ noted: Decoded<typeof fact>; address: bigint }> {
  await using machine = await bootTestKernel(options);
  await machine.run("mkdir -p /data/inner; echo x >/data/inner/some-file; chmod 640 /data/inner/some-file");
  const symbols = await machine.run("grep ' vfs_open$' /proc/kallsyms");
  const noted = await machine.inProcess(async (process) => {
    await using rt = await Runtime.open(sysOf(process));
    await using ebpf = await rt.blockOn(() => Ebpf.load(rt.sys, object));
    const probe = ebpf.kprobe("on_open");
    await using _link = await rt.blockOn(async () => {
      await probe.load();
      return probe.attach("vfs_open");
    });
    await close(process, await open(process, "/data/inner/some-file", 0));
    return rt.blockOn(() => new ArrayMap(ebpf.map("FACTS"), fact).get(0));
  });
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

  test("on layouts that do differ", () => {
    expect(seen.size).toBe(LAYOUTS.length);
  });
});
