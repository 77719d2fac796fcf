/** AF_UNIX streams: bytes without boundaries, but ancillary data keeps its place (Linux: net/unix/af_unix.c, unix(7)). */
import {
  EAGAIN,
  ECONNRESET,
  EFAULT,
  EINTR,
  EINVAL,
  EISCONN,
  ENOTCONN,
  EOPNOTSUPP,
  EPIPE,
  type Errno,
  errnoFromNumber,
  ERESTARTSYS,
  isErr,
  MSG,
  type Result,
  s32,
  SI,
  SIG,
  size_t,
} from "@alien-ts/abi";
import type { Cx } from "../../core/cx.ts";
import { type Blocking, sleepingFn } from "../../core/row.ts";
import type { IovIter } from "../../mm/iov-iter.ts";
import { waitEvent, wakeUp } from "../../sched/wait.ts";
import { sendToTask, siginfoFrom } from "../../task/signal.ts";
import { get_file } from "../../vfs/file.ts";
import { type Ancillary, type Message, msghdrp, READ_EVENTS, socketp } from "./socket.ts";
import { SEND_SHUTDOWN, TCP_STATE } from "./structs.ts";
import { currentUcred, freePacket, makePacket, type Packet, type UnixSock, unixOf } from "./unix-sock.ts";

/** Largest piece of a stream (SKB_MAX_ALLOC plus page fragments). */
const PIECE_MAX = 32_768;

export const unix_stream_sendmsg = sleepingFn(
  "unix_stream_sendmsg",
  [
    ["sock", socketp],
    ["msg", msghdrp],
    ["len", size_t],
  ],
  s32,
  function* (cx, socket, message, len) {
    const sock = unixOf(socket);
    if ((message.flags & MSG.OOB) !== 0) return EOPNOTSUPP;
    if (message.name !== undefined) return sock.state === TCP_STATE.ESTABLISHED ? EISCONN : EOPNOTSUPP;
    const { peer } = sock;
    if (peer === undefined) return ENOTCONN;
    const cred = message.ancillary.credentials ?? currentUcred(cx);
    let sent = 0;
    while (sent < len) {
      if ((sock.sk.sk_shutdown & SEND_SHUTDOWN) !== 0 || isGone(peer))
        return sent > 0 ? sent : broken(cx, message);
      if (!hasRoom(sock)) {
        const waited = yield* waitForRoom(cx, sock, message);
        if (isErr(waited)) return sent > 0 ? sent : waited;
        continue;
      }
      const size = Math.min(len - sent, (sock.sk.sk_sndbuf >> 1) - 64, PIECE_MAX);
      const data = message.iter.take(size);
      if (data.length < size) return sent > 0 ? sent : EFAULT;
      const ancillary =
        sent === 0 ? message.ancillary : { files: [], credentials: message.ancillary.credentials };
      if (sent === 0) message.ancillary = { files: [], credentials: cred };
      peer.queue.push(makePacket(sock, data, ancillary, cred));
      sent += size;
      wakeUp(cx, peer.wait, READ_EVENTS);
    }
    return sent;
  },
  { local: true, doc: "Sends bytes to a connected local socket; sleeps while its buffer is full." },
);

const isGone = (peer: UnixSock): boolean => peer.isDead || !peer.canReceive;
const hasRoom = (sock: UnixSock): boolean => sock.sk.sk_wmem_alloc < sock.sk.sk_sndbuf;

/** SIGPIPE, unless MSG_NOSIGNAL. */
function broken(cx: Cx, message: Message): Errno {
  if ((message.flags & MSG.NOSIGNAL) === 0) sendToTask(cx, cx.task, siginfoFrom(cx, SIG.PIPE, SI.USER));
  return EPIPE;
}

/** sock_alloc_send_skb's sleep. EAGAIN, ERESTARTSYS; EINTR under SO_SNDTIMEO. */
export function* waitForRoom(cx: Cx, sock: UnixSock, message: Message): Blocking<Result<0>> {
  if (message.mayNotBlock) return EAGAIN;
  const { sendTimeoutNs } = sock;
  const woken = yield* waitEvent(
    cx,
    sock.wait,
    () =>
      hasRoom(sock) ||
      (sock.sk.sk_shutdown & SEND_SHUTDOWN) !== 0 ||
      sock.peer === undefined ||
      isGone(sock.peer),
    sendTimeoutNs === undefined ? {} : { deadlineNs: cx.kernel.clock.nowNs() + sendTimeoutNs },
  );
  if (isErr(woken)) return sendTimeoutNs === undefined ? ERESTARTSYS : EINTR;
  return woken ? 0 : EAGAIN;
}

/** A pending error of the socket, taken. */
export function takeError(sock: UnixSock): Errno | undefined {
  const number = sock.sk.sk_err;
  if (number === 0) return undefined;
  sock.sk.sk_err = 0;
  return errnoFromNumber(number) ?? ECONNRESET;
}

