/** AF_UNIX as an address family: the operations of its three socket types, readiness, shutdown, options. */
import {
  AF,
  EINVAL,
  ENOIOCTLCMD,
  ENOMEM,
  ENOPROTOOPT,
  EPROTONOSUPPORT,
  ESOCKTNOSUPPORT,
  IOCTL,
  isErr,
  NSEC_PER_SEC,
  NSEC_PER_USEC,
  POLL,
  type Result,
  SHUT,
  SOCK,
  type UAddr,
} from "@alien-ts/abi";
import type { Cx } from "../../core/cx.ts";
import type { Kernel } from "../../core/kernel.ts";
import { put_user_u32 } from "../../mm/uaccess.ts";
import { wakeUp, wakeUpAll } from "../../sched/wait.ts";
import type { PollRegister } from "../../vfs/file.ts";
import { userMm } from "../../vfs/user.ts";
import { type ProtoOps, READ_EVENTS, registerFamily, type Socket, WRITE_EVENTS } from "./socket.ts";
import { RCV_SHUTDOWN, SEND_SHUTDOWN, SHUTDOWN_MASK, SO, SOL_SOCKET, TCP_STATE } from "./structs.ts";
import { accept, bind, connect, getname, listen, socketpair } from "./unix-connect.ts";
import {
  unix_dgram_recvmsg,
  unix_dgram_sendmsg,
  unix_seqpacket_recvmsg,
  unix_seqpacket_sendmsg,
} from "./unix-dgram.ts";
import { createSock, isConnected, releaseSock, UnixNames, type UnixSock, unixOf } from "./unix-sock.ts";
import { unix_stream_recvmsg, unix_stream_sendmsg } from "./unix-stream.ts";

const MIN_SEND_BUFFER = 4608;
const MIN_RECEIVE_BUFFER = 2304;
const MAX_BUFFER = 212_992;

export function initUnixSockets(kernel: Kernel): void {
  kernel.unix = new UnixNames();
  registerFamily(kernel, {
    family: AF.UNIX,
    create(cx, socket, protocol) {
      if (protocol !== 0 && protocol !== AF.UNIX) return EPROTONOSUPPORT;
      // BSD gives a datagram socket to who asks for a raw one.
      if (socket.type === SOCK.RAW) socket.t.type = SOCK.DGRAM;
      const ops = OPS_BY_TYPE.get(socket.type);
      if (ops === undefined) return ESOCKTNOSUPPORT;
      socket.ops = ops;
      return isErr(createSock(cx.kernel, socket.type, socket)) ? ENOMEM : 0;
    },
  });
}

const common: Omit<ProtoOps, "sendmsg" | "recvmsg"> = {
  family: AF.UNIX,
  release(cx, socket) {
    if (socket.sk !== undefined) releaseSock(cx, unixOf(socket), false);
  },
  bind,
  connect,
  socketpair,
  listen,
  accept,
  getname,
  poll: unixPoll,
  shutdown: unixShutdown,
  ioctl: unixIoctl,
  getsockopt,
  setsockopt,
};

const unix_stream_ops: ProtoOps = {
  ...common,
  sendmsg: (cx, socket, message) => unix_stream_sendmsg(cx, socket, message, message.iter.count),
  recvmsg: (cx, socket, message, flags) =>
    unix_stream_recvmsg(cx, socket, message, message.iter.count, flags),
};
const unix_dgram_ops: ProtoOps = {
  ...common,
  sendmsg: (cx, socket, message) => unix_dgram_sendmsg(cx, socket, message, message.iter.count),
  recvmsg: (cx, socket, message, flags) => unix_dgram_recvmsg(cx, socket, message, message.iter.count, flags),
};
const unix_seqpacket_ops: ProtoOps = {
  ...common,
  sendmsg: (cx, socket, message) => unix_seqpacket_sendmsg(cx, socket, message, message.iter.count),
  recvmsg: (cx, socket, message, flags) =>
    unix_seqpacket_recvmsg(cx, socket, message, message.iter.count, flags),
};

