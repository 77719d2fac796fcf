/**
 * Sockets as files (Linux: net/socket.c): `Socket`, the protocol operations behind it, address families, sockfs.
 *
 * A family registers itself (`registerFamily`); `createSocket` asks it for the operations of a type. `socketFile` makes the
 * file of a socket; `socketOfFd` finds the socket of a descriptor (EBADF, ENOTSOCK). `sock_sendmsg` and `sock_recvmsg` are the
 * traceable ways in.
 */
import {
  EAFNOSUPPORT,
  EBADF,
  EINVAL,
  ENOMEM,
  ENOTSOCK,
  isErr,
  type KAddr,
  MSG,
  O,
  POLL,
  type Result,
  S,
  s32,
  SOCK,
  type UAddr,
  type ViewOf,
} from "@alien-ts/abi";
import type { Cx } from "../../core/cx.ts";
import type { Kernel } from "../../core/kernel.ts";
import { type Owned, ownerPtr } from "../../core/owner.ts";
import { blockingFn } from "../../core/row.ts";
import type { IovIter } from "../../mm/iov-iter.ts";
import { andThen, type MaybeBlocking } from "../../vfs/blocking.ts";
import { type File, type FileOperations, fput, type PollRegister, stream_open } from "../../vfs/file.ts";
import type { Mount } from "../../vfs/mount.ts";
import { stackAlloc } from "../../vfs/path.ts";
import { mountPseudoFs, numberedName, pseudoFiles, pseudoInode } from "../pseudo-fs.ts";
import { msghdr, socket, SS_STATE } from "./structs.ts";

declare module "../../core/kernel.ts" {
  interface Kernel {
    socketMount: Mount;
    socketFamilies: Map<number, SocketFamily>;
  }
}

export const socketp = ownerPtr<Socket>("socket");
export const msghdrp = ownerPtr<Message>("msghdr");

export interface SocketFamily {
  readonly family: number;
  /** Gives the socket its operations and its sock. ESOCKTNOSUPPORT, EPROTONOSUPPORT, ENOMEM. */
  create(cx: Cx, sock: Socket, protocol: number): Result<0>;
}

/** What a protocol does (struct proto_ops). Addresses are sockaddr bytes. */
export interface ProtoOps {
  readonly family: number;
  release(cx: Cx, sock: Socket): void;
  bind(cx: Cx, sock: Socket, address: Uint8Array): Result<0>;
  connect(cx: Cx, sock: Socket, address: Uint8Array, flags: number): MaybeBlocking<Result<0>>;
  socketpair(cx: Cx, a: Socket, b: Socket): Result<0>;
  listen(cx: Cx, sock: Socket, backlog: number): Result<0>;
  /** Connects `fresh` with the next caller. */
  accept(cx: Cx, sock: Socket, fresh: Socket, flags: number): MaybeBlocking<Result<0>>;
  getname(cx: Cx, sock: Socket, peer: boolean): Result<Uint8Array>;
  poll(cx: Cx, sock: Socket, register: PollRegister | undefined): number;
  sendmsg(cx: Cx, sock: Socket, message: Message): MaybeBlocking<Result<number>>;
  recvmsg(cx: Cx, sock: Socket, message: Message, flags: number): MaybeBlocking<Result<number>>;
  shutdown(cx: Cx, sock: Socket, how: number): Result<0>;
  ioctl(cx: Cx, sock: Socket, cmd: number, arg: UAddr): Result<number>;
  getsockopt(cx: Cx, sock: Socket, level: number, name: number): Result<Uint8Array>;
  setsockopt(cx: Cx, sock: Socket, level: number, name: number, value: Uint8Array): Result<0>;
}

export class Socket implements Owned {
  readonly kernel: Kernel;
  readonly addr: KAddr;
  readonly t: ViewOf<typeof socket>;
  ops!: ProtoOps;
  /** The protocol's own object. */
  sk: unknown = undefined;

  constructor(kernel: Kernel, addr: KAddr) {
    this.kernel = kernel;
    this.addr = addr;
    this.t = new (kernel.layout.view(socket))(kernel.mem, addr);
  }

  get type(): number {
    return this.t.type;
  }
  free(): void {
    this.kernel.kmalloc.kfree(this.addr);
  }
}

/** Ancillary data of a message: files and credentials in flight (struct scm_cookie). */
export interface Ancillary {
  files: File[];
  credentials: { readonly pid: number; readonly uid: number; readonly gid: number } | undefined;
}

/** `struct msghdr` of one send or receive, on the kernel stack: the caller restores cx.ksp. */
export class Message implements Owned {
  readonly addr: KAddr;
  readonly t: ViewOf<typeof msghdr>;
  readonly iter: IovIter;
  /** Sending: where to; receiving: who sent, set by the protocol. */
  name: Uint8Array | undefined = undefined;
  ancillary: Ancillary = { files: [], credentials: undefined };
  /** Receiving: the caller gave room for control messages. */
  hasControl = false;

  constructor(cx: Cx, iter: IovIter, flags: number) {
    const { layout, mem } = cx.kernel;
    this.addr = stackAlloc(cx, layout.size(msghdr));
    this.t = new (layout.view(msghdr))(mem, this.addr);
    this.iter = iter;
    this.t.msg_flags = flags >>> 0;
  }

  get flags(): number {
    return this.t.msg_flags;
  }
  set flags(flags: number) {
    this.t.msg_flags = flags >>> 0;
  }
  get mayNotBlock(): boolean {
    return (this.flags & MSG.DONTWAIT) !== 0;
  }
}

const SOCKFS_MAGIC = 0x534f_434b;
const socketName = numberedName("socket");

