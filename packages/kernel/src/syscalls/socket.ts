/** socket(2) and its kin (Linux: net/socket.c). What a family does is behind `ProtoOps`. */
import {
  EFAULT,
  EINVAL,
  EMSGSIZE,
  ENOBUFS,
  type Errno,
  isErr,
  MSG,
  NR,
  O,
  type Result,
  SOCK,
  type UAddr,
} from "@alien-ts/abi";
import type { Cx } from "../core/cx.ts";
import type { Blocking } from "../core/row.ts";
import { int, sizeArg, syscall, type SyscallRow, uint, userPointer } from "../core/syscall.ts";
import { reserveTwo } from "../ipc/pipe-files.ts";
import { deliverControl, dropFiles, parseControl } from "../ipc/socket/scm.ts";
import {
  createSocket,
  Message,
  releaseSocket,
  type Socket,
  sock_recvmsg,
  sock_sendmsg,
  socketFile,
  socketLike,
  socketOfFd,
} from "../ipc/socket/socket.ts";
import { MSG_MORE, SO, SOL_SOCKET } from "../ipc/socket/structs.ts";
import { nsOf, readTimespec } from "../ipc/user-time.ts";
import { import_iovec, IovIter } from "../mm/iov-iter.ts";
import {
  copyBytesToUser,
  get_user_s32,
  get_user_u32,
  get_user_u64,
  put_user_u32,
  put_user_u64,
  readUserBytes,
  writeUserBytes,
} from "../mm/uaccess.ts";
import { settle } from "../vfs/blocking.ts";
import { addFile, fd_install } from "../vfs/fd-table.ts";
import { fput, get_file } from "../vfs/file.ts";
import { userMm } from "../vfs/user.ts";

const SOCKADDR_MAX = 128;
const FD = ["fd", int] as const;
const ADDRESS = userPointer("struct sockaddr");
const LENGTH = userPointer("int");
/** optmem_max: control data of one message. */
const CONTROL_MAX = 131_072;
const IOV_MAX = 1024;

/** A socket address of user memory. EINVAL, EFAULT. Linux: move_addr_to_kernel(). */
function readAddress(cx: Cx, from: UAddr, length: number): Result<Uint8Array> {
  if (length < 0 || length > SOCKADDR_MAX) return EINVAL;
  return length === 0 ? new Uint8Array(0) : readUserBytes(userMm(cx), from, length);
}

/** Gives as much of an address as there is room for, and its whole length. Linux: move_addr_to_user(). */
function writeAddress(cx: Cx, address: Uint8Array, to: UAddr, lengthAt: UAddr): Result<0> {
  const mm = userMm(cx);
  const room = get_user_s32(mm, lengthAt);
  if (isErr(room)) return room;
  if (room < 0) return EINVAL;
  const written = writeUserBytes(mm, to, address.subarray(0, room));
  return isErr(written) ? written : put_user_u32(mm, lengthAt, address.length);
}

/** The socket of a descriptor with its file held while `use` runs. EBADF, ENOTSOCK. */
function* withSocket(
  cx: Cx,
  fd: number,
  use: (sock: Socket, isNonBlocking: boolean) => Result<number> | Blocking<Result<number>>,
): Blocking<Result<number>> {
  const found = socketOfFd(cx, fd);
  if (isErr(found)) return found;
  const { sock, file } = found;
  get_file(file);
  const result = yield* settle(use(sock, file.isNonBlocking));
  fput(cx, file);
  return result;
}

const TYPE_FLAGS = SOCK.CLOEXEC | SOCK.NONBLOCK;

export const sys_socket = syscall(
  NR.socket,
  "socket",
  [
    ["family", int],
    ["type", int],
    ["protocol", int],
  ],
  (cx, family, type, protocol) => {
    if ((type & ~SOCK.TYPE_MASK & ~TYPE_FLAGS) !== 0) return EINVAL;
    const sock = createSocket(cx, family, type & SOCK.TYPE_MASK, protocol);
    if (isErr(sock)) return sock;
    const file = socketFile(cx, sock, type);
    return isErr(file) ? file : addFile(cx, file, (type & SOCK.CLOEXEC) !== 0);
  },
);

