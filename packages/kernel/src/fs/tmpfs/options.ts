/** The mount options of tmpfs, and what an instance counts (Linux: mm/shmem.c, tmpfs(5)). */
import { EINVAL, PAGE_SIZE, type Result } from "@alien-ts/abi";
import type { Kernel } from "../../core/kernel.ts";

/** One instance: limits and use. */
export class TmpfsInfo {
  maxPages: number;
  usedPages = 0;
  maxInodes: number;
  usedInodes = 0;
  mode: number;
  uid: number;
  gid: number;
  /** What the user set, for /proc/mounts. */
  readonly #shown = new Set<string>();

  constructor(kernel: Kernel) {
    const half = Math.floor(kernel.pages.totalPages / 2);
    this.maxPages = half;
    this.maxInodes = half;
    this.mode = 0o1777;
    this.uid = 0;
    this.gid = 0;
  }

  /** Applies "size=64k,mode=755". EINVAL for a word that tmpfs does not know, or a limit below what is used. */
  apply(kernel: Kernel, options: string): Result<0> {
    for (const word of options.split(",")) {
      if (word === "") continue;
      const [key = "", value] = word.split("=", 2);
      if (!this.#set(kernel, key, value)) return EINVAL;
    }
    return 0;
  }

  #set(kernel: Kernel, key: string, value: string | undefined): boolean {
    switch (key) {
      case "size": {
        const bytes = parseSize(value, kernel.pages.totalPages * PAGE_SIZE);
        return (
          bytes !== undefined && this.#limitPages(bytes === 0 ? undefined : Math.ceil(bytes / PAGE_SIZE), key)
        );
      }
      case "nr_blocks": {
        const pages = parseSize(value, 0);
        return pages !== undefined && this.#limitPages(pages === 0 ? undefined : pages, "size");
      }
      case "nr_inodes": {
        const count = parseSize(value, 0);
        const limit = count === 0 ? Number.POSITIVE_INFINITY : (count ?? -1);
        if (limit < this.usedInodes) return false;
        this.maxInodes = limit;
        this.#shown.add(key);
        return true;
      }
      case "mode":
        return this.#number(key, value, 8, (mode) => (this.mode = mode & 0o7777));
      case "uid":
        return this.#number(key, value, 10, (uid) => (this.uid = uid));
      case "gid":
        return this.#number(key, value, 10, (gid) => (this.gid = gid));
      case "inode32":
      case "inode64":
        return value === undefined;
      case "huge":
        return value === "never";
      default:
        return false;
    }
  }

  #limitPages(pages: number | undefined, key: string): boolean {
    const limit = pages ?? Number.POSITIVE_INFINITY;
    if (limit < this.usedPages) return false;
    this.maxPages = limit;
    this.#shown.add(key);
    return true;
  }

  #number(key: string, value: string | undefined, radix: 8 | 10, set: (n: number) => void): boolean {
    if (value === undefined || !(radix === 8 ? /^[0-7]+$/ : /^\d+$/).test(value)) return false;
    set(Number.parseInt(value, radix));
    this.#shown.add(key);
    return true;
  }

  /** For /proc/mounts, each option with its comma (shmem_show_options). */
  show(): string {
    const has = (key: string): boolean => this.#shown.has(key);
    return [
      has("size") && Number.isFinite(this.maxPages) ? `,size=${(this.maxPages * PAGE_SIZE) / 1024}k` : "",
      has("nr_inodes") && Number.isFinite(this.maxInodes) ? `,nr_inodes=${this.maxInodes}` : "",
      has("mode") && this.mode !== 0o1777 ? `,mode=${this.mode.toString(8).padStart(3, "0")}` : "",
      this.uid === 0 ? "" : `,uid=${this.uid}`,
      this.gid === 0 ? "" : `,gid=${this.gid}`,
    ].join("");
  }
}

const UNITS: Readonly<Record<string, number>> = { "": 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40 };

/** "64k", "50%" of `whole` (memparse). Undefined when it is no size. */
function parseSize(text: string | undefined, whole: number): number | undefined {
  const found = /^(\d+)([kmgt%]?)$/i.exec(text ?? "");
  if (found === null) return undefined;
  const unit = found[2]!.toLowerCase();
  const count = Number(found[1]);
  if (unit === "%") return whole === 0 ? undefined : Math.floor((whole * count) / 100);
  return count * UNITS[unit]!;
}
