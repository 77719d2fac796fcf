/** The system calls of the fake kernel. Undefined as a result means: wait. Test-only. */
import {
  EBADF,
  ECHILD,
  EEXIST,
  EINTR,
  E2BIG,
  EINVAL,
  EISDIR,
  ENOENT,
  ENOTDIR,
  ENOTEMPTY,
  ENOTTY,
  ESPIPE,
  IOCTL,
  NR,
  O,
  S,
  SIG,
  new_utsname,
  stat,
} from "@alien-ts/abi";
import { SYSLOG } from "../libc/system.ts";
import { makeStruct } from "../libc/structs.ts";
import { fromBytes, toBytes } from "../libc/text.ts";
import {
  type FakeNode,
  type Found,
  isDir,
  isLink,
  makeNode,
  makePipe,
  regularFile,
  walk,
} from "./fake-files.ts";
import type { FakeKernel, FakeTask } from "./fake-kernel.ts";

export type FakeSyscall = (kernel: FakeKernel, task: FakeTask, args: readonly number[]) => number | undefined;

const text = (task: FakeTask, addr: number): string => fromBytes(task.memory.readCString(addr));

function find(kernel: FakeKernel, task: FakeTask, addr: number, follow = true): Found | number {
  const path = text(task, addr);
  return path === "" ? -ENOENT.number : walk(kernel.root, kernel.absolute(task, path), follow);
}

/** A node that exists. */
function existing(kernel: FakeKernel, task: FakeTask, addr: number, follow = true): FakeNode | number {
  const found = find(kernel, task, addr, follow);
  return typeof found === "number" ? found : (found.node ?? -ENOENT.number);
}

/** The place for a node that must not exist yet. */
function vacant(kernel: FakeKernel, task: FakeTask, addr: number): Found | number {
  const found = find(kernel, task, addr, false);
  return typeof found !== "number" && found.node !== undefined ? -EEXIST.number : found;
}

function addFd(
  task: FakeTask,
  descriptor: { file: ReturnType<typeof regularFile>; cloexec: boolean },
  from = 0,
): number {
  let fd = from;
  while (task.fds.has(fd)) fd += 1;
  task.fds.set(fd, descriptor);
  return fd;
}

function place(kernel: FakeKernel, found: Found, node: FakeNode): number {
  node.mtime = Math.floor(kernel.nowNs / 1e9);
  found.parent.children.set(found.name, node);
  return 0;
}

const openat: FakeSyscall = (kernel, task, [, path = 0, flags = 0, mode = 0]) => {
  const found = find(kernel, task, path, (flags & O.NOFOLLOW) === 0);
  if (typeof found === "number") return found;
  let { node } = found;
  if (node === undefined) {
    if ((flags & O.CREAT) === 0) return -ENOENT.number;
    node = makeNode(S.IFREG | (mode & ~task.umask));
    place(kernel, found, node);
  } else if ((flags & O.EXCL) !== 0) return -EEXIST.number;
  if (isDir(node) && (flags & O.ACCMODE) !== 0) return -EISDIR.number;
  if (!isDir(node) && (flags & O.DIRECTORY) !== 0) return -ENOTDIR.number;
  if ((flags & O.TRUNC) !== 0) node.bytes = new Uint8Array(0);
  const file = regularFile(node, kernel.absolute(task, text(task, path)), flags);
  return addFd(task, { file, cloexec: (flags & O.CLOEXEC) !== 0 });
};

const read: FakeSyscall = (kernel, task, [fd = 0, buffer = 0, wanted = 0]) => {
  const length = kernel.transfer(wanted);
  if (length === undefined) return -EINTR.number;
  const result = task.fds.get(fd)?.file.read(length) ?? (task.fds.has(fd) ? undefined : -EBADF.number);
  if (result === undefined || typeof result === "number") return result;
  task.memory.write(buffer, result);
  return result.length;
};

const write: FakeSyscall = (kernel, task, [fd = 0, buffer = 0, wanted = 0]) => {
  const length = kernel.transfer(wanted);
  if (length === undefined) return -EINTR.number;
  const descriptor = task.fds.get(fd);
  if (descriptor === undefined) return -EBADF.number;
  const result = descriptor.file.write(task.memory.read(buffer, length));
  if (result === -32) kernel.signal(task, SIG.PIPE);
  return result;
};