export const sys_socketpair = syscall(
  NR.socketpair,
  "socketpair",
  [
    ["family", int],
    ["type", int],
    ["protocol", int],
    ["usockvec", userPointer("int")],
  ],
  (cx, family, type, protocol, to) => {
    if ((type & ~SOCK.TYPE_MASK & ~TYPE_FLAGS) !== 0) return EINVAL;
    const fds = reserveTwo(cx, (type & SOCK.CLOEXEC) !== 0);
    if (isErr(fds)) return fds;
    const mm = userMm(cx);
    const isWritten = !isErr(put_user_u32(mm, to, fds[0])) && !isErr(put_user_u32(mm, to + 4, fds[1]));
    const result = isWritten ? installPair(cx, { family, type, protocol, fds }) : EFAULT;
    if (isErr(result)) for (const fd of fds) cx.task.files.freeFd(fd);
    return result;
  },
);

interface PairRequest {
  readonly family: number;
  readonly type: number;
  readonly protocol: number;
  readonly fds: readonly [number, number];
}

function installPair(cx: Cx, { family, type, protocol, fds }: PairRequest): Result<0> {
  const first = createSocket(cx, family, type & SOCK.TYPE_MASK, protocol);
  if (isErr(first)) return first;
  const second = createSocket(cx, family, type & SOCK.TYPE_MASK, protocol);
  const joined: Result<0> = isErr(second) ? second : first.ops.socketpair(cx, first, second);
  if (isErr(joined) || isErr(second)) {
    releaseSocket(cx, first);
    if (!isErr(second)) releaseSocket(cx, second);
    return isErr(joined) ? joined : EINVAL;
  }
  const file = socketFile(cx, first, type);
  if (isErr(file)) {
    releaseSocket(cx, second);
    return file;
  }
  const other = socketFile(cx, second, type);
  if (isErr(other)) {
    fput(cx, file);
    return other;
  }
  fd_install(cx, fds[0], file);
  fd_install(cx, fds[1], other);
  return 0;
}

const ADDRESS_ARGS = [FD, ["umyaddr", ADDRESS], ["addrlen", int]] as const;

export const sys_bind = syscall(NR.bind, "bind", ADDRESS_ARGS, (cx, fd, from, length) =>
  withSocket(cx, fd, (sock) => {
    const address = readAddress(cx, from, length);
    return isErr(address) ? address : sock.ops.bind(cx, sock, address);
  }),
);

export const sys_connect = syscall(NR.connect, "connect", ADDRESS_ARGS, (cx, fd, from, length) =>
  withSocket(cx, fd, (sock, isNonBlocking) => {
    const address = readAddress(cx, from, length);
    return isErr(address) ? address : sock.ops.connect(cx, sock, address, isNonBlocking ? O.NONBLOCK : 0);
  }),
);

export const sys_listen = syscall(NR.listen, "listen", [FD, ["backlog", int]], (cx, fd, backlog) =>
  withSocket(cx, fd, (sock) => sock.ops.listen(cx, sock, backlog)),
);

const PEER_ARGS = [FD, ["upeer_sockaddr", ADDRESS], ["upeer_addrlen", LENGTH]] as const;

export const sys_accept = syscall(NR.accept, "accept", PEER_ARGS, (cx, fd, to, length) =>
  accept4(cx, { fd, to, length, flags: 0 }),
);

export const sys_accept4 = syscall(
  NR.accept4,
  "accept4",
  [...PEER_ARGS, ["flags", int]],
  (cx, fd, to, length, flags) => accept4(cx, { fd, to, length, flags }),
);

interface AcceptRequest {
  readonly fd: number;
  readonly to: UAddr;
  readonly length: UAddr;
  readonly flags: number;
}

/** Linux: __sys_accept4(). */
function accept4(
  cx: Cx,
  { fd, to, length, flags }: AcceptRequest,
): Result<number> | Blocking<Result<number>> {
  if ((flags & ~TYPE_FLAGS) !== 0) return EINVAL;
  return withSocket(cx, fd, function* (listener, isNonBlocking): Blocking<Result<number>> {
    const fresh = socketLike(listener);
    if (isErr(fresh)) return fresh;
    const accepted = yield* settle(listener.ops.accept(cx, listener, fresh, isNonBlocking ? O.NONBLOCK : 0));
    if (isErr(accepted)) {
      releaseSocket(cx, fresh);
      return accepted;
    }
    const file = socketFile(cx, fresh, flags);
    if (isErr(file)) return file;
    if (to !== 0) {
      const peer = fresh.ops.getname(cx, fresh, true);
      const written: Result<0> = isErr(peer) ? peer : writeAddress(cx, peer, to, length);
      if (isErr(written)) {
        fput(cx, file);
        return written;
      }
    }
    return addFile(cx, file, (flags & SOCK.CLOEXEC) !== 0);
  });
}

