/**
 * ns/ of a task: one magic link per kind of namespace, to an inode of nsfs whose number says which namespace it is (Linux:
 * fs/nsfs.c). There is one namespace of each kind, Linux's initial ones, with their fixed numbers.
 */
import { DT, isErr, type Result, S } from "@alien-ts/abi";
import type { Cx } from "../../core/cx.ts";
import { type Kernel, KernelBug } from "../../core/kernel.ts";
import { mountPseudoFs } from "../../ipc/pseudo-fs.ts";
import { d_alloc_root, type Dentry } from "../../vfs/dentry.ts";
import type { FileOperations } from "../../vfs/file.ts";
import { new_inode } from "../../vfs/inode.ts";
import type { Mount } from "../../vfs/mount.ts";
import { dynamicDir } from "../simple.ts";
import { magicLink } from "./task-fd.ts";
import type { PidEntry, Target } from "./target.ts";

const NSFS_MAGIC = 0x6e73_6673;

/** Numbers of the initial namespaces (include/uapi/linux/nsfs.h, enum init_ns_ino). */
const INIT_INO = {
  cgroup: 0xefff_fffb,
  ipc: 0xefff_ffff,
  mnt: 0xefff_fff8,
  net: 0xefff_fff9,
  pid: 0xefff_fffc,
  time: 0xefff_fffa,
  user: 0xefff_fffd,
  uts: 0xefff_fffe,
} as const;
type NamespaceKind = keyof typeof INIT_INO;

/** Names in ns/, and the namespace that each shows. */
const LINKS: Readonly<Record<string, NamespaceKind>> = {
  cgroup: "cgroup",
  ipc: "ipc",
  mnt: "mnt",
  net: "net",
  pid: "pid",
  pid_for_children: "pid",
  time: "time",
  time_for_children: "time",
  user: "user",
  uts: "uts",
};

/** A namespace file is only held and compared: it is not read. */
const ns_file_operations: FileOperations = { name: "ns_file_operations" };

export class Namespaces {
  readonly mnt: Mount;
  readonly dentries: ReadonlyMap<NamespaceKind, Dentry>;

  constructor(cx: Cx) {
    this.mnt = mountPseudoFs(cx, { name: "nsfs", magic: NSFS_MAGIC });
    this.dentries = new Map(
      (Object.keys(INIT_INO) as NamespaceKind[]).map((kind) => [kind, makeNamespace(cx, this.mnt, kind)]),
    );
  }
}

function makeNamespace(cx: Cx, mnt: Mount, kind: NamespaceKind): Dentry {
  const inode = new_inode(mnt.sb, {
    mode: S.IFREG | 0o444,
    ino: INIT_INO[kind],
    i_op: {},
    i_fop: ns_file_operations,
    data: kind,
  });
  if (isErr(inode)) throw new KernelBug("no memory for nsfs");
  const name = `${kind}:[${INIT_INO[kind]}]`;
  const dentry: Result<Dentry> = d_alloc_root(cx, mnt.sb, inode, kind, { d_dname: () => name });
  if (isErr(dentry)) throw new KernelBug("no memory for nsfs");
  return dentry;
}

function linkOf(kernel: Kernel, target: Target, name: string): ReturnType<typeof magicLink> | null {
  const kind = Object.hasOwn(LINKS, name) ? LINKS[name] : undefined;
  if (kind === undefined) return null;
  const { mnt, dentries } = kernel.procfs.namespaces;
  const dentry = dentries.get(kind);
  return dentry === undefined ? null : magicLink(target, () => ({ mnt, dentry }));
}

export const NS_ENTRY: PidEntry = {
  name: "ns",
  make: (target) =>
    dynamicDir(
      {
        lookup: (cx, name) => linkOf(cx.kernel, target, name),
        list: () => Object.keys(LINKS).map((name) => ({ name, type: DT.LNK })),
      },
      {},
      { ...target.nodeOptions, mode: 0o511 },
    ),
};