const dup3: FakeSyscall = (kernel, task, [from = 0, to = 0, flags = 0]) => {
  const descriptor = task.fds.get(from);
  if (descriptor === undefined) return -EBADF.number;
  kernel.closeFd(task, to);
  descriptor.file.references += 1;
  task.fds.set(to, { file: descriptor.file, cloexec: (flags & O.CLOEXEC) !== 0 });
  return to;
};

const fcntl: FakeSyscall = (_kernel, task, [fd = 0, command = 0, arg = 0]) => {
  const descriptor = task.fds.get(fd);
  if (descriptor === undefined) return -EBADF.number;
  if (command === 0 || command === 1030) {
    descriptor.file.references += 1;
    return addFd(task, { file: descriptor.file, cloexec: command === 1030 }, arg);
  }
  if (command === 2) descriptor.cloexec = (arg & 1) !== 0;
  return command === 1 ? Number(descriptor.cloexec) : 0;
};

const pipe2: FakeSyscall = (_kernel, task, [addr = 0, flags = 0]) => {
  const cloexec = (flags & O.CLOEXEC) !== 0;
  const [reader, writer] = makePipe();
  task.memory.writeU32(addr, addFd(task, { file: reader, cloexec }));
  task.memory.writeU32(addr + 4, addFd(task, { file: writer, cloexec }));
  return 0;
};

const lseek: FakeSyscall = (_kernel, task, [fd = 0, offset = 0, whence = 0]) => {
  const file = task.fds.get(fd)?.file;
  if (file === undefined) return -EBADF.number;
  if (file.node === undefined) return -ESPIPE.number;
  file.offset = [0, file.offset, file.node.bytes.length][whence]! + offset;
  return file.offset;
};

function fillStat(task: FakeTask, node: FakeNode | undefined, addr: number): number {
  const { view, bytes } = makeStruct(stat);
  view.st_mode = node?.mode ?? S.IFIFO | 0o600;
  view.st_ino = node?.ino ?? 0;
  view.st_dev = 1;
  view.st_nlink =
    node === undefined
      ? 1
      : isDir(node)
        ? 2 + [...node.children.values()].filter((child) => isDir(child)).length
        : node.nlink;
  // A directory's size is that of tmpfs.
  view.st_size = node === undefined ? 0 : isDir(node) ? 20 * (2 + node.children.size) : node.bytes.length;
  view.st_blksize = 4096;
  view.st_blocks = Math.ceil((node?.bytes.length ?? 0) / 4096) * 8;
  view.st_mtime = node?.mtime ?? 0;
  view.st_atime = node?.mtime ?? 0;
  view.st_ctime = node?.mtime ?? 0;
  task.memory.write(addr, bytes);
  return 0;
}

const newfstatat: FakeSyscall = (kernel, task, [, path = 0, buffer = 0, flags = 0]) => {
  const node = existing(kernel, task, path, (flags & 0x100) === 0);
  return typeof node === "number" ? node : fillStat(task, node, buffer);
};

const fstat: FakeSyscall = (_kernel, task, [fd = 0, buffer = 0]) => {
  const file = task.fds.get(fd)?.file;
  return file === undefined ? -EBADF.number : fillStat(task, file.node, buffer);
};

const getdents64: FakeSyscall = (_kernel, task, [fd = 0, buffer = 0]) => {
  const file = task.fds.get(fd)?.file;
  if (file?.node === undefined) return -EBADF.number;
  if (file.offset > 0) return 0;
  file.offset = 1;
  let at = buffer;
  const entries: [string, FakeNode][] = [[".", file.node], ["..", file.node], ...file.node.children];
  for (const [name, node] of entries) {
    const length = Math.ceil((19 + name.length + 1) / 8) * 8;
    task.memory.write(at, new Uint8Array(length));
    task.memory.writeU64(at, node.ino);
    task.memory.write(at + 16, Uint8Array.of(length & 0xff, length >> 8, node.mode >> 12));
    task.memory.write(at + 19, toBytes(name));
    at += length;
  }
  return at - buffer;
};

