/**
 * fd/ and fdinfo/ of a task (Linux: fs/proc/fd.c). fd/N is a magic link: opening it opens what the descriptor stands for,
 * its text is the path or the kind ("pipe:[12]", "anon_inode:bpf-map"). fdinfo/N ends with the lines of the file's own
 * `show_fdinfo`.
 */
import { CAP, DT, EACCES, ENOENT, isErr, O, type Result } from "@alien-ts/abi";
import type { Cx } from "../../core/cx.ts";
import { d_path } from "../../vfs/d-path.ts";
import type { File } from "../../vfs/file.ts";
import { MAY } from "../../vfs/inode.ts";
import { path_get, type PathRef } from "../../vfs/mount.ts";
import { dynamicDir, file, type SimpleNode, symlink } from "../simple.ts";
import { mayRead } from "./access.ts";
import type { PidEntry, Target } from "./target.ts";

/** A decimal number without leading zeros, as names of tasks and descriptors are (name_to_int). */
export function numberOf(name: string): number | undefined {
  return /^(0|[1-9][0-9]{0,8})$/.test(name) ? Number(name) : undefined;
}

const fileOf = (target: Target, name: string): File | undefined => {
  const fd = numberOf(name);
  return fd === undefined ? undefined : target.files?.get(fd);
};

const descriptors = (target: Target, type: number): { readonly name: string; readonly type: number }[] =>
  target.files === undefined ? [] : [...target.files.entries()].map(([fd]) => ({ name: String(fd), type }));

/** The place itself, for whoever may look into the task (proc_pid_get_link). */
export function magicLink(
  target: Target,
  place: () => PathRef | undefined,
  mode = 0o777,
  isValid: () => boolean = () => target.isCurrent,
): SimpleNode {
  const find = (cx: Cx): Result<PathRef> => {
    if (!target.isAlive) return ENOENT;
    if (!mayRead(cx, target.task)) return EACCES;
    return place() ?? ENOENT;
  };
  return symlink(
    (cx) => {
      const found = find(cx);
      return isErr(found) ? found : path_get({ mnt: found.mnt, dentry: found.dentry });
    },
    (cx) => {
      const found = find(cx);
      return isErr(found) ? found : d_path(cx, found);
    },
    { ...target.nodeOptions, mode, isValid },
  );
}

/** The link's permissions say how the file is open. */
const linkMode = (opened: File): number => (opened.canRead ? 0o500 : 0) | (opened.canWrite ? 0o300 : 0);

function linkOf(target: Target, name: string): SimpleNode | null {
  const opened = fileOf(target, name);
  if (opened === undefined) return null;
  const mode = linkMode(opened);
  const isValid = (): boolean => {
    const now = target.isCurrent ? fileOf(target, name) : undefined;
    return now !== undefined && linkMode(now) === mode;
  };
  return magicLink(target, () => fileOf(target, name)?.path, mode, isValid);
}

/** Linux: seq_show() of fs/proc/fd.c. */
function showFdInfo(cx: Cx, target: Target, name: string): Result<string> {
  const opened = fileOf(target, name);
  if (opened === undefined) return ENOENT;
  const isCloexec = target.files?.isCloexec(Number(name)) === true;
  const flags = (opened.flags & ~O.CLOEXEC) | (isCloexec ? O.CLOEXEC : 0);
  const own = opened.f_op.show_fdinfo?.(cx, opened) ?? "";
  return `pos:\t${opened.pos}\nflags:\t0${flags.toString(8)}\nmnt_id:\t${opened.path.mnt.id}\nino:\t${opened.inode.ino}\n${own}`;
}

/** fd/ is for its owner, and for the process itself whatever its mode says (proc_fd_permission). */
function fdPermission(cx: Cx, target: Target, mask: number): Result<0> {
  const { cred, tgid } = cx.task;
  const wanted = mask & (MAY.READ | MAY.WRITE | MAY.EXEC);
  const isOwner = cred.fsuid === target.nodeOptions.uid && (wanted & MAY.WRITE) === 0;
  const overrides =
    cred.has(CAP.DAC_OVERRIDE) || (cred.has(CAP.DAC_READ_SEARCH) && (wanted & MAY.WRITE) === 0);
  return isOwner || overrides || tgid === target.task.tgid ? 0 : EACCES;
}

const fdInfoPermission = (cx: Cx, target: Target): Result<0> =>
  target.isAlive && mayRead(cx, target.task) ? 0 : EACCES;

export const FD_ENTRIES: readonly PidEntry[] = [
  {
    name: "fd",
    make: (target) =>
      dynamicDir(
        { lookup: (_cx, name) => linkOf(target, name), list: () => descriptors(target, DT.LNK) },
        {},
        { ...target.nodeOptions, mode: 0o500, permission: (cx, mask) => fdPermission(cx, target, mask) },
      ),
  },
  {
    name: "fdinfo",
    make: (target) =>
      dynamicDir(
        {
          lookup: (_cx, name) =>
            fileOf(target, name) === undefined
              ? null
              : file((cx) => showFdInfo(cx, target, name), {
                  ...target.nodeOptions,
                  isValid: () => target.isCurrent && fileOf(target, name) !== undefined,
                }),
          list: () => descriptors(target, DT.REG),
        },
        {},
        { ...target.nodeOptions, mode: 0o555, permission: (cx) => fdInfoPermission(cx, target) },
      ),
  },
];