export function initSockets(cx: Cx): void {
  const { kernel } = cx;
  kernel.socketMount = mountPseudoFs(cx, { name: "sockfs", magic: SOCKFS_MAGIC });
  kernel.socketFamilies = new Map();
}

/** Adds an address family: AF_UNIX here, others from net. */
export function registerFamily(kernel: Kernel, family: SocketFamily): void {
  kernel.socketFamilies.set(family.family, family);
}

const socketOf = (file: File): Socket => file.private_data as Socket;

export const socket_file_ops: FileOperations = {
  name: "socket_file_ops",
  read_iter(cx, iocb, to) {
    if (to.count === 0) return 0;
    return withMessage(cx, to, iocb.isNonBlocking ? MSG.DONTWAIT : 0, (message) =>
      sock_recvmsg(cx, socketOf(iocb.file), message, message.flags),
    );
  },
  write_iter(cx, iocb, from) {
    return withMessage(cx, from, iocb.isNonBlocking ? MSG.DONTWAIT : 0, (message) =>
      sock_sendmsg(cx, socketOf(iocb.file), message),
    );
  },
  poll: (cx, file, register) => socketOf(file).ops.poll(cx, socketOf(file), register),
  unlocked_ioctl: (cx, file, cmd, arg) => socketOf(file).ops.ioctl(cx, socketOf(file), cmd, arg),
  release(cx, _inode, file) {
    releaseSocket(cx, socketOf(file));
  },
};

/** Runs `use` with a message on the kernel stack. Files that it received and nobody took are closed. */
export function withMessage(
  cx: Cx,
  iter: IovIter,
  flags: number,
  use: (message: Message) => MaybeBlocking<Result<number>>,
): MaybeBlocking<Result<number>> {
  const { ksp } = cx;
  const message = new Message(cx, iter, flags);
  return andThen(use(message), (result) => {
    cx.ksp = ksp;
    for (const file of message.ancillary.files) fput(cx, file);
    return result;
  });
}

export const sock_sendmsg = blockingFn(
  "sock_sendmsg",
  [
    ["sock", socketp],
    ["msg", msghdrp],
  ],
  s32,
  (cx, sock, message) => sock.ops.sendmsg(cx, sock, message),
  { doc: "Sends a message on a socket." },
);

export const sock_recvmsg = blockingFn(
  "sock_recvmsg",
  [
    ["sock", socketp],
    ["msg", msghdrp],
    ["flags", s32],
  ],
  s32,
  (cx, sock, message, flags) => sock.ops.recvmsg(cx, sock, message, flags),
  { doc: "Receives a message from a socket." },
);

/** A socket without a file. EAFNOSUPPORT; EINVAL for a bad type. Linux: sock_create(). */
export function createSocket(cx: Cx, domain: number, type: number, protocol: number): Result<Socket> {
  if (type < 0 || type > SOCK_TYPE_MAX) return EINVAL;
  const family = cx.kernel.socketFamilies.get(domain);
  if (family === undefined) return EAFNOSUPPORT;
  const sock = allocSocket(cx.kernel, type);
  if (isErr(sock)) return sock;
  const created = family.create(cx, sock, protocol);
  if (!isErr(created)) return sock;
  sock.free();
  return created;
}

const SOCK_TYPE_MAX = 10;

function allocSocket(kernel: Kernel, type: number): Result<Socket> {
  const addr = kernel.kmalloc.kzalloc(kernel.layout.size(socket), "socket");
  if (addr === 0) return ENOMEM;
  const sock = new Socket(kernel, addr);
  kernel.kmalloc.setOwner(addr, sock);
  sock.t.type = type;
  sock.t.state = SS_STATE.UNCONNECTED;
  return sock;
}

/** A socket for accept(2) to fill: of the listener's kind, without a sock. ENOMEM. */
export function socketLike(listener: Socket): Result<Socket> {
  const sock = allocSocket(listener.kernel, listener.type);
  if (!isErr(sock)) sock.ops = listener.ops;
  return sock;
}

/** A socket that has no file (any more) is gone. */
export function releaseSocket(cx: Cx, sock: Socket): void {
  sock.ops.release(cx, sock);
  sock.free();
}

/** The file of a socket; on failure the socket is released. ENFILE, ENOMEM. Linux: sock_alloc_file(). */
export function socketFile(cx: Cx, sock: Socket, flags: number): Result<File> {
  const mnt = cx.kernel.socketMount;
  const inode = pseudoInode(cx, mnt, { mode: S.IFSOCK | 0o777, i_fop: socket_file_ops, data: sock });
  const files = isErr(inode)
    ? inode
    : pseudoFiles(cx, mnt, inode, {
        d_op: socketName,
        flags: [O.RDWR | (flags & SOCK.NONBLOCK)],
        opened(file) {
          file.private_data = sock;
          sock.t.file = file.addr;
          stream_open(file);
        },
      });
  if (!isErr(files)) return files[0]!;
  releaseSocket(cx, sock);
  return files;
}

/** EBADF, ENOTSOCK. */
export function socketOfFd(cx: Cx, fd: number): Result<{ readonly sock: Socket; readonly file: File }> {
  const file = cx.task.files.get(fd);
  if (file === undefined) return EBADF;
  return file.f_op === socket_file_ops ? { sock: socketOf(file), file } : ENOTSOCK;
}

/** The socket of a file, or undefined: SCM_RIGHTS, /proc. */
export const sock_from_file = (file: File): Socket | undefined =>
  file.f_op === socket_file_ops ? socketOf(file) : undefined;

export const READ_EVENTS = POLL.IN | POLL.RDNORM | POLL.RDBAND;
export const WRITE_EVENTS = POLL.OUT | POLL.WRNORM | POLL.WRBAND;