const unlinkat: FakeSyscall = (kernel, task, [, path = 0, flags = 0]) => {
  const found = find(kernel, task, path, false);
  if (typeof found === "number") return found;
  if (found.node === undefined) return -ENOENT.number;
  const wantsDir = (flags & 0x200) !== 0;
  if (wantsDir && !isDir(found.node)) return -ENOTDIR.number;
  if (!wantsDir && isDir(found.node)) return -EISDIR.number;
  if (found.node.children.size > 0) return -ENOTEMPTY.number;
  found.node.nlink -= 1;
  found.parent.children.delete(found.name);
  return 0;
};

const renameat2: FakeSyscall = (kernel, task, [, from = 0, , to = 0]) => {
  const source = find(kernel, task, from, false);
  const target = find(kernel, task, to, false);
  if (typeof source === "number") return source;
  if (typeof target === "number") return target;
  if (source.node === undefined) return -ENOENT.number;
  if (target.node !== undefined && isDir(target.node) && !isDir(source.node)) return -EISDIR.number;
  source.parent.children.delete(source.name);
  target.parent.children.set(target.name, source.node);
  return 0;
};

const linkat: FakeSyscall = (kernel, task, [, from = 0, , to = 0]) => {
  const node = existing(kernel, task, from, false);
  if (typeof node === "number") return node;
  const target = vacant(kernel, task, to);
  if (typeof target === "number") return target;
  node.nlink += 1;
  target.parent.children.set(target.name, node);
  return 0;
};

const create =
  (make: (task: FakeTask, args: readonly number[]) => FakeNode, pathIndex: number): FakeSyscall =>
  (kernel, task, args) => {
    const found = vacant(kernel, task, args[pathIndex]!);
    return typeof found === "number" ? found : place(kernel, found, make(task, args));
  };

const readlinkat: FakeSyscall = (kernel, task, [, path = 0, buffer = 0, size = 0]) => {
  const node = existing(kernel, task, path, false);
  if (typeof node === "number") return node;
  if (!isLink(node)) return -EINVAL.number;
  const bytes = node.bytes.subarray(0, size);
  task.memory.write(buffer, bytes);
  return bytes.length;
};

const faccessat: FakeSyscall = (kernel, task, [, path = 0, mode = 0]) => {
  const node = existing(kernel, task, path);
  if (typeof node === "number") return node;
  return (mode & 1) !== 0 && (node.mode & 0o111) === 0 ? -13 : 0;
};