const OPS_BY_TYPE = new Map<number, ProtoOps>([
  [SOCK.STREAM, unix_stream_ops],
  [SOCK.DGRAM, unix_dgram_ops],
  [SOCK.SEQPACKET, unix_seqpacket_ops],
]);

/** Linux: unix_poll(), unix_dgram_poll(). */
function unixPoll(_cx: Cx, socket: Socket, register: PollRegister | undefined): number {
  const sock = unixOf(socket);
  register?.(sock.wait);
  let mask = sock.sk.sk_err === 0 ? 0 : POLL.ERR;
  if (sock.sk.sk_shutdown === SHUTDOWN_MASK) mask |= POLL.HUP;
  if (!sock.canReceive) mask |= POLL.RDHUP | POLL.IN | POLL.RDNORM;
  if (sock.queue.length > 0) mask |= POLL.IN | POLL.RDNORM;
  if (isConnected(sock) && sock.state === TCP_STATE.CLOSE) mask |= POLL.HUP;
  if (sock.isWritable && !isReceiverFull(sock, register)) mask |= WRITE_EVENTS;
  return mask;
}

/** A datagram sender with a fixed peer waits for the peer's queue. */
function isReceiverFull(sock: UnixSock, register: PollRegister | undefined): boolean {
  const { peer } = sock;
  if (sock.type !== SOCK.DGRAM || peer === undefined || peer.peer === sock || !peer.isQueueFull) return false;
  register?.(peer.peerWait);
  return true;
}

/** shutdown(2). EINVAL for an unknown way. A connected peer sees the other half of it. */
function unixShutdown(cx: Cx, socket: Socket, how: number): Result<0> {
  if (how < SHUT.RD || how > SHUT.RDWR) return EINVAL;
  const mode = how + 1;
  const sock = unixOf(socket);
  sock.sk.sk_shutdown |= mode;
  const { peer } = sock;
  if (peer !== undefined && isConnected(sock)) {
    const theirs =
      ((mode & RCV_SHUTDOWN) !== 0 ? SEND_SHUTDOWN : 0) | ((mode & SEND_SHUTDOWN) !== 0 ? RCV_SHUTDOWN : 0);
    peer.sk.sk_shutdown |= theirs;
    wakeUpAll(
      cx,
      peer.wait,
      theirs === SHUTDOWN_MASK ? POLL.HUP | READ_EVENTS | WRITE_EVENTS : READ_EVENTS | POLL.RDHUP,
    );
  }
  wakeUpAll(cx, sock.wait, READ_EVENTS | WRITE_EVENTS | POLL.RDHUP);
  wakeUp(cx, sock.peerWait);
  return 0;
}

function unixIoctl(cx: Cx, socket: Socket, cmd: number, arg: UAddr): Result<number> {
  const sock = unixOf(socket);
  switch (cmd) {
    case IOCTL.FIONREAD: {
      if (sock.state === TCP_STATE.LISTEN) return EINVAL;
      const bytes = isConnected(sock)
        ? sock.queue.reduce((sum, packet) => sum + packet.data.length, 0)
        : (sock.queue[0]?.data.length ?? 0);
      return put_user_u32(userMm(cx), arg, bytes);
    }
    case IOCTL.TIOCOUTQ:
      return put_user_u32(userMm(cx), arg, sock.sk.sk_wmem_alloc);
    default:
      return ENOIOCTLCMD;
  }
}

const intBytes = (...values: number[]): Uint8Array => new Uint8Array(Int32Array.from(values).buffer);

const timeBytes = (ns: number | undefined): Uint8Array =>
  new Uint8Array(
    BigInt64Array.of(
      BigInt(Math.floor((ns ?? 0) / NSEC_PER_SEC)),
      BigInt(Math.floor(((ns ?? 0) % NSEC_PER_SEC) / NSEC_PER_USEC)),
    ).buffer,
  );

