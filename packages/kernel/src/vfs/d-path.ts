/** Names of places, as getcwd, /proc/<pid>/fd and /proc/mounts print them. Linux: fs/d_path.c. Byte strings. */
import type { Cx } from "../core/cx.ts";
import type { Dentry } from "./dentry.ts";
import type { PathRef } from "./mount.ts";

/** The path from the task's root, " (deleted)" behind a removed name. Outside of that root, the path from the top. */
export function d_path(cx: Cx, place: PathRef): string {
  const { dentry } = place;
  const own = dentry.d_op?.d_dname;
  if (own !== undefined && (!dentry.isRoot || dentry !== place.mnt.root)) return own(dentry);
  const { text } = pathFrom(place, cx.task.fs.root);
  return isUnlinked(dentry) ? `${text} (deleted)` : text;
}

/** Whether the name was removed (d_unlinked). */
export const isUnlinked = (dentry: Dentry): boolean => !dentry.isHashed && !dentry.isRoot;

/** The path from `root`, and whether `root` lies on the way. Linux: prepend_path(). */
export function pathFrom(
  place: PathRef,
  root: PathRef,
): { readonly text: string; readonly isReachable: boolean } {
  let { mnt, dentry } = place;
  let text = "";
  while (mnt !== root.mnt || dentry !== root.dentry) {
    if (dentry === mnt.root || dentry.isRoot) {
      if (mnt.parent === mnt) return { text: text === "" ? "/" : text, isReachable: false };
      dentry = mnt.mountpoint;
      mnt = mnt.parent;
      continue;
    }
    text = `/${dentry.name}${text}`;
    dentry = dentry.parent;
  }
  return { text: text === "" ? "/" : text, isReachable: true };
}

/** The path within its file system (dentry_path_raw): what /proc/<pid>/mountinfo shows as root. */
export function dentryPath(dentry: Dentry): string {
  let text = "";
  for (let at = dentry; !at.isRoot; at = at.parent) text = `/${at.name}${text}`;
  return text === "" ? "/" : text;
}
