/** What tmpfs keeps with an inode: a directory's entries by offset, a link's target, extended attributes, seals. */
import { F_SEAL } from "@alien-ts/abi";
import { KernelBug } from "../../core/kernel.ts";
import type { Dentry } from "../../vfs/dentry.ts";
import type { Inode } from "../../vfs/inode.ts";

/** Offsets below stand for `.` and `..` (fs/libfs.c, DIR_OFFSET_MIN). */
const DIR_OFFSET_MIN = 3;

/** Entries by their stable offset: an entry keeps its place while others come and go, so that getdents never repeats or skips. */
export class TmpDir {
  /** Ascending: offsets only grow, and one that takes another's place takes its key. */
  readonly entries = new Map<number, Dentry>();
  readonly #offsets = new Map<Dentry, number>();
  next = DIR_OFFSET_MIN;

  get isEmpty(): boolean {
    return this.entries.size === 0;
  }

  add(dentry: Dentry): void {
    const offset = this.next;
    this.next += 1;
    this.entries.set(offset, dentry);
    this.#offsets.set(dentry, offset);
  }

  remove(dentry: Dentry): void {
    const offset = this.#offsets.get(dentry);
    if (offset === undefined) return;
    this.#offsets.delete(dentry);
    this.entries.delete(offset);
  }

  /** Two entries of this directory change places. */
  swap(a: Dentry, b: Dentry): void {
    const [atA, atB] = [this.#offsets.get(a), this.#offsets.get(b)];
    if (atA === undefined || atB === undefined) return;
    this.entries.set(atA, b);
    this.entries.set(atB, a);
    this.#offsets.set(a, atB);
    this.#offsets.set(b, atA);
  }

  /** `dentry` takes the place of `old` (a rename over a name, an exchange). */
  replace(old: Dentry, dentry: Dentry): void {
    const offset = this.#offsets.get(old);
    if (offset === undefined) {
      this.add(dentry);
      return;
    }
    this.#offsets.delete(old);
    this.entries.set(offset, dentry);
    this.#offsets.set(dentry, offset);
  }
}

export class TmpNode {
  dir: TmpDir | undefined = undefined;
  /** Of a symbolic link. */
  target: string | undefined = undefined;
  xattrs: Map<string, Uint8Array> | undefined = undefined;
  /** F_SEAL; only a memfd made with MFD_ALLOW_SEALING lacks F_SEAL_SEAL. */
  seals: number = F_SEAL.SEAL;
}

export function nodeOf(inode: Inode): TmpNode {
  const node = inode.data;
  if (!(node instanceof TmpNode)) throw new KernelBug(`inode ${inode.ino} is not of tmpfs`);
  return node;
}
