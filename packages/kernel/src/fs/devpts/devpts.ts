/**
 * devpts: /dev/pts, the slaves of pseudo-terminals (Linux: fs/devpts/inode.c). One instance for all mounts. A slave's node is
 * owned by who opened ptmx, with mode 0620, as distributions mount it; grantpt(3) has nothing to do.
 */
import { EIO, FS_MAGIC, isErr, type Result, S } from "@alien-ts/abi";
import type { Cx } from "../../core/cx.ts";
import { KernelBug } from "../../core/kernel.ts";
import { isBlocking } from "../../core/row.ts";
import { def_chr_fops, MKDEV } from "../../vfs/char-dev.ts";
import { dput } from "../../vfs/dentry.ts";
import type { File } from "../../vfs/file.ts";
import { alloc_vfsmnt } from "../../vfs/mount.ts";
import { lookupDentry } from "../../vfs/namei.ts";
import { dentry_open } from "../../vfs/open.ts";
import { register_filesystem } from "../../vfs/vfs.ts";
import { dir, simpleFileSystem, SimpleSpecial } from "../simple.ts";

const SLAVE_MODE = 0o620;
/** Group tty, as in every distribution. */
const TTY_GID = 5;

/** At boot, behind initIpc. Mount type "devpts" at /dev/pts afterwards. */
export function initDevpts(cx: Cx): void {
  const { kernel } = cx;
  const ptmx = new SimpleSpecial(S.IFCHR, def_chr_fops, { mode: 0, rdev: MKDEV(5, 2) });
  const root = dir({ ptmx }, { mode: 0o755 });
  const show_options = (): string => `,gid=${TTY_GID},mode=620,ptmxmode=000`;
  const type = simpleFileSystem({ name: "devpts", magic: FS_MAGIC.DEVPTS, root, show_options });
  register_filesystem(kernel, type);
  const sb = type.mount(cx, { type, flags: 0, source: "devpts", options: "" });
  const mnt = isErr(sb) ? sb : alloc_vfsmnt(sb, sb.root, "devpts", 0);
  if (isErr(sb) || isErr(mnt)) throw new KernelBug("no memory for devpts");
  kernel.devpts = {
    add(context, index, device) {
      const uid = context.task.cred.fsuid;
      root.add(
        String(index),
        new SimpleSpecial(S.IFCHR, def_chr_fops, { mode: SLAVE_MODE, uid, gid: TTY_GID, rdev: device }),
      );
    },
    remove(_context, index) {
      root.remove(String(index));
    },
    open(context, index, flags): Result<File> {
      const dentry = lookupDentry(context, sb.root, String(index));
      if (isErr(dentry)) return dentry;
      const file = dentry.inode === null ? EIO : dentry_open(context, { mnt, dentry }, flags);
      dput(context, dentry);
      return isBlocking(file) ? EIO : (file as Result<File>);
    },
  };
}
