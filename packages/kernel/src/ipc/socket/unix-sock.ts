/**
 * AF_UNIX: the sock, its names, its life (Linux: net/unix/af_unix.c; unix(7)). Connecting is in unix-connect.ts, data in
 * unix-stream.ts and unix-dgram.ts.
 *
 * A `UnixSock` outlives its socket while a peer or a queued message refers to it (`hold`, `put`). Messages wait in the receiver's
 * `queue` and count against the sender's buffer until they are read.
 *
 * Differs from Linux: sockets that are in flight to each other and nowhere else are not collected (unix_gc).
 */
import { AF, ENOMEM, type KAddr, POLL, type Result, type ViewOf } from "@alien-ts/abi";
import type { Cx } from "../../core/cx.ts";
import type { Kernel } from "../../core/kernel.ts";
import type { Owned } from "../../core/owner.ts";
import { WaitQueue, wakeUp, wakeUpAll } from "../../sched/wait.ts";
import { byteString } from "../../vfs/dentry.ts";
import { fput } from "../../vfs/file.ts";
import type { Inode } from "../../vfs/inode.ts";
import { path_put, type PathRef } from "../../vfs/mount.ts";
import { type Ancillary, type Socket, WRITE_EVENTS } from "./socket.ts";
import {
  DEFAULT_BUFFER_BYTES,
  MAX_DGRAM_QLEN,
  RCV_SHUTDOWN,
  SHUTDOWN_MASK,
  type sock,
  TCP_STATE,
  unix_sock,
} from "./structs.ts";

declare module "../../core/kernel.ts" {
  interface Kernel {
    unix: UnixNames;
  }
}

/** Bound sockets: by abstract name (a byte string with its leading NUL), and by the inode of their node. */
export class UnixNames {
  readonly abstract = new Map<string, UnixSock>();
  readonly nodes = new Map<Inode, UnixSock>();
  nextAutobind = 0;
}

export interface Ucred {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/** A queued message (struct sk_buff). A connection request carries the new sock. */
export interface Packet {
  readonly from: UnixSock;
  /** What is left of the data. */
  data: Uint8Array;
  /** What it counts against the sender's buffer. */
  readonly trueSize: number;
  readonly ancillary: Ancillary;
  readonly credentials: Ucred;
  readonly embryo?: UnixSock;
}

/** What one message costs beyond its bytes: sk_buff and skb_shared_info. */
const PACKET_OVERHEAD = 768;

export class UnixSock implements Owned {
  readonly kernel: Kernel;
  readonly addr: KAddr;
  readonly t: ViewOf<typeof unix_sock>;
  /** t.sk, made once. */
  readonly sk: ViewOf<typeof sock>;
  socket: Socket | undefined;
  peer: UnixSock | undefined = undefined;
  queue: Packet[] = [];
  /** Senders that wait for room in this queue (peer_wait). */
  readonly peerWait = new WaitQueue();
  /** Waiters of an embryo before it has a socket, too. */
  readonly wait: WaitQueue;
  /** sockaddr_un bytes; undefined while unbound. */
  address: Uint8Array | undefined = undefined;
  /** The node in a file system. */
  path: PathRef | undefined = undefined;
  peerCred: Ucred | undefined = undefined;
  passesCredentials = false;
  receiveTimeoutNs: number | undefined = undefined;
  sendTimeoutNs: number | undefined = undefined;
  receiveLow = 1;
  isDead = false;
  /** Options that are kept and have no effect on local sockets. */
  readonly options = new Map<number, number>();
  #refs = 1;

  constructor(kernel: Kernel, addr: KAddr, socket: Socket | undefined) {
    this.kernel = kernel;
    this.addr = addr;
    this.t = new (kernel.layout.view(unix_sock))(kernel.mem, addr);
    this.sk = this.t.sk;
    this.socket = socket;
    this.wait = new WaitQueue();
  }

  get state(): number {
    return this.sk.__sk_common.skc_state;
  }
  set state(state: number) {
    this.sk.__sk_common.skc_state = state;
  }
  get type(): number {
    return this.sk.sk_type;
  }
  get canReceive(): boolean {
    return (this.sk.sk_shutdown & RCV_SHUTDOWN) === 0;
  }
  get isWritable(): boolean {
    return this.state !== TCP_STATE.LISTEN && this.sk.sk_wmem_alloc * 4 <= this.sk.sk_sndbuf;
  }
  /** More messages than the receiver takes: a sender waits. */
  get isQueueFull(): boolean {
    return this.queue.length > this.sk.sk_max_ack_backlog;
  }

  hold(): UnixSock {
    this.#refs += 1;
    return this;
  }

