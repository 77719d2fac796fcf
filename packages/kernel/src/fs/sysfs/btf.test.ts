/** /sys/kernel/btf/vmlinux as loaders use it. */
import { AT, EACCES, EINVAL, MAP, NR, O, PAGE_SIZE, PROT, SEEK, utf8Encode } from "@alien-ts/abi";
import { expect, test } from "vitest";
import type { Blocking } from "../../core/row.ts";
import { ipcKernel, type Program, runProgram } from "../../testing-program.ts";
import { mountAtBoot } from "../../vfs/namespace.ts";

const PATH = "/sys/kernel/btf/vmlinux";

function* openBtf(program: Program): Blocking<number> {
  const { kernel } = program.cx;
  yield* program.call(NR.mkdirat, AT.FDCWD, program.put(utf8Encode("/sys\0")), 0o755);
  mountAtBoot(kernel.bootCx, "sysfs", "/sys");
  return yield* program.call(NR.openat, AT.FDCWD, program.put(utf8Encode(`${PATH}\0`)), O.RDONLY, 0);
}

test("it has a size, and is read a page at most at a time", () => {
  const kernel = ipcKernel();
  runProgram(kernel, function* (program) {
    const fd = yield* openBtf(program);
    const { size } = kernel.btf;
    expect(yield* program.call(NR.lseek, fd, 0, SEEK.END)).toBe(size);
    expect(yield* program.call(NR.lseek, fd, 0, SEEK.SET)).toBe(0);
    const buffer = program.room(2 * PAGE_SIZE);
    const read: number[] = [];
    for (;;) {
      const got = yield* program.call(NR.read, fd, buffer, 2 * PAGE_SIZE);
      if (got === 0) break;
      expect(got).toBeLessThanOrEqual(PAGE_SIZE);
      read.push(...program.read(buffer, got));
    }
    expect(Uint8Array.from(read)).toEqual(kernel.btf.bytes());
    expect(yield* program.call(NR.pread64, fd, buffer, 100, size - 10)).toBe(10);
    expect(yield* program.call(NR.pread64, fd, buffer, 100, size + 10)).toBe(0);
  });
});

test("it is mapped privately to be read, and no more of it than there is", () => {
  const kernel = ipcKernel();
  runProgram(kernel, function* (program) {
    const fd = yield* openBtf(program);
    const { size } = kernel.btf;
    const map = (length: number, prot: number, flags: number, offset = 0): Blocking<number> =>
      program.call(NR.mmap, 0, length, prot, flags, fd, offset);
    const at = yield* map(size, PROT.READ, MAP.PRIVATE);
    expect(program.read(at, size)).toEqual(kernel.btf.bytes());
    expect(yield* program.call(NR.mprotect, at, PAGE_SIZE, PROT.READ | PROT.WRITE)).toBe(-EACCES.number);
    expect(yield* map(size, PROT.READ | PROT.WRITE, MAP.PRIVATE)).toBe(-EACCES.number);
    expect(yield* map(size, PROT.READ | PROT.EXEC, MAP.PRIVATE)).toBe(-EACCES.number);
    expect(yield* map(size, PROT.READ, MAP.SHARED)).toBe(-EACCES.number);
    expect(yield* map(size + PAGE_SIZE, PROT.READ, MAP.PRIVATE)).toBe(-EINVAL.number);
    expect(yield* map(PAGE_SIZE, PROT.READ, MAP.PRIVATE, PAGE_SIZE)).toBe(-EINVAL.number);
    expect(yield* program.call(NR.munmap, at, size)).toBe(0);
  });
});
