/** df(1), du(1). */
import { SystemError } from "../libc/errors.ts";
import { withDirectory } from "../libc/directories.ts";
import { type FileStatus, fileSystemStatus, isDirectory, lstat, readFile } from "../libc/files.ts";
import type { Options } from "../libc/getopt.ts";
import type { Process } from "../libc/process.ts";
import { joinPath, linesOf } from "../libc/text.ts";
import { complain, tool } from "../libc/tool.ts";
import { humanSize } from "../libc/units.ts";

interface Mounted {
  readonly source: string;
  readonly target: string;
  readonly type: string;
}

/** Blocks as `-h`, `-k` or `-P` show them. */
const formatSize = (options: Options, bytes: number): string =>
  options.has("h") ? humanSize(bytes) : String(Math.ceil(bytes / 1024));

async function readMounts(process: Process): Promise<Mounted[]> {
  return linesOf(await readFile(process, "/proc/mounts")).map((line) => {
    const [source = "", target = "", type = ""] = line.split(" ");
    return { source, target, type };
  });
}

/** The mount that a path lies on: the longest target that is a prefix of it. */
function mountOf(mounts: readonly Mounted[], path: string): Mounted | undefined {
  const holds = ({ target }: Mounted): boolean =>
    target === "/" || path === target || path.startsWith(`${target}/`);
  return mounts.filter((mount) => holds(mount)).sort((a, b) => b.target.length - a.target.length)[0];
}

export const df = tool({
  name: "df",
  usage: "df [-ahkPT] [FILE]...",
  options: "ahkPT",
  long: { all: "a", "human-readable": "h", portability: "P", "print-type": "T" },
  main: async (process, { options, operands }) => {
    const mounts = await readMounts(process);
    const chosen = operands.length > 0 ? operands.map((path) => mountOf(mounts, path)) : mounts;
    const size = options.has("h") ? "Size" : options.has("P") ? "1024-blocks" : "1K-blocks";
    const titles = [
      "Filesystem",
      "Type",
      size,
      "Used",
      "Available",
      options.has("P") ? "Capacity" : "Use%",
      "Mounted on",
    ];
    const rows: string[][] = [titles];
    let failures = 0;
    for (const mount of chosen) {
      if (mount === undefined) continue;
      try {
        const status = await fileSystemStatus(process, mount.target);
        if (status.f_blocks === 0 && !options.has("a") && operands.length === 0) continue;
        const total = status.f_blocks * status.f_bsize;
        const used = (status.f_blocks - status.f_bfree) * status.f_bsize;
        const available = status.f_bavail * status.f_bsize;
        const share = used + available === 0 ? "-" : `${Math.ceil((used / (used + available)) * 100)}%`;
        const sizes = [total, used, available].map((bytes) => formatSize(options, bytes));
        rows.push([mount.source, mount.type, ...sizes, share, mount.target]);
      } catch (error) {
        if (!(error instanceof SystemError) || error.call === "write") throw error;
        await complain(process, "df", error.message);
        failures += 1;
      }
    }
    await printColumns(
      process,
      options.has("T") ? rows : rows.map((row) => row.toSpliced(1, 1)),
      options.has("T") ? 2 : 1,
    );
    return failures > 0 ? 1 : 0;
  },
});

/** The first `left` columns and the last are left-aligned, the others right-aligned. */
async function printColumns(
  process: Process,
  rows: readonly (readonly string[])[],
  left: number,
): Promise<void> {
  const count = rows[0]?.length ?? 0;
  const widths = Array.from({ length: count }, (_, i) => Math.max(...rows.map((row) => row[i]!.length)));
  for (const row of rows) {
    const cells = row.map((cell, i) => {
      if (i === count - 1) return cell;
      return i < left ? cell.padEnd(Math.max(widths[i]!, 14)) : cell.padStart(widths[i]!);
    });
    await process.stdout.writeLine(cells.join(" "));
  }
}

export const du = tool({
  name: "du",
  usage: "du [-abchkLsx] [-d DEPTH] [FILE]...",
  options: "abcd:hksx",
  long: {
    all: "a",
    total: "c",
    "max-depth": "d",
    "human-readable": "h",
    summarize: "s",
    "one-file-system": "x",
    bytes: "b",
  },
  main: async (process, { options, operands }) => {
    const usage = new Usage(process, options);
    let total = 0;
    for (const path of operands.length > 0 ? operands : ["."]) total += await usage.measureOperand(path);
    if (options.has("c")) await usage.print(total, "total");
    return usage.failed ? 1 : 0;
  },
});

class Usage {
  readonly #process: Process;
  readonly #options: Options;
  readonly #maxDepth: number;
  /** Files with several links count once. */
  readonly #seen = new Set<string>();
  failed = false;

  constructor(process: Process, options: Options) {
    this.#process = process;
    this.#options = options;
    this.#maxDepth = options.has("s") ? 0 : Number(options.value("d") ?? Number.POSITIVE_INFINITY);
  }

  print(bytes: number, path: string): Promise<void> {
    const text = this.#options.has("b") ? String(bytes) : formatSize(this.#options, bytes);
    return this.#process.stdout.writeLine(`${text}\t${path}`);
  }

  async measureOperand(path: string): Promise<number> {
    return this.#measure(path, { depth: 0, device: undefined });
  }

  async #measure(
    path: string,
    place: { readonly depth: number; readonly device: number | undefined },
  ): Promise<number> {
    try {
      const status = await lstat(this.#process, path);
      if (this.#options.has("x") && place.device !== undefined && status.st_dev !== place.device) return 0;
      let bytes = this.#sizeOf(status);
      if (isDirectory(status))
        bytes += await this.#measureInside(path, { depth: place.depth + 1, device: status.st_dev });
      const isShown = isDirectory(status) || this.#options.has("a") || place.depth === 0;
      if (isShown && place.depth <= this.#maxDepth) await this.print(bytes, path);
      return bytes;
    } catch (error) {
      if (!(error instanceof SystemError) || error.call === "write") throw error;
      this.failed = true;
      await complain(this.#process, "du", `cannot access '${error.path ?? path}': ${error.errno.message}`);
      return 0;
    }
  }

  #measureInside(path: string, place: { readonly depth: number; readonly device: number }): Promise<number> {
    return withDirectory(this.#process, path, async (entries) => {
      let bytes = 0;
      for (const { name } of entries) {
        if (name !== "." && name !== "..") bytes += await this.#measure(joinPath(path, name), place);
      }
      return bytes;
    });
  }

  #sizeOf(status: FileStatus): number {
    const key = `${status.st_dev}:${status.st_ino}`;
    if (status.st_nlink > 1 && !isDirectory(status)) {
      if (this.#seen.has(key)) return 0;
      this.#seen.add(key);
    }
    return this.#options.has("b") ? status.st_size : status.st_blocks * 512;
  }
}
