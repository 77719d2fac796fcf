/** What a program asks about the machine, from the texts that Linux prints. */
import { describe, expect, it } from "vitest";
import { FakeKernel } from "../test/fake-bpf.ts";
import { kernelSymbols, KernelVersion, nrCpus, onlineCpus, parseCpuList } from "./util.ts";

describe("lists of CPUs", () => {
  it.each([
    ["0", [0]],
    ["0-3", [0, 1, 2, 3]],
    ["0,2-3,7", [0, 2, 3, 7]],
    ["", undefined],
    ["a-b", undefined],
    ["0-", undefined],
  ])("%j", (text, expected) => {
    expect(parseCpuList(text)).toEqual(expected);
  });

  it("come from sysfs", async () => {
    const kernel = new FakeKernel({ cpus: 3 });
    kernel.files.set("/sys/devices/system/cpu/online", "0,2\n");
    expect([await onlineCpus(kernel), await nrCpus(kernel)]).toEqual([[0, 2], 3]);
    kernel.files.set("/sys/devices/system/cpu/online", "all\n");
    await expect(onlineCpus(kernel)).rejects.toThrow('expected a list of CPUs such as 0-3,5, found "all"');
  });
});

describe("the kernel's version", () => {
  it.each([
    ["6.18.44-generic", "6.18.44"],
    ["5.4", "5.4.0"],
    ["nothing", undefined],
  ])("%j", (text, expected) => {
    expect(KernelVersion.parse(text)?.toString()).toBe(expected);
  });

  it("is that of Ubuntu's signature where there is one, else the release", async () => {
    const kernel = new FakeKernel();
    expect(String(await KernelVersion.current(kernel))).toBe("6.18.0");
    kernel.files.set("/proc/version_signature", "Ubuntu 5.15.0-91.101-generic 5.15.131\n");
    expect(String(await KernelVersion.current(kernel))).toBe("5.15.131");
  });

  it("has a code whose patch level is capped", () => {
    expect(new KernelVersion(4, 9, 337).code).toBe(0x04_09_ff);
    expect(new KernelVersion(5, 11, 0).isAtLeast(5, 11)).toBe(true);
    expect(new KernelVersion(5, 10, 200).isAtLeast(5, 11)).toBe(false);
  });
});

it("kernel symbols have names by address", async () => {
  const kernel = new FakeKernel();
  kernel.files.set("/proc/kallsyms", "ffffffd600200000 T _start\nffffffd600201000 t vfs_read\t[ext]\n");
  expect(Array.from(await kernelSymbols(kernel))).toEqual([
    [0xffffffd600200000n, "_start"],
    [0xffffffd600201000n, "vfs_read"],
  ]);
});