const NAME_ARGS = [FD, ["usockaddr", ADDRESS], ["usockaddr_len", LENGTH]] as const;

function getname(cx: Cx, fd: number, to: UAddr, length: UAddr, isPeer: boolean): Blocking<Result<number>> {
  return withSocket(cx, fd, (sock) => {
    const name = sock.ops.getname(cx, sock, isPeer);
    return isErr(name) ? name : writeAddress(cx, name, to, length);
  });
}

export const sys_getsockname = syscall(NR.getsockname, "getsockname", NAME_ARGS, (cx, fd, to, length) =>
  getname(cx, fd, to, length, false),
);

export const sys_getpeername = syscall(NR.getpeername, "getpeername", NAME_ARGS, (cx, fd, to, length) =>
  getname(cx, fd, to, length, true),
);

const TRANSFER_ARGS = [
  FD,
  ["buff", userPointer("void")],
  ["len", sizeArg],
  ["flags", uint],
  ["addr", ADDRESS],
] as const;

export const sys_sendto = syscall(
  NR.sendto,
  "sendto",
  [...TRANSFER_ARGS, ["addr_len", int]],
  (cx, fd, buffer, length, flags, to, toLength) =>
    withSocket(cx, fd, function* (sock, isNonBlocking): Blocking<Result<number>> {
      const { ksp } = cx;
      const message = new Message(
        cx,
        IovIter.user(userMm(cx), buffer, length),
        transferFlags(flags, isNonBlocking),
      );
      const name = to === 0 ? undefined : readAddress(cx, to, toLength);
      if (isErr(name)) return name;
      message.name = name;
      const sent: Result<number> = yield* settle(sock_sendmsg(cx, sock, message));
      cx.ksp = ksp;
      return sent;
    }),
);

export const sys_recvfrom = syscall(
  NR.recvfrom,
  "recvfrom",
  [...TRANSFER_ARGS, ["addr_len", LENGTH]],
  (cx, fd, buffer, length, flags, to, toLength) =>
    withSocket(cx, fd, function* (sock, isNonBlocking): Blocking<Result<number>> {
      const { ksp } = cx;
      const all = transferFlags(flags, isNonBlocking);
      const message = new Message(cx, IovIter.user(userMm(cx), buffer, length), 0);
      const received: Result<number> = yield* settle(sock_recvmsg(cx, sock, message, all));
      cx.ksp = ksp;
      dropFiles(cx, message.ancillary);
      if (isErr(received) || to === 0) return received;
      const written = writeAddress(cx, message.name ?? new Uint8Array(0), to, toLength);
      return isErr(written) ? written : received;
    }),
);

const transferFlags = (flags: number, isNonBlocking: boolean): number =>
  flags | (isNonBlocking ? MSG.DONTWAIT : 0);

/** `struct user_msghdr`: 56 bytes. */
interface UserMessage {
  readonly name: UAddr;
  readonly nameLength: number;
  readonly vector: UAddr;
  readonly vectorLength: number;
  readonly control: UAddr;
  readonly controlLength: number;
}

const MSGHDR = {
  NAME_LENGTH: 8,
  VECTOR: 16,
  VECTOR_LENGTH: 24,
  CONTROL: 32,
  CONTROL_LENGTH: 40,
  FLAGS: 48,
  BYTES: 56,
} as const;
/** struct mmsghdr: a msghdr and a count. */
const MMSGHDR_BYTES = 64;

function readMessage(cx: Cx, from: UAddr): Result<UserMessage> {
  const mm = userMm(cx);
  const fields = [0, MSGHDR.VECTOR, MSGHDR.VECTOR_LENGTH, MSGHDR.CONTROL, MSGHDR.CONTROL_LENGTH].map((at) =>
    get_user_u64(mm, from + at),
  );
  const nameLength = get_user_s32(mm, from + MSGHDR.NAME_LENGTH);
  const failed = [...fields, nameLength].find(isErr);
  if (failed !== undefined) return EFAULT;
  const [name, vector, vectorLength, control, controlLength] = fields as [
    number,
    number,
    number,
    number,
    number,
  ];
  if ((nameLength as number) < 0) return EINVAL;
  if (vectorLength > IOV_MAX) return EMSGSIZE;
  return { name, nameLength: nameLength as number, vector, vectorLength, control, controlLength };
}