/** getsockopt(2) at SOL_SOCKET. ENOPROTOOPT for what is unknown. */
function getsockopt(_cx: Cx, socket: Socket, level: number, name: number): Result<Uint8Array> {
  if (level !== SOL_SOCKET) return ENOPROTOOPT;
  const sock = unixOf(socket);
  switch (name) {
    case SO.TYPE:
      return intBytes(sock.type);
    case SO.DOMAIN:
      return intBytes(AF.UNIX);
    case SO.PROTOCOL:
      return intBytes(sock.sk.sk_protocol);
    case SO.ERROR: {
      const error = sock.sk.sk_err;
      sock.sk.sk_err = 0;
      return intBytes(error);
    }
    case SO.SNDBUF:
      return intBytes(sock.sk.sk_sndbuf);
    case SO.RCVBUF:
      return intBytes(sock.sk.sk_rcvbuf);
    case SO.ACCEPTCONN:
      return intBytes(sock.state === TCP_STATE.LISTEN ? 1 : 0);
    case SO.PASSCRED:
      return intBytes(sock.passesCredentials ? 1 : 0);
    case SO.PEERCRED: {
      const cred = sock.peerCred ?? { pid: 0, uid: -1, gid: -1 };
      return intBytes(cred.pid, cred.uid, cred.gid);
    }
    case SO.RCVLOWAT:
      return intBytes(sock.receiveLow);
    case SO.SNDLOWAT:
      return intBytes(1);
    case SO.RCVTIMEO:
      return timeBytes(sock.receiveTimeoutNs);
    case SO.SNDTIMEO:
      return timeBytes(sock.sendTimeoutNs);
    case SO.LINGER:
      return intBytes(0, 0);
    default:
      return FLAG_OPTIONS.has(name) ? intBytes(sock.options.get(name) ?? 0) : ENOPROTOOPT;
  }
}

/** Options that a local socket keeps without effect. */
const FLAG_OPTIONS = new Set<number>([
  SO.DEBUG,
  SO.REUSEADDR,
  SO.REUSEPORT,
  SO.DONTROUTE,
  SO.BROADCAST,
  SO.KEEPALIVE,
  SO.OOBINLINE,
  SO.PRIORITY,
]);

/** setsockopt(2) at SOL_SOCKET. EINVAL for a short value, ENOPROTOOPT. */
function setsockopt(_cx: Cx, socket: Socket, level: number, name: number, bytes: Uint8Array): Result<0> {
  if (level !== SOL_SOCKET) return ENOPROTOOPT;
  if (bytes.length < 4) return EINVAL;
  const value = new DataView(bytes.buffer, bytes.byteOffset).getInt32(0, true);
  const sock = unixOf(socket);
  switch (name) {
    case SO.SNDBUF:
    case SO.SNDBUFFORCE:
      sock.sk.sk_sndbuf = Math.max(Math.min(value, MAX_BUFFER) * 2, MIN_SEND_BUFFER);
      return 0;
    case SO.RCVBUF:
    case SO.RCVBUFFORCE:
      sock.sk.sk_rcvbuf = Math.max(Math.min(value, MAX_BUFFER) * 2, MIN_RECEIVE_BUFFER);
      return 0;
    case SO.PASSCRED:
      sock.passesCredentials = value !== 0;
      return 0;
    case SO.RCVLOWAT:
      sock.receiveLow = value < 0 ? 0x7fff_ffff : Math.max(1, value);
      return 0;
    case SO.RCVTIMEO:
    case SO.SNDTIMEO:
      return setTimeoutOption(sock, name === SO.RCVTIMEO, bytes);
    case SO.LINGER:
      return bytes.length < 8 ? EINVAL : 0;
    default:
      if (!FLAG_OPTIONS.has(name)) return ENOPROTOOPT;
      sock.options.set(name, name === SO.PRIORITY ? value : value !== 0 ? 1 : 0);
      return 0;
  }
}

function setTimeoutOption(sock: UnixSock, isReceive: boolean, bytes: Uint8Array): Result<0> {
  if (bytes.length < 16) return EINVAL;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const sec = Number(view.getBigInt64(0, true));
  const usec = Number(view.getBigInt64(8, true));
  const ns = sec * NSEC_PER_SEC + usec * NSEC_PER_USEC;
  const timeout = ns <= 0 ? undefined : ns;
  if (isReceive) sock.receiveTimeoutNs = timeout;
  else sock.sendTimeoutNs = timeout;
  return 0;
}
