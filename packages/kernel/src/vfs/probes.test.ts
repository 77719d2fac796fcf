/** What a probe on the VFS sees: Linux's arguments, whose structures can be followed in memory. */
import { AT, Layout, O } from "@alien-ts/abi";
import { KprobeBuilder, type ProbeArgs } from "@alien-ts/kprobe";
import { expect, test } from "vitest";
import { fileKernel, fileTask, type FileTask, ok } from "../file-testing.ts";
import { sys_unlinkat } from "../syscalls/directories.ts";
import { sys_read } from "../syscalls/read-write.ts";
import { initKprobes, plantKprobe } from "../trace/kprobes.ts";
import { dentry, file, filename, kiocb, path } from "./structs.ts";

function probed(
  layout: Layout,
  symbol: string,
  handler: (task: FileTask, args: ProbeArgs) => void,
): FileTask {
  const kernel = fileKernel({ layout });
  initKprobes(kernel);
  const task = fileTask(kernel);
  const builder = new KprobeBuilder().with_symbol(symbol).with_pre_handler((_, args) => {
    handler(task, args);
    return 0;
  });
  const planted = plantKprobe(kernel.bootCx, builder);
  if ("name" in planted && "number" in planted) throw new Error(String(planted.name));
  return task;
}

function stringAt(task: FileTask, addr: number): string {
  const { u8 } = task.kernel.mem;
  return String.fromCharCode(...u8.subarray(addr, u8.indexOf(0, addr)));
}

for (const layout of [Layout.natural(), Layout.shuffled(3), Layout.shuffled(4)]) {
  test(`vfs_open is given a path whose dentry has the name (${layout.name})`, () => {
    const seen: string[] = [];
    const task = probed(layout, "vfs_open", (t, args) => {
      const at = new (t.kernel.layout.view(path))(t.kernel.mem, args.argumentLow(0) >>> 0);
      const d = new (t.kernel.layout.view(dentry))(t.kernel.mem, at.dentry);
      const f = new (t.kernel.layout.view(file))(t.kernel.mem, args.argumentLow(1) >>> 0);
      seen.push(
        stringAt(t, d.d_name.name),
        stringAt(t, new (t.kernel.layout.view(dentry))(t.kernel.mem, f.f_path.dentry).d_name.name),
      );
    });
    task.close(task.open("/traced-file", O.RDWR | O.CREAT));
    expect(seen).toEqual(["traced-file", "traced-file"]);
  });

  test(`vfs_read is given file, buffer, count and a position (${layout.name})`, () => {
    const seen: unknown[] = [];
    const task = probed(layout, "vfs_read", (t, args) => {
      const pos = args.argumentLow(3) >>> 0;
      seen.push(
        args.argumentLow(2),
        t.kernel.mem.dv.getUint32(pos, true),
        t.kernel.ownerOf(args.argumentLow(0) >>> 0),
      );
    });
    task.writeFile("/f", "0123456789");
    const fd = task.open("/f", O.RDONLY);
    const buffer = task.buffer(16);
    ok(task.call(sys_read, fd, buffer, 4));
    expect(ok(task.call(sys_read, fd, buffer, 16))).toBe(6);
    const opened = task.task.files.get(fd);
    expect(seen).toEqual([4, 0, opened, 16, 4, opened]);
  });

  test(`do_unlinkat is given a filename whose name is the user's (${layout.name})`, () => {
    const seen: string[] = [];
    const task = probed(layout, "do_unlinkat", (t, args) => {
      const name = new (t.kernel.layout.view(filename))(t.kernel.mem, args.argumentLow(1) >>> 0);
      seen.push(stringAt(t, name.name));
    });
    task.writeFile("/gone", "");
    ok(task.call(sys_unlinkat, AT.FDCWD, task.str("/gone"), 0));
    expect(seen).toEqual(["/gone"]);
  });

  test(`a file operation is given a kiocb with file and position (${layout.name})`, () => {
    const seen: number[] = [];
    const task = probed(layout, "shmem_file_read_iter", (t, args) => {
      const iocb = new (t.kernel.layout.view(kiocb))(t.kernel.mem, args.argumentLow(0) >>> 0);
      seen.push(iocb.ki_filp, iocb.ki_pos);
    });
    task.writeFile("/f", "abc");
    const fd = task.open("/f", O.RDONLY);
    const buffer = task.buffer(4);
    ok(task.call(sys_read, fd, buffer, 2));
    ok(task.call(sys_read, fd, buffer, 2));
    const { addr } = task.task.files.get(fd)!;
    expect(seen).toEqual([addr, 0, addr, 2]);
  });
}
