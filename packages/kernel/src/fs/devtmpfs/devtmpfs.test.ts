/** The devices of /dev, through system calls. */
import { EBUSY, EINVAL, ENOSPC, isErr, NR, O, utf8Encode } from "@alien-ts/abi";
import { describe, expect, test } from "vitest";
import type { Kernel } from "../../core/kernel.ts";
import type { Blocking } from "../../core/row.ts";
import { ipcKernel, type Program, runProgram } from "../../testing-program.ts";
import { getname_kernel } from "../../vfs/filename.ts";
import { do_mkdirat } from "../../vfs/namei-ops.ts";
import { mountAtBoot } from "../../vfs/namespace.ts";
import { registerCharDevice, unregisterCharDevice } from "./devtmpfs.ts";

function machine(): Kernel {
  const kernel = ipcKernel();
  const name = getname_kernel(kernel, "/dev");
  if (!isErr(name)) do_mkdirat(kernel.bootCx, -100, name, 0o755);
  mountAtBoot(kernel.bootCx, "devtmpfs", "/dev");
  return kernel;
}

function* open(p: Program, path: string, flags: number = O.RDWR): Blocking<number> {
  return yield* p.call(NR.openat, -100, p.put([...utf8Encode(path), 0]), flags, 0);
}

function* readBytes(p: Program, fd: number, size: number): Blocking<number | number[]> {
  const buffer = p.put(new Uint8Array(size).fill(7));
  const count = yield* p.call(NR.read, fd, buffer, size);
  return count < 0 ? count : [...p.read(buffer, count)];
}

describe("memory devices", () => {
  test.each([
    { path: "/dev/null", reads: [], write: 3 },
    { path: "/dev/zero", reads: [0, 0, 0], write: 3 },
    { path: "/dev/full", reads: [0, 0, 0], write: -ENOSPC.number },
  ])("$path", ({ path, reads, write }) => {
    runProgram(machine(), function* (p) {
      const fd = yield* open(p, path);
      expect(fd).toBeGreaterThanOrEqual(0);
      expect(yield* readBytes(p, fd, 3)).toEqual(reads);
      expect(yield* p.call(NR.write, fd, p.put([1, 2, 3]), 3)).toBe(write);
    });
  });

  test("random bytes follow from the seed", () => {
    const draw = (seed: number): unknown => {
      let bytes: unknown;
      const kernel = ipcKernel({ seed });
      const name = getname_kernel(kernel, "/dev");
      if (!isErr(name)) do_mkdirat(kernel.bootCx, -100, name, 0o755);
      mountAtBoot(kernel.bootCx, "devtmpfs", "/dev");
      runProgram(kernel, function* (p) {
        bytes = yield* readBytes(p, yield* open(p, "/dev/urandom", O.RDONLY), 16);
      });
      return bytes;
    };
    expect(draw(1)).toEqual(draw(1));
    expect(draw(1)).not.toEqual(draw(2));
  });
});

test("/dev/kmsg gives records, and takes lines", () => {
  const kernel = machine();
  runProgram(kernel, function* (p) {
    const fd = yield* open(p, "/dev/kmsg", O.RDWR | O.NONBLOCK);
    const first = kernel.log.from(0)[0]!;
    const buffer = p.room(512);
    expect(yield* p.call(NR.read, fd, buffer, 4)).toBe(-EINVAL.number);
    const count = yield* p.call(NR.read, fd, buffer, 512);
    expect(p.text(buffer, count)).toBe(
      `6,${first.sequence},${Math.floor(first.timeNs / 1000)},-;${first.text}\n`,
    );
    const line = utf8Encode("<3>hello\n");
    expect(yield* p.call(NR.write, fd, p.put(line), line.length)).toBe(line.length);
    expect(kernel.log.from(0).at(-1)).toMatchObject({ level: 3, text: "hello" });
  });
});

test("a driver adds a device with its node, and takes it away", () => {
  const kernel = machine();
  const device = {
    major: 240,
    minor: 0,
    name: "toys/bell",
    operations: { name: "bell_fops", read_iter: () => 0 },
    mode: 0o644,
  };
  expect(registerCharDevice(kernel.bootCx, device)).toBe(0);
  expect(registerCharDevice(kernel.bootCx, device)).toBe(EBUSY);
  runProgram(kernel, function* (p) {
    expect(yield* readBytes(p, yield* open(p, "/dev/toys/bell", O.RDONLY), 4)).toEqual([]);
  });
  unregisterCharDevice(kernel.bootCx, device);
  runProgram(kernel, function* (p) {
    expect(yield* open(p, "/dev/toys/bell", O.RDONLY)).toBe(-2);
  });
});