const chdir: FakeSyscall = (kernel, task, [path = 0]) => {
  const node = existing(kernel, task, path);
  if (typeof node === "number") return node;
  if (!isDir(node)) return -ENOTDIR.number;
  const parts: string[] = [];
  for (const part of kernel.absolute(task, text(task, path)).split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  task.cwd = `/${parts.join("/")}`;
  return 0;
};

const wait4: FakeSyscall = (kernel, task, [pid = 0, statusAt = 0, flags = 0]) => {
  const target = pid | 0;
  const children = [...kernel.tasks.values()].filter(
    (child) => child.parent === task && (target === -1 || child.pid === target),
  );
  if (children.length === 0) return -ECHILD.number;
  const zombie = children.find(({ status }) => status !== undefined);
  if (zombie === undefined) return (flags & 1) !== 0 ? 0 : undefined;
  kernel.tasks.delete(zombie.pid);
  if (statusAt !== 0) task.memory.writeU32(statusAt, zombie.status!);
  return zombie.pid;
};

/** Children of a vfork that their parents wait for. */
const vforks = new WeakMap<FakeTask, FakeTask>();

const clone: FakeSyscall = (kernel, task, [flags = 0, sp = 0]) => {
  const started = vforks.get(task);
  if (started !== undefined) {
    if (!started.vforkDone) return undefined;
    vforks.delete(task);
    return started.pid;
  }
  const child = kernel.createTask(task, task.memory);
  for (const [fd, { file, cloexec }] of task.fds) {
    file.references += 1;
    child.fds.set(fd, { file, cloexec });
  }
  child.cwd = task.cwd;
  child.umask = task.umask;
  child.argv = task.argv;
  child.actions = new Map(task.actions);
  child.masked = new Set(task.masked);
  kernel.startThread(task, child, sp);
  if ((flags & 0x4000) === 0) return child.pid;
  child.vforkDone = false;
  vforks.set(task, child);
  return undefined;
};

function readVector(task: FakeTask, addr: number): string[] {
  const words: string[] = [];
  for (let at = addr; task.memory.readU64(at) !== 0; at += 8) words.push(text(task, task.memory.readU64(at)));
  return words;
}

/** execve(2): the longest argument. */
const MAX_ARG_STRLEN = 131_072;

const execve: FakeSyscall = (kernel, task, [path = 0, argv = 0, envp = 0]) => {
  const { port } = task;
  const words = readVector(task, argv);
  if (words.some((word) => word.length >= MAX_ARG_STRLEN)) return -E2BIG.number;
  const result = kernel.execute(task, text(task, path), words, readVector(task, envp));
  return task.port === port ? result : undefined;
};

const sigaction: FakeSyscall = (_kernel, task, [signal = 0, action = 0, old = 0]) => {
  if (signal === SIG.KILL || signal === SIG.STOP) return -EINVAL.number;
  const now = task.actions.get(signal) ?? { handler: 0, flags: 0 };
  if (action !== 0) {
    task.actions.set(signal, {
      handler: task.memory.readU64(action),
      flags: task.memory.readU64(action + 8),
    });
  }
  if (old === 0) return 0;
  task.memory.writeU64(old, now.handler);
  task.memory.writeU64(old + 8, now.flags);
  return 0;
};

const sigprocmask: FakeSyscall = (_kernel, task, [, set = 0, old = 0]) => {
  const before = task.masked;
  if (set !== 0) {
    const words = [task.memory.readU32(set), task.memory.readU32(set + 4)];
    task.masked = new Set<number>();
    for (let signal = 1; signal <= 64; signal++) {
      if (((words[(signal - 1) >> 5]! >>> ((signal - 1) & 31)) & 1) !== 0) task.masked.add(signal);
    }
  }
  if (old === 0) return 0;
  task.memory.writeU32(
    old,
    [...before].reduce((bits, n) => (n <= 32 ? bits | (1 << (n - 1)) : bits), 0) >>> 0,
  );
  task.memory.writeU32(
    old + 4,
    [...before].reduce((bits, n) => (n > 32 ? bits | (1 << (n - 33)) : bits), 0) >>> 0,
  );
  return 0;
};

const nanosleep: FakeSyscall = (kernel, task, [, flags = 0, request = 0]) => {
  const ns = task.memory.readU64(request) * 1e9 + task.memory.readU64(request + 8);
  task.wakeAt ??= flags === 1 ? ns : kernel.nowNs + ns;
  if (kernel.nowNs < task.wakeAt) return undefined;
  task.wakeAt = undefined;
  return 0;
};

const uname: FakeSyscall = (_kernel, task, [addr = 0]) => {
  const { view, bytes } = makeStruct(new_utsname);
  view.sysname = "Linux";
  view.nodename = "alien";
  view.release = "6.18.0-alien";
  view.version = "#1";
  view.machine = "riscv64";
  task.memory.write(addr, bytes);
  return 0;
};

const ioctl: FakeSyscall = (_kernel, task, [fd = 0, request = 0, addr = 0]) => {
  const file = task.fds.get(fd)?.file;
  if (file?.termios === undefined) return -ENOTTY.number;
  if (request === IOCTL.TCGETS) task.memory.write(addr, file.termios);
  else if (request === IOCTL.TCSETSW) file.termios = task.memory.read(addr, 36);
  else if (request === IOCTL.TIOCGWINSZ) task.memory.write(addr, Uint8Array.of(24, 0, 80, 0, 0, 0, 0, 0));
  else if (request === IOCTL.TIOCGPGRP) task.memory.writeU32(addr, task.group);
  return 0;
};

const gettime: FakeSyscall = (kernel, task, [, addr = 0]) => {
  task.memory.writeU64(addr, Math.floor(kernel.nowNs / 1e9));
  task.memory.writeU64(addr + 8, kernel.nowNs % 1e9);
  return 0;
};

const LOG = "<6>[    0.000000] Linux version\n<3>[    1.500000] oops\n";

export const SYSCALLS: Readonly<Record<number, FakeSyscall>> = {
  [NR.openat]: openat,
  [NR.close]: (kernel, task, [fd = 0]) => kernel.closeFd(task, fd),
  [NR.read]: read,
  [NR.write]: write,
  [NR.dup3]: dup3,
  [NR.fcntl]: fcntl,
  [NR.pipe2]: pipe2,
  [NR.lseek]: lseek,
  [NR.newfstatat]: newfstatat,
  [NR.fstat]: fstat,
  [NR.getdents64]: getdents64,
  [NR.unlinkat]: unlinkat,
  [NR.renameat2]: renameat2,
  [NR.linkat]: linkat,
  [NR.mkdirat]: create((task, [, , mode = 0]) => makeNode(S.IFDIR | (mode & ~task.umask)), 1),
  [NR.symlinkat]: create((task, [target = 0]) => makeNode(S.IFLNK | 0o777, toBytes(text(task, target))), 2),
  [NR.readlinkat]: readlinkat,
  [NR.faccessat]: faccessat,
  [NR.faccessat2]: faccessat,
  [NR.fchmodat]: (kernel, task, [, path = 0, mode = 0]) => {
    const node = existing(kernel, task, path);
    if (typeof node === "number") return node;
    node.mode = (node.mode & S.IFMT) | (mode & 0o7777);
    return 0;
  },
  [NR.utimensat]: (kernel, task, [, path = 0, times = 0]) => {
    const node = existing(kernel, task, path);
    if (typeof node === "number") return node;
    const nanoseconds = task.memory.readU64(times + 24);
    if (nanoseconds === 0x3fff_ffff) node.mtime = Math.floor(kernel.nowNs / 1e9);
    else if (nanoseconds !== 0x3fff_fffe) node.mtime = task.memory.readU64(times + 16);
    return 0;
  },
  [NR.chdir]: chdir,
  [NR.getcwd]: (_kernel, task, [buffer = 0]) => {
    task.memory.write(buffer, toBytes(`${task.cwd}\0`));
    return task.cwd.length + 1;
  },
  [NR.umask]: (_kernel, task, [mask = 0]) => {
    const old = task.umask;
    task.umask = mask & 0o777;
    return old;
  },
  [NR.brk]: (_kernel, task, [end = 0]) => {
    if (end > task.memory.brk) task.memory.brk = end;
    return task.memory.brk;
  },
  [NR.mmap]: (_kernel, task, [, length = 0]) => {
    const addr = task.memory.mapped;
    task.memory.mapped += length;
    return addr;
  },
  [NR.munmap]: () => 0,
  [NR.ioctl]: ioctl,
  [NR.clone]: clone,
  [NR.execve]: execve,
  [NR.wait4]: wait4,
  [NR.exit]: (kernel, task, [status = 0]) => exitTask(kernel, task, status),
  [NR.exit_group]: (kernel, task, [status = 0]) => exitTask(kernel, task, status),
  [NR.kill]: (kernel, _task, [pid = 0, signal = 0]) => kernel.killGroup(pid | 0, signal),
  [NR.tgkill]: (kernel, _task, [pid = 0, , signal = 0]) => kernel.killGroup(pid | 0, signal),
  [NR.rt_sigaction]: sigaction,
  [NR.rt_sigprocmask]: sigprocmask,
  [NR.rt_sigreturn]: (_kernel, task) => task.saved.pop() ?? 0,
  [NR.clock_gettime]: gettime,
  [NR.clock_nanosleep]: nanosleep,
  [NR.uname]: uname,
  [NR.syslog]: (_kernel, task, [action = 0, buffer = 0]) => {
    if (action === SYSLOG.READ_ALL) task.memory.write(buffer, toBytes(LOG));
    return LOG.length;
  },
  [NR.sched_yield]: () => 0,
  [NR.sync]: () => 0,
  [NR.setpgid]: () => 0,
  [NR.getpgid]: (_kernel, task) => task.group,
  [NR.getpid]: (_kernel, task) => task.pid,
  [NR.gettid]: (_kernel, task) => task.pid,
  [NR.getppid]: (_kernel, task) => task.parent?.pid ?? 0,
  [NR.getuid]: () => 0,
  [NR.geteuid]: () => 0,
  [NR.getgid]: () => 0,
  [NR.getegid]: () => 0,
  [NR.times]: () => 0,
};

function exitTask(kernel: FakeKernel, task: FakeTask, status: number): undefined {
  kernel.exit(task, status << 8);
  return undefined;
}
