/** AF_UNIX datagrams and sequenced packets: whole messages (Linux: net/unix/af_unix.c). */
import {
  EAGAIN,
  ECONNREFUSED,
  EFAULT,
  EMSGSIZE,
  EINTR,
  ENOTCONN,
  EOPNOTSUPP,
  EPERM,
  EPIPE,
  ERESTARTSYS,
  isErr,
  MSG,
  type Result,
  s32,
  size_t,
  SOCK,
} from "@alien-ts/abi";
import type { Cx } from "../../core/cx.ts";
import { type Blocking, sleepingFn } from "../../core/row.ts";
import { waitEvent, wakeUp } from "../../sched/wait.ts";
import { type Message, msghdrp, READ_EVENTS, socketp } from "./socket.ts";
import { MSG_MORE, SEND_SHUTDOWN, TCP_STATE } from "./structs.ts";
import { findOther, maySend } from "./unix-connect.ts";
import { currentUcred, freePacket, makePacket, UNNAMED, type UnixSock, unixOf } from "./unix-sock.ts";
import { takeAncillary, takeError, waitForData, waitForRoom } from "./unix-stream.ts";

/** A datagram may fill the send buffer but for this. */
const HEADROOM = 32;

export const unix_dgram_sendmsg = sleepingFn(
  "unix_dgram_sendmsg",
  [
    ["sock", socketp],
    ["msg", msghdrp],
    ["len", size_t],
  ],
  s32,
  function* (cx, socket, message, len) {
    const sock = unixOf(socket);
    if ((message.flags & MSG.OOB) !== 0) return EOPNOTSUPP;
    const other = destination(cx, sock, message);
    if (isErr(other)) return other;
    if (len > sock.sk.sk_sndbuf - HEADROOM) return EMSGSIZE;
    while (sock.sk.sk_wmem_alloc >= sock.sk.sk_sndbuf) {
      const waited = yield* waitForRoom(cx, sock, message);
      if (isErr(waited)) return waited;
    }
    const data = message.iter.take(len);
    if (data.length < len) return EFAULT;
    const ready = yield* waitForReceiver(cx, sock, other, message);
    if (isErr(ready)) return ready;
    const { ancillary } = message;
    message.ancillary = { files: [], credentials: undefined };
    other.queue.push(makePacket(sock, data, ancillary, ancillary.credentials ?? currentUcred(cx)));
    wakeUp(cx, other.wait, READ_EVENTS);
    return len;
  },
  { local: true, doc: "Sends one message to a local socket; sleeps while the receiver's queue is full." },
);

function destination(cx: Cx, sock: UnixSock, message: Message): Result<UnixSock> {
  if (message.name === undefined) return sock.peer ?? ENOTCONN;
  return findOther(cx, message.name, sock.type);
}

/** Sleeps until the receiver's queue has a place. ECONNREFUSED, EPERM, EPIPE, EAGAIN. */
function* waitForReceiver(cx: Cx, sock: UnixSock, other: UnixSock, message: Message): Blocking<Result<0>> {
  for (;;) {
    if (!maySend(sock, other)) return EPERM;
    if (other.isDead) {
      if (sock.type === SOCK.SEQPACKET) return EPIPE;
      if (sock.peer === other) {
        sock.setPeer(undefined);
        sock.state = TCP_STATE.CLOSE;
      }
      return ECONNREFUSED;
    }
    if ((sock.sk.sk_shutdown & SEND_SHUTDOWN) !== 0 || !other.canReceive) return EPIPE;
    if (!other.isQueueFull) return 0;
    if (message.mayNotBlock) return EAGAIN;
    const { sendTimeoutNs } = sock;
    const woken = yield* waitEvent(
      cx,
      other.peerWait,
      () => other.isDead || !other.isQueueFull || !other.canReceive,
      sendTimeoutNs === undefined ? {} : { deadlineNs: cx.kernel.clock.nowNs() + sendTimeoutNs },
    );
    if (isErr(woken)) return sendTimeoutNs === undefined ? ERESTARTSYS : EINTR;
    if (!woken) return EAGAIN;
  }
}

export const unix_dgram_recvmsg = sleepingFn(
  "unix_dgram_recvmsg",
  [
    ["sock", socketp],
    ["msg", msghdrp],
    ["size", size_t],
    ["flags", s32],
  ],
  s32,
  function* (cx, socket, message, size, flags) {
    const sock = unixOf(socket);
    if ((flags & MSG.OOB) !== 0) return EOPNOTSUPP;
    const isSeqpacket = sock.type === SOCK.SEQPACKET;
    while (sock.queue.length === 0) {
      const failure = takeError(sock);
      if (failure !== undefined) return failure;
      const mayNotBlock = (flags & MSG.DONTWAIT) !== 0 || message.mayNotBlock;
      if (!sock.canReceive && (isSeqpacket || !mayNotBlock)) return 0;
      if (mayNotBlock) return EAGAIN;
      const waited = yield* waitForData(cx, sock, () => sock.queue.length > 0);
      if (isErr(waited)) return waited;
    }
    return receiveOne(cx, sock, message, size, flags);
  },
  { local: true, doc: "Receives one message from a local socket; sleeps until there is one." },
);

function receiveOne(cx: Cx, sock: UnixSock, message: Message, size: number, flags: number): Result<number> {
  const packet = sock.queue[0]!;
  const isPeek = (flags & MSG.PEEK) !== 0;
  const whole = packet.data.length;
  const part = packet.data.subarray(0, size);
  if (message.iter.copyBytesTo(part) < part.length) return EFAULT;
  if (whole > size) message.flags |= MSG_MORE.TRUNC;
  message.name = packet.from.address ?? UNNAMED;
  takeAncillary(message, packet, isPeek);
  if (!isPeek) {
    sock.queue.shift();
    freePacket(cx, packet);
    wakeUp(cx, sock.peerWait);
  }
  return (flags & MSG_MORE.TRUNC) !== 0 ? whole : part.length;
}

export const unix_seqpacket_sendmsg = sleepingFn(
  "unix_seqpacket_sendmsg",
  [
    ["sock", socketp],
    ["msg", msghdrp],
    ["len", size_t],
  ],
  s32,
  function* (cx, socket, message, len) {
    const sock = unixOf(socket);
    const failure = takeError(sock);
    if (failure !== undefined) return failure;
    if (sock.state !== TCP_STATE.ESTABLISHED) return ENOTCONN;
    message.name = undefined;
    return yield* unix_dgram_sendmsg(cx, socket, message, len);
  },
  { local: true },
);

export const unix_seqpacket_recvmsg = sleepingFn(
  "unix_seqpacket_recvmsg",
  [
    ["sock", socketp],
    ["msg", msghdrp],
    ["size", size_t],
    ["flags", s32],
  ],
  s32,
  function* (cx, socket, message, size, flags) {
    if (unixOf(socket).state !== TCP_STATE.ESTABLISHED) return ENOTCONN;
    return yield* unix_dgram_recvmsg(cx, socket, message, size, flags);
  },
  { local: true },
);
