/** AF_UNIX: binding, listening, connecting, accepting, names (Linux: net/unix/af_unix.c). */
import {
  AF,
  EADDRINUSE,
  EAGAIN,
  ECONNREFUSED,
  EEXIST,
  EINVAL,
  EISCONN,
  ENOENT,
  ENOMEM,
  ENOTCONN,
  EOPNOTSUPP,
  EPERM,
  EPROTOTYPE,
  AT,
  isErr,
  O,
  type Result,
  S,
  SOCK,
  utf8Encode,
} from "@alien-ts/abi";
import type { Cx } from "../../core/cx.ts";
import { type Blocking } from "../../core/row.ts";
import { waitEvent, wakeUp } from "../../sched/wait.ts";
import type { MaybeBlocking } from "../../vfs/blocking.ts";
import { byteString } from "../../vfs/dentry.ts";
import { getname_kernel } from "../../vfs/filename.ts";
import { MAY } from "../../vfs/inode.ts";
import { do_mknodat } from "../../vfs/namei-ops.ts";
import { kern_path } from "../../vfs/namei.ts";
import { path_put } from "../../vfs/mount.ts";
import { inode_permission } from "../../vfs/permission.ts";
import { READ_EVENTS, type Socket } from "./socket.ts";
import { SOMAXCONN, SS_STATE, TCP_STATE } from "./structs.ts";
import {
  abstractName,
  attachSocket,
  createSock,
  currentUcred,
  freePacket,
  isConnected,
  makePacket,
  pathName,
  UNNAMED,
  type UnixSock,
  unixOf,
} from "./unix-sock.ts";

const SOCKADDR_UN_BYTES = 110;
const SUN_PATH = 2;
const AUTOBIND_NAMES = 0x10_0000;

/** EINVAL for what is no sockaddr_un. Linux: unix_validate_addr(). */
export function validate(address: Uint8Array): Result<0> {
  if (address.length <= SUN_PATH || address.length > SOCKADDR_UN_BYTES) return EINVAL;
  return address[0] === AF.UNIX && address[1] === 0 ? 0 : EINVAL;
}

/** bind(2). EINVAL, EADDRINUSE, or what making the node answers. */
export function bind(cx: Cx, socket: Socket, address: Uint8Array): Result<0> {
  const sock = unixOf(socket);
  if (address.length === SUN_PATH && address[0] === AF.UNIX) return autobind(cx, sock);
  const valid = validate(address);
  if (isErr(valid)) return valid;
  if (sock.address !== undefined) return EINVAL;
  const name = abstractName(address);
  if (name === undefined) return bindPath(cx, sock, address);
  const { abstract } = cx.kernel.unix;
  if (abstract.has(name)) return EADDRINUSE;
  abstract.set(name, sock);
  sock.address = address;
  return 0;
}

/** A name of the kernel's choice: five hexadecimal digits. */
export function autobind(cx: Cx, sock: UnixSock): Result<0> {
  if (sock.address !== undefined) return 0;
  const { unix } = cx.kernel;
  for (let tries = 0; tries < AUTOBIND_NAMES; tries++) {
    const digits = (unix.nextAutobind++ % AUTOBIND_NAMES).toString(16).padStart(5, "0");
    const name = utf8Encode(`\0${digits}`);
    if (unix.abstract.has(byteString(name))) continue;
    unix.abstract.set(byteString(name), sock);
    sock.address = Uint8Array.of(AF.UNIX, 0, ...name);
    return 0;
  }
  return EADDRINUSE;
}

function bindPath(cx: Cx, sock: UnixSock, address: Uint8Array): Result<0> {
  const path = pathName(address);
  const name = getname_kernel(cx.kernel, path);
  if (isErr(name)) return name;
  const made = do_mknodat(cx, AT.FDCWD, name, S.IFSOCK | (0o777 & ~cx.task.fs.umask), 0);
  if (isErr(made)) return made === EEXIST ? EADDRINUSE : made;
  const place = kern_path(cx, path);
  if (isErr(place)) return place;
  const { inode } = place.dentry;
  if (inode === null) {
    path_put(cx, place);
    return ENOENT;
  }
  sock.path = place;
  sock.address = Uint8Array.of(...address.subarray(0, SUN_PATH + path.length), 0);
  cx.kernel.unix.nodes.set(inode, sock);
  return 0;
}