/** Linux: ___sys_sendmsg(). */
function* sendMessage(cx: Cx, sock: Socket, from: UAddr, flags: number): Blocking<Result<number>> {
  const user = readMessage(cx, from);
  if (isErr(user)) return user;
  const iter = import_iovec(userMm(cx), user.vector, user.vectorLength);
  if (isErr(iter)) return iter;
  const name =
    user.name === 0 ? undefined : readAddress(cx, user.name, Math.min(user.nameLength, SOCKADDR_MAX));
  if (isErr(name)) return name;
  if (user.controlLength > CONTROL_MAX) return ENOBUFS;
  const control =
    user.controlLength === 0
      ? new Uint8Array(0)
      : readUserBytes(userMm(cx), user.control, user.controlLength);
  if (isErr(control)) return control;
  const ancillary = parseControl(cx, control);
  if (isErr(ancillary)) return ancillary;
  const { ksp } = cx;
  const message = new Message(cx, iter, flags);
  message.name = name !== undefined && name.length > 0 ? name : undefined;
  message.ancillary = ancillary;
  const sent: Result<number> = yield* settle(sock_sendmsg(cx, sock, message));
  cx.ksp = ksp;
  dropFiles(cx, message.ancillary);
  return sent;
}

/** Linux: ___sys_recvmsg(). */
function* receiveMessage(cx: Cx, sock: Socket, to: UAddr, flags: number): Blocking<Result<number>> {
  const user = readMessage(cx, to);
  if (isErr(user)) return user;
  const iter = import_iovec(userMm(cx), user.vector, user.vectorLength);
  if (isErr(iter)) return iter;
  const { ksp } = cx;
  const message = new Message(cx, iter, 0);
  message.hasControl = user.control !== 0;
  const received: Result<number> = yield* settle(sock_recvmsg(cx, sock, message, flags));
  const used = isErr(received)
    ? 0
    : deliverControl(cx, message, {
        addr: user.control,
        length: user.controlLength,
        passesCredentials: passesCredentials(cx, sock),
        isCloexec: (flags & MSG_MORE.CMSG_CLOEXEC) !== 0,
      });
  const outFlags = message.flags;
  cx.ksp = ksp;
  if (isErr(received)) return received;
  return isErr(writeBack(cx, to, user, { name: message.name, used, flags: outFlags })) ? EFAULT : received;
}

function passesCredentials(cx: Cx, sock: Socket): boolean {
  const option = sock.ops.getsockopt(cx, sock, SOL_SOCKET, SO.PASSCRED);
  return !isErr(option) && option[0] === 1;
}

interface Received {
  readonly name: Uint8Array | undefined;
  readonly used: number;
  readonly flags: number;
}

function writeBack(cx: Cx, to: UAddr, user: UserMessage, { name, used, flags }: Received): Result<0> {
  const mm = userMm(cx);
  if (user.name !== 0) {
    const bytes = name ?? new Uint8Array(0);
    if (copyBytesToUser(mm, user.name, bytes.subarray(0, user.nameLength)) !== 0) return EFAULT;
    const length = put_user_u32(mm, to + MSGHDR.NAME_LENGTH, bytes.length);
    if (isErr(length)) return length;
  }
  const written = put_user_u32(mm, to + MSGHDR.FLAGS, flags);
  return isErr(written) ? written : put_user_u64(mm, to + MSGHDR.CONTROL_LENGTH, used);
}

const MESSAGE_ARGS = [FD, ["msg", userPointer("struct user_msghdr")], ["flags", uint]] as const;

export const sys_sendmsg = syscall(NR.sendmsg, "sendmsg", MESSAGE_ARGS, (cx, fd, from, flags) =>
  withSocket(cx, fd, (sock, isNonBlocking) =>
    sendMessage(cx, sock, from, transferFlags(flags, isNonBlocking)),
  ),
);

export const sys_recvmsg = syscall(NR.recvmsg, "recvmsg", MESSAGE_ARGS, (cx, fd, to, flags) =>
  withSocket(cx, fd, (sock, isNonBlocking) =>
    receiveMessage(cx, sock, to, transferFlags(flags, isNonBlocking)),
  ),
);

