/**
 * Control messages: files and credentials that travel with a message (Linux: net/core/scm.c; cmsg(3), unix(7)).
 *
 * A sender's SCM_RIGHTS takes references to the files; a receiver's installs them as new descriptors. Each cmsghdr is aligned
 * to 8 bytes.
 */
import { CAP, EBADF, EINVAL, EPERM, ESRCH, isErr, type Result, type UAddr } from "@alien-ts/abi";
import { capable } from "../../core/cred.ts";
import type { Cx } from "../../core/cx.ts";
import { copyBytesToUser } from "../../mm/uaccess.ts";
import { addFile } from "../../vfs/fd-table.ts";
import { type File, fget, fput } from "../../vfs/file.ts";
import { userMm } from "../../vfs/user.ts";
import type { Ancillary, Message } from "./socket.ts";
import { MSG_MORE, SCM_CREDENTIALS, SCM_RIGHTS, SOL_SOCKET } from "./structs.ts";
import { type Ucred } from "./unix-sock.ts";

const HEADER_BYTES = 16;
const UCRED_BYTES = 12;
/** SCM_MAX_FD */
const MAX_FILES = 253;

const align = (bytes: number): number => (bytes + 7) & ~7;

/** Reads the control buffer of a sendmsg. EINVAL, EBADF, EPERM, ESRCH. Linux: __scm_send(). */
export function parseControl(cx: Cx, control: Uint8Array): Result<Ancillary> {
  const ancillary: Ancillary = { files: [], credentials: undefined };
  const view = new DataView(control.buffer, control.byteOffset, control.byteLength);
  let at = 0;
  let failure: Result<0> = 0;
  while (at + HEADER_BYTES <= control.length && !isErr(failure)) {
    const length = view.getUint32(at, true);
    if (length < HEADER_BYTES || at + length > control.length) failure = EINVAL;
    else if (view.getInt32(at + 8, true) === SOL_SOCKET) {
      const data = new DataView(
        control.buffer,
        control.byteOffset + at + HEADER_BYTES,
        length - HEADER_BYTES,
      );
      failure = parseOne(cx, ancillary, view.getInt32(at + 12, true), data);
    }
    at += align(Math.max(length, HEADER_BYTES));
  }
  if (!isErr(failure)) return ancillary;
  dropFiles(cx, ancillary);
  return failure;
}

function parseOne(cx: Cx, into: Ancillary, type: number, data: DataView): Result<0> {
  if (type === SCM_RIGHTS) return takeFiles(cx, into, data);
  if (type !== SCM_CREDENTIALS || data.byteLength !== UCRED_BYTES) return EINVAL;
  const cred: Ucred = {
    pid: data.getInt32(0, true),
    uid: data.getUint32(4, true),
    gid: data.getUint32(8, true),
  };
  const allowed = checkCredentials(cx, cred);
  if (isErr(allowed)) return allowed;
  into.credentials = cred;
  return 0;
}

function takeFiles(cx: Cx, into: Ancillary, data: DataView): Result<0> {
  const count = data.byteLength >> 2;
  if (into.files.length + count > MAX_FILES) return EINVAL;
  for (let i = 0; i < count; i++) {
    const fd = data.getInt32(i * 4, true);
    const file = fd < 0 ? EBADF : fget(cx, fd);
    if (isErr(file) || file === null) return EBADF;
    into.files.push(file);
  }
  return 0;
}

/** A process may only say who it is, unless it is privileged. Linux: scm_check_creds(). */
function checkCredentials(cx: Cx, { pid, uid, gid }: Ucred): Result<0> {
  const { t } = cx.task.cred;
  const isPid = pid === cx.task.tgid || capable(cx, CAP.SYS_ADMIN);
  const isUid = [t.uid.val, t.euid.val, t.suid.val].includes(uid) || capable(cx, CAP.SETUID);
  const isGid = [t.gid.val, t.egid.val, t.sgid.val].includes(gid) || capable(cx, CAP.SETGID);
  if (!isPid || !isUid || !isGid) return EPERM;
  return cx.kernel.pids.find(pid) === undefined ? ESRCH : 0;
}

export function dropFiles(cx: Cx, ancillary: Ancillary): void {
  for (const file of ancillary.files) fput(cx, file);
  ancillary.files = [];
}

export interface ControlRoom {
  readonly addr: UAddr;
  readonly length: number;
  readonly passesCredentials: boolean;
  /** MSG_CMSG_CLOEXEC */
  readonly isCloexec: boolean;
}

/** Writes what arrived into the receiver's control buffer; answers its used length. MSG_CTRUNC where it is too small. */
export function deliverControl(cx: Cx, message: Message, room: ControlRoom): number {
  const { ancillary } = message;
  let used = 0;
  if (room.passesCredentials && ancillary.credentials !== undefined) {
    const { pid, uid, gid } = ancillary.credentials;
    used += putControl(cx, message, room, used, SCM_CREDENTIALS, [pid, uid, gid]);
  }
  if (ancillary.files.length > 0) used += deliverFiles(cx, message, room, used);
  dropFiles(cx, ancillary);
  return used;
}

function deliverFiles(cx: Cx, message: Message, room: ControlRoom, used: number): number {
  const { files } = message.ancillary;
  const places = Math.max(0, Math.floor((room.length - used - HEADER_BYTES) / 4));
  const fds: number[] = [];
  while (fds.length < places && files.length > 0) {
    const fd = addFile(cx, files.shift() as File, room.isCloexec);
    if (isErr(fd)) break;
    fds.push(fd);
  }
  if (files.length > 0) message.flags |= MSG_MORE.CTRUNC;
  return fds.length === 0 ? 0 : putControl(cx, message, room, used, SCM_RIGHTS, fds);
}

/** One cmsghdr with ints; answers the room that it took. Linux: put_cmsg(). */
function putControl(
  cx: Cx,
  message: Message,
  room: ControlRoom,
  at: number,
  type: number,
  ints: readonly number[],
): number {
  const wanted = HEADER_BYTES + ints.length * 4;
  const left = room.length - at;
  if (room.addr === 0 || left < HEADER_BYTES) {
    message.flags |= MSG_MORE.CTRUNC;
    return 0;
  }
  const length = Math.min(wanted, left);
  if (length < wanted) message.flags |= MSG_MORE.CTRUNC;
  const bytes = new Uint8Array(wanted);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, length, true);
  view.setInt32(8, SOL_SOCKET, true);
  view.setInt32(12, type, true);
  for (const [i, value] of ints.entries()) view.setInt32(HEADER_BYTES + i * 4, value, true);
  if (copyBytesToUser(userMm(cx), room.addr + at, bytes.subarray(0, length)) !== 0) return 0;
  return Math.min(align(length), left);
}