/** The sock that an address names. ECONNREFUSED, EPROTOTYPE, or what the path answers. Linux: unix_find_other(). */
export function findOther(cx: Cx, address: Uint8Array, type: number): Result<UnixSock> {
  const valid = validate(address);
  if (isErr(valid)) return valid;
  const name = abstractName(address);
  const found =
    name === undefined ? findNode(cx, address) : (cx.kernel.unix.abstract.get(name) ?? ECONNREFUSED);
  if (isErr(found)) return found;
  return found.type === type ? found : EPROTOTYPE;
}

function findNode(cx: Cx, address: Uint8Array): Result<UnixSock> {
  const place = kern_path(cx, pathName(address));
  if (isErr(place)) return place;
  const { inode } = place.dentry;
  let found: Result<UnixSock> = ECONNREFUSED;
  if (inode !== null) {
    const allowed = inode_permission(cx, 0, inode, MAY.WRITE);
    if (isErr(allowed)) found = allowed;
    else if (inode.type === S.IFSOCK) found = cx.kernel.unix.nodes.get(inode) ?? ECONNREFUSED;
  }
  path_put(cx, place);
  return found;
}

/** listen(2). EOPNOTSUPP for datagrams, EINVAL when unbound. */
export function listen(cx: Cx, socket: Socket, backlog: number): Result<0> {
  const sock = unixOf(socket);
  if (!isConnected(sock)) return EOPNOTSUPP;
  if (sock.address === undefined) return EINVAL;
  if (sock.state !== TCP_STATE.CLOSE && sock.state !== TCP_STATE.LISTEN) return EINVAL;
  sock.sk.sk_max_ack_backlog = Math.min(backlog >>> 0, SOMAXCONN);
  sock.state = TCP_STATE.LISTEN;
  sock.peerCred = currentUcred(cx);
  wakeUp(cx, sock.peerWait);
  return 0;
}

export function connect(
  cx: Cx,
  socket: Socket,
  address: Uint8Array,
  flags: number,
): MaybeBlocking<Result<0>> {
  const sock = unixOf(socket);
  return isConnected(sock) ? connectStream(cx, sock, address, flags) : connectDgram(cx, sock, address);
}

/** A datagram socket gets a default destination; AF_UNSPEC takes it away. Linux: unix_dgram_connect(). */
function connectDgram(cx: Cx, sock: UnixSock, address: Uint8Array): Result<0> {
  if (address.length < SUN_PATH) return EINVAL;
  if (address[0] === AF.UNSPEC) {
    sock.setPeer(undefined);
    sock.state = TCP_STATE.CLOSE;
    return 0;
  }
  const other = findOther(cx, address, sock.type);
  if (isErr(other)) return other;
  if (!maySend(sock, other)) return EPERM;
  sock.setPeer(other);
  sock.state = TCP_STATE.ESTABLISHED;
  return 0;
}

/** A connected datagram socket takes messages of its peer only. */
export const maySend = (from: UnixSock, to: UnixSock): boolean => to.peer === undefined || to.peer === from;