const MANY_ARGS = [FD, ["mmsg", userPointer("struct mmsghdr")], ["vlen", uint], ["flags", uint]] as const;

/** Runs `one` on each of up to IOV_MAX messages; the count of those that worked, or the first's error. */
function* each(
  cx: Cx,
  vector: UAddr,
  count: number,
  one: (at: UAddr, index: number) => Blocking<Result<number>>,
): Blocking<Result<number>> {
  let done = 0;
  for (; done < Math.min(count, IOV_MAX); done++) {
    const at = vector + done * MMSGHDR_BYTES;
    const result: Result<number> = yield* one(at, done);
    const failed: Errno | undefined = isErr(result) ? result : undefined;
    if (failed !== undefined || isErr(put_user_u32(userMm(cx), at + MSGHDR.BYTES, result as number)))
      return done > 0 ? done : (failed ?? EFAULT);
  }
  return done;
}

export const sys_sendmmsg = syscall(NR.sendmmsg, "sendmmsg", MANY_ARGS, (cx, fd, vector, count, flags) =>
  withSocket(cx, fd, (sock, isNonBlocking) =>
    each(cx, vector, count, (at) => sendMessage(cx, sock, at, transferFlags(flags, isNonBlocking))),
  ),
);

export const sys_recvmmsg = syscall(
  NR.recvmmsg,
  "recvmmsg",
  [...MANY_ARGS, ["timeout", userPointer("struct __kernel_timespec")]],
  (cx, fd, vector, count, flags, timeout) => {
    const length = timeout === 0 ? undefined : readTimespec(cx, timeout);
    if (isErr(length)) return length;
    const endNs = length === undefined ? undefined : cx.kernel.clock.nowNs() + nsOf(length);
    return withSocket(cx, fd, (sock, isNonBlocking) =>
      each(cx, vector, count, (at, index) => {
        const isLate = endNs !== undefined && cx.kernel.clock.nowNs() >= endNs;
        const mayNotWait = isNonBlocking || (index > 0 && (isLate || (flags & MSG_MORE.WAITFORONE) !== 0));
        return receiveMessage(cx, sock, at, transferFlags(flags & ~MSG_MORE.WAITFORONE, mayNotWait));
      }),
    );
  },
);

export const sys_shutdown = syscall(NR.shutdown, "shutdown", [FD, ["how", int]], (cx, fd, how) =>
  withSocket(cx, fd, (sock) => sock.ops.shutdown(cx, sock, how)),
);

const OPTION_ARGS = [FD, ["level", int], ["optname", int], ["optval", userPointer("char")]] as const;

export const sys_setsockopt = syscall(
  NR.setsockopt,
  "setsockopt",
  [...OPTION_ARGS, ["optlen", int]],
  (cx, fd, level, name, from, length) =>
    withSocket(cx, fd, (sock) => {
      if (length < 0) return EINVAL;
      const value = readUserBytes(userMm(cx), from, Math.min(length, SOCKADDR_MAX));
      return isErr(value) ? value : sock.ops.setsockopt(cx, sock, level, name, value);
    }),
);

export const sys_getsockopt = syscall(
  NR.getsockopt,
  "getsockopt",
  [...OPTION_ARGS, ["optlen", LENGTH]],
  (cx, fd, level, name, to, lengthAt) =>
    withSocket(cx, fd, (sock) => {
      const mm = userMm(cx);
      const room = get_user_u32(mm, lengthAt);
      if (isErr(room)) return room;
      if ((room | 0) < 0) return EINVAL;
      const value = sock.ops.getsockopt(cx, sock, level, name);
      if (isErr(value)) return value;
      const written = writeUserBytes(mm, to, value.subarray(0, room));
      return isErr(written) ? written : put_user_u32(mm, lengthAt, Math.min(room, value.length));
    }),
);

export const SOCKET_SYSCALLS: readonly SyscallRow[] = [
  sys_socket,
  sys_socketpair,
  sys_bind,
  sys_connect,
  sys_listen,
  sys_accept,
  sys_accept4,
  sys_getsockname,
  sys_getpeername,
  sys_sendto,
  sys_recvfrom,
  sys_sendmsg,
  sys_recvmsg,
  sys_sendmmsg,
  sys_recvmmsg,
  sys_shutdown,
  sys_setsockopt,
  sys_getsockopt,
];