  put(): void {
    this.#refs -= 1;
    if (this.#refs === 0) this.kernel.kmalloc.kfree(this.addr);
  }

  setPeer(peer: UnixSock | undefined): void {
    const old = this.peer;
    this.peer = peer?.hold();
    this.t.peer = peer === undefined ? 0 : peer.addr;
    old?.put();
  }
}

/** A sock in state CLOSE. ENOMEM. Linux: unix_create1(). */
export function createSock(kernel: Kernel, type: number, socket: Socket | undefined): Result<UnixSock> {
  const addr = kernel.kmalloc.kzalloc(kernel.layout.size(unix_sock), "unix_sock");
  if (addr === 0) return ENOMEM;
  const made = new UnixSock(kernel, addr, socket);
  kernel.kmalloc.setOwner(addr, made);
  const { sk } = made;
  sk.__sk_common.skc_family = AF.UNIX;
  made.state = TCP_STATE.CLOSE;
  sk.sk_type = type;
  sk.sk_rcvbuf = DEFAULT_BUFFER_BYTES;
  sk.sk_sndbuf = DEFAULT_BUFFER_BYTES;
  sk.sk_max_ack_backlog = MAX_DGRAM_QLEN;
  if (socket !== undefined) attachSocket(made, socket);
  return made;
}

export function attachSocket(made: UnixSock, socket: Socket): void {
  made.socket = socket;
  made.sk.sk_socket = socket.addr;
  socket.sk = made;
  socket.t.sk = made.addr;
}

export const unixOf = (socket: Socket): UnixSock => socket.sk as UnixSock;

export const currentUcred = ({ task }: Cx): Ucred => ({
  pid: task.tgid,
  uid: task.cred.euid,
  gid: task.cred.egid,
});

/** A message that counts against its sender from now on. */
export function makePacket(
  from: UnixSock,
  data: Uint8Array,
  ancillary: Ancillary,
  credentials: Ucred,
): Packet {
  const trueSize = data.length + PACKET_OVERHEAD;
  from.hold();
  from.sk.sk_wmem_alloc += trueSize;
  return { from, data, trueSize, ancillary, credentials };
}

/** The message was read or dropped: its sender may send more (sock_wfree, unix_write_space). */
export function freePacket(cx: Cx, packet: Packet): void {
  const { from } = packet;
  for (const file of packet.ancillary.files) fput(cx, file);
  packet.ancillary.files = [];
  from.sk.sk_wmem_alloc -= packet.trueSize;
  if (!from.isDead && from.isWritable) wakeUp(cx, from.wait, WRITE_EVENTS);
  from.put();
}

/** Linux: unix_release_sock(). */
export function releaseSock(cx: Cx, gone: UnixSock, isEmbryo: boolean): void {
  unbind(cx, gone);
  gone.socket = undefined;
  gone.sk.sk_shutdown = SHUTDOWN_MASK;
  const wasListening = gone.state === TCP_STATE.LISTEN;
  gone.state = TCP_STATE.CLOSE;
  gone.isDead = true;
  wakeUpAll(cx, gone.peerWait);
  const { peer } = gone;
  if (peer !== undefined) {
    if (isConnected(gone)) {
      peer.sk.sk_shutdown = SHUTDOWN_MASK;
      if (gone.queue.length > 0 || isEmbryo) peer.sk.sk_err = ECONNRESET_NUMBER;
      wakeUpAll(cx, peer.wait, POLL.HUP | POLL.IN | POLL.RDNORM | WRITE_EVENTS);
    }
    gone.setPeer(undefined);
  }
  const dropped = gone.queue;
  gone.queue = [];
  for (const packet of dropped) {
    if (wasListening && packet.embryo !== undefined) releaseSock(cx, packet.embryo, true);
    freePacket(cx, packet);
  }
  gone.put();
}

const ECONNRESET_NUMBER = 104;
const SOCK_STREAM = 1;
const SOCK_SEQPACKET = 5;

/** Stream and sequenced packets have connections. */
export const isConnected = ({ type }: UnixSock): boolean => type === SOCK_STREAM || type === SOCK_SEQPACKET;

function unbind(cx: Cx, gone: UnixSock): void {
  const { unix } = cx.kernel;
  if (gone.address !== undefined) {
    const name = abstractName(gone.address);
    if (name !== undefined && unix.abstract.get(name) === gone) unix.abstract.delete(name);
  }
  const { path } = gone;
  if (path === undefined) return;
  gone.path = undefined;
  const { inode } = path.dentry;
  if (inode !== null && unix.nodes.get(inode) === gone) unix.nodes.delete(inode);
  path_put(cx, path);
}

const SUN_PATH = 2;

/** The abstract name of an address, or undefined for one in a file system. */
export const abstractName = (address: Uint8Array): string | undefined =>
  address.length > SUN_PATH && address[SUN_PATH] === 0 ? byteString(address.subarray(SUN_PATH)) : undefined;

/** The path of an address, up to its first NUL. */
export function pathName(address: Uint8Array): string {
  const path = address.subarray(SUN_PATH);
  const end = path.indexOf(0);
  return byteString(end < 0 ? path : path.subarray(0, end));
}

/** An address without a name. */
export const UNNAMED = Uint8Array.of(AF.UNIX, 0);