export const unix_stream_recvmsg = sleepingFn(
  "unix_stream_recvmsg",
  [
    ["sock", socketp],
    ["msg", msghdrp],
    ["size", size_t],
    ["flags", s32],
  ],
  s32,
  function* (cx, socket, message, size, flags) {
    const sock = unixOf(socket);
    if (sock.state !== TCP_STATE.ESTABLISHED) return EINVAL;
    if ((flags & MSG.OOB) !== 0) return EOPNOTSUPP;
    const target = (flags & MSG.WAITALL) !== 0 ? size : Math.min(sock.receiveLow, size);
    const reader = new StreamReader(sock, message, flags);
    for (;;) {
      const step = reader.read(cx, size);
      if (isErr(step)) return reader.copied > 0 ? reader.copied : step;
      if (step === "over" || reader.copied >= target) return reader.copied;
      const failure = takeError(sock);
      if (failure !== undefined) return reader.copied > 0 ? reader.copied : failure;
      if (!sock.canReceive) return reader.copied;
      if ((flags & MSG.DONTWAIT) !== 0 || message.mayNotBlock)
        return reader.copied > 0 ? reader.copied : EAGAIN;
      const waited = yield* waitForData(cx, sock, () => sock.queue.length > reader.position);
      if (isErr(waited)) return reader.copied > 0 ? reader.copied : waited;
    }
  },
  { local: true, doc: "Receives bytes from a connected local socket; sleeps while there are none." },
);

/** Sleeps until `hasData`, an error or the end. EAGAIN at SO_RCVTIMEO, ERESTARTSYS or EINTR. */
export function* waitForData(cx: Cx, sock: UnixSock, hasData: () => boolean): Blocking<Result<0>> {
  const { receiveTimeoutNs } = sock;
  const woken = yield* waitEvent(
    cx,
    sock.wait,
    () => hasData() || sock.sk.sk_err !== 0 || !sock.canReceive || sock.isDead,
    receiveTimeoutNs === undefined ? {} : { deadlineNs: cx.kernel.clock.nowNs() + receiveTimeoutNs },
  );
  if (isErr(woken)) return receiveTimeoutNs === undefined ? ERESTARTSYS : EINTR;
  return woken ? 0 : EAGAIN;
}

/** Takes bytes off the queue, packet by packet; with MSG_PEEK it only looks. */
class StreamReader {
  copied = 0;
  /** Packets that a peek went past. */
  position = 0;
  readonly #sock: UnixSock;
  readonly #message: Message;
  readonly #iter: IovIter;
  readonly #isPeek: boolean;
  /** The writer of what was read so far: with SO_PASSCRED bytes of another are not glued to it. */
  #writer: Packet["credentials"] | undefined = undefined;

  constructor(sock: UnixSock, message: Message, flags: number) {
    this.#sock = sock;
    this.#message = message;
    this.#iter = message.iter;
    this.#isPeek = (flags & MSG.PEEK) !== 0;
  }

  /** "over": the read ends here whatever follows; "empty": the queue is. EFAULT. */
  read(cx: Cx, size: number): Result<"over" | "empty"> {
    for (;;) {
      const packet = this.#sock.queue[this.position];
      if (packet === undefined) return this.copied < size ? "empty" : "over";
      if (!this.#mayGlue(packet)) return "over";
      const chunk = packet.data.subarray(0, size - this.copied);
      const written = this.#iter.copyBytesTo(chunk);
      if (written < chunk.length) return EFAULT;
      this.copied += written;
      const hasFiles = packet.ancillary.files.length > 0;
      takeAncillary(this.#message, packet, this.#isPeek);
      if (this.#isPeek) this.position += 1;
      else this.#consume(cx, packet, written);
      if (hasFiles || this.copied === size) return "over";
    }
  }

  #mayGlue(packet: Packet): boolean {
    const { credentials } = packet;
    const first = this.#writer;
    this.#writer ??= credentials;
    if (first === undefined || !this.#sock.passesCredentials) return true;
    return first.pid === credentials.pid && first.uid === credentials.uid && first.gid === credentials.gid;
  }

  #consume(cx: Cx, packet: Packet, length: number): void {
    packet.data = packet.data.subarray(length);
    if (packet.data.length > 0) return;
    this.#sock.queue.shift();
    freePacket(cx, packet);
  }
}

/** Hands a packet's files and credentials to the receiver; a peek gets files of its own. */
export function takeAncillary(message: Message, packet: Packet, isPeek: boolean): void {
  const into: Ancillary = message.ancillary;
  into.credentials = packet.credentials;
  const { files } = packet.ancillary;
  if (files.length === 0) return;
  into.files.push(...(isPeek ? files.map(get_file) : files));
  if (!isPeek) packet.ancillary.files = [];
}