/** Linux: unix_stream_connect(). */
function* connectStream(cx: Cx, sock: UnixSock, address: Uint8Array, flags: number): Blocking<Result<0>> {
  const valid = validate(address);
  if (isErr(valid)) return valid;
  for (;;) {
    const other = findOther(cx, address, sock.type);
    if (isErr(other)) return other;
    if (other.state !== TCP_STATE.LISTEN || !other.canReceive) return ECONNREFUSED;
    if (sock.state === TCP_STATE.ESTABLISHED) return EISCONN;
    if (sock.state !== TCP_STATE.CLOSE) return EINVAL;
    if (!other.isQueueFull) return requestConnection(cx, sock, other);
    if ((flags & O.NONBLOCK) !== 0) return EAGAIN;
    const woken = yield* waitEvent(
      cx,
      other.peerWait,
      () => other.isDead || !other.isQueueFull || !other.canReceive,
      sock.sendTimeoutNs === undefined ? {} : { deadlineNs: cx.kernel.clock.nowNs() + sock.sendTimeoutNs },
    );
    if (isErr(woken)) return woken;
    if (!woken) return EAGAIN;
  }
}

/** The listener's end is made here and waits in its queue; the connection is there at once. */
function requestConnection(cx: Cx, sock: UnixSock, other: UnixSock): Result<0> {
  const embryo = createSock(cx.kernel, sock.type, undefined);
  if (isErr(embryo)) return ENOMEM;
  embryo.state = TCP_STATE.ESTABLISHED;
  embryo.peerCred = currentUcred(cx);
  embryo.address = other.address;
  embryo.passesCredentials = other.passesCredentials;
  embryo.setPeer(sock);
  sock.peerCred = other.peerCred;
  sock.state = TCP_STATE.ESTABLISHED;
  if (sock.socket !== undefined) sock.socket.t.state = SS_STATE.CONNECTED;
  sock.setPeer(embryo);
  const packet = makePacket(sock, new Uint8Array(0), { files: [], credentials: undefined }, currentUcred(cx));
  other.queue.push({ ...packet, embryo });
  wakeUp(cx, other.wait, READ_EVENTS);
  return 0;
}

/** accept(2). EOPNOTSUPP, EINVAL unless it listens, EAGAIN. Linux: unix_accept(). */
export function* accept(cx: Cx, socket: Socket, fresh: Socket, flags: number): Blocking<Result<0>> {
  const sock = unixOf(socket);
  if (!isConnected(sock)) return EOPNOTSUPP;
  if (sock.state !== TCP_STATE.LISTEN) return EINVAL;
  if (sock.queue.length === 0) {
    if (!sock.canReceive) return EINVAL;
    if ((flags & O.NONBLOCK) !== 0) return EAGAIN;
    const woken = yield* waitEvent(
      cx,
      sock.wait,
      () => sock.queue.length > 0 || !sock.canReceive,
      sock.receiveTimeoutNs === undefined
        ? { exclusive: true }
        : { exclusive: true, deadlineNs: cx.kernel.clock.nowNs() + sock.receiveTimeoutNs },
    );
    if (isErr(woken)) return woken;
    if (!woken) return EAGAIN;
  }
  const packet = sock.queue.shift();
  if (packet?.embryo === undefined) return EINVAL;
  wakeUp(cx, sock.peerWait);
  attachSocket(packet.embryo, fresh);
  fresh.t.state = SS_STATE.CONNECTED;
  freePacket(cx, packet);
  return 0;
}

/** socketpair(2): two sockets that are each other's peer. */
export function socketpair(cx: Cx, a: Socket, b: Socket): Result<0> {
  const [first, second] = [unixOf(a), unixOf(b)];
  first.setPeer(second);
  second.setPeer(first);
  for (const sock of [first, second]) sock.peerCred = currentUcred(cx);
  if (a.type === SOCK.DGRAM) return 0;
  for (const sock of [first, second]) sock.state = TCP_STATE.ESTABLISHED;
  for (const socket of [a, b]) socket.t.state = SS_STATE.CONNECTED;
  return 0;
}

/** getsockname(2), getpeername(2). ENOTCONN. */
export function getname(_cx: Cx, socket: Socket, peer: boolean): Result<Uint8Array> {
  const sock = unixOf(socket);
  if (!peer) return sock.address ?? UNNAMED;
  return sock.peer === undefined ? ENOTCONN : (sock.peer.address ?? UNNAMED);
}
