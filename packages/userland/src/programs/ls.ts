/** ls(1): names in columns on a terminal and one per line elsewhere; `-l` as POSIX gives it, times in UTC. */
import { S } from "@alien-ts/abi";
import { readNames } from "../libc/accounts.ts";
import { withDirectory } from "../libc/directories.ts";
import { SystemError } from "../libc/errors.ts";
import { type FileStatus, isDirectory, isSymlink, lstat, readlink, stat } from "../libc/files.ts";
import type { Options } from "../libc/getopt.ts";
import { formatMode } from "../libc/modes.ts";
import type { Process } from "../libc/process.ts";
import { isTerminal, windowSize } from "../libc/terminal.ts";
import { compareBytes, joinPath, widthOf } from "../libc/text.ts";
import { clockGetTime, formatTime } from "../libc/time.ts";
import { complain, tool } from "../libc/tool.ts";
import { humanSize } from "../libc/units.ts";

interface Entry {
  readonly name: string;
  readonly path: string;
  readonly status: FileStatus;
  readonly target: string | undefined;
}

interface Listing {
  readonly process: Process;
  readonly options: Options;
  readonly nowSeconds: number;
  /** 0: one name per line. */
  readonly columns: number;
  readonly colored: boolean;
  failed: boolean;
}

export const ls = tool({
  name: "ls",
  usage: "ls [-1AaCcdFfghHiklLmnopqrRSstuUx] [--color[=WHEN]] [FILE]...",
  usageStatus: 2,
  errorStatus: 2,
  options: "1AaCcdFfghHiklLmnopqrRSstuUx",
  long: {
    all: "a",
    "almost-all": "A",
    classify: "F",
    color: "color?",
    directory: "d",
    "human-readable": "h",
    inode: "i",
    "numeric-uid-gid": "n",
    recursive: "R",
    reverse: "r",
    size: "s",
  },
  main: async (process, { options, operands }) => {
    const listing = await makeListing(process, options);
    const files: Entry[] = [];
    const directories: Entry[] = [];
    for (const operand of operands.length > 0 ? operands : ["."]) {
      const entry = await tryEntry(
        listing,
        operand,
        operand,
        !isLong(options) || options.has("L") || options.has("H"),
      );
      if (entry === undefined) continue;
      (isDirectory(entry.status) && !options.has("d") ? directories : files).push(entry);
    }
    await printEntries(listing, sortEntries(listing, files));
    const isTitled = operands.length > 1 || options.has("R");
    let first = files.length === 0;
    for (const { path } of sortEntries(listing, directories)) {
      await listDirectory(listing, path, { isTitled, isFirst: first });
      first = false;
    }
    return listing.failed ? 2 : 0;
  },
});

async function makeListing(process: Process, options: Options): Promise<Listing> {
  const onTerminal = await isTerminal(process, 1);
  const form = options.last("1", "C", "x", "l", "m", "g", "n", "o");
  const inColumns = form === undefined ? onTerminal : "Cxm".includes(form);
  const when = options.value("color");
  return {
    process,
    options,
    nowSeconds: (await clockGetTime(process)).seconds,
    columns: inColumns ? (await windowSize(process, 1)).columns : 0,
    colored: when !== undefined && when !== "never" && (when !== "auto" || onTerminal),
    failed: false,
  };
}

const isLong = (options: Options): boolean => ["l", "g", "n", "o"].some((letter) => options.has(letter));

async function tryEntry(
  listing: Listing,
  path: string,
  name: string,
  follow: boolean,
): Promise<Entry | undefined> {
  const { process } = listing;
  try {
    const own = await lstat(process, path);
    const target = isSymlink(own) ? await readlink(process, path) : undefined;
    const status = target !== undefined && follow ? await stat(process, path).catch(() => own) : own;
    return { name, path, status, target: isSymlink(status) ? target : undefined };
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    listing.failed = true;
    await complain(process, "ls", `cannot access '${path}': ${error.errno.message}`);
    return undefined;
  }
}

async function listDirectory(
  listing: Listing,
  path: string,
  place: { readonly isTitled: boolean; readonly isFirst: boolean },
): Promise<void> {
  const { process, options } = listing;
  const entries: Entry[] = [];
  try {
    await withDirectory(process, path, async (found) => {
      for (const { name } of found) {
        if (!isShown(options, name)) continue;
        const entry = await tryEntry(listing, joinPath(path, name), name, options.has("L"));
        if (entry !== undefined) entries.push(entry);
      }
    });
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    listing.failed = true;
    return complain(process, "ls", `cannot open directory '${path}': ${error.errno.message}`);
  }
  const sorted = sortEntries(listing, entries);
  if (!place.isFirst) await process.stdout.write("\n");
  if (place.isTitled) await process.stdout.write(`${path}:\n`);
  if (isLong(options) || options.has("s")) {
    const blocks = sorted.reduce((sum, { status }) => sum + status.st_blocks, 0) / 2;
    await process.stdout.write(`total ${options.has("h") ? humanSize(blocks * 1024) : blocks}\n`);
  }
  await printEntries(listing, sorted);
  if (!options.has("R")) return;
  for (const { name, path: inner, status } of sorted) {
    if (!isDirectory(status) || name === "." || name === "..") continue;
    await listDirectory(listing, inner, { isTitled: true, isFirst: false });
  }
}

function isShown(options: Options, name: string): boolean {
  if (!name.startsWith(".")) return true;
  if (options.has("a") || options.has("f")) return true;
  return options.has("A") && name !== "." && name !== "..";
}

function sortEntries({ options }: Listing, entries: readonly Entry[]): Entry[] {
  if (options.has("f") || options.has("U")) return [...entries];
  const time = ({ status }: Entry): number =>
    options.has("u")
      ? status.st_atime + status.st_atime_nsec / 1e9
      : options.has("c")
        ? status.st_ctime + status.st_ctime_nsec / 1e9
        : status.st_mtime + status.st_mtime_nsec / 1e9;
  const byName = (a: Entry, b: Entry): number => compareBytes(a.name, b.name);
  const key = options.last("S", "t");
  const compare = (a: Entry, b: Entry): number => {
    if (key === "S") return b.status.st_size - a.status.st_size || byName(a, b);
    return key === "t" ? time(b) - time(a) || byName(a, b) : byName(a, b);
  };
  const sorted = [...entries].sort(compare);
  return options.has("r") ? sorted.reverse() : sorted;
}

const SIX_MONTHS = 15_778_476;

function decorate(listing: Listing, { name, status }: Entry): string {
  const { options, colored } = listing;
  const shown = options.has("q") ? name.replace(/[^ -~]/g, "?") : name;
  const suffix = options.has("F") ? typeSuffix(status) : options.has("p") && isDirectory(status) ? "/" : "";
  const color = colored ? colorOf(status) : "";
  return (color === "" ? shown : `\x1b[${color}m${shown}\x1b[0m`) + suffix;
}

function typeSuffix({ st_mode }: FileStatus): string {
  switch (st_mode & S.IFMT) {
    case S.IFDIR:
      return "/";
    case S.IFLNK:
      return "@";
    case S.IFIFO:
      return "|";
    case S.IFSOCK:
      return "=";
    default:
      return (st_mode & 0o111) === 0 ? "" : "*";
  }
}

function colorOf({ st_mode }: FileStatus): string {
  switch (st_mode & S.IFMT) {
    case S.IFDIR:
      return "01;34";
    case S.IFLNK:
      return "01;36";
    case S.IFIFO:
      return "33";
    case S.IFSOCK:
      return "01;35";
    case S.IFCHR:
    case S.IFBLK:
      return "01;33";
    default:
      return (st_mode & 0o111) === 0 ? "" : "01;32";
  }
}

async function printEntries(listing: Listing, entries: readonly Entry[]): Promise<void> {
  if (entries.length === 0) return;
  const { process, options } = listing;
  if (isLong(options)) return printLong(listing, entries);
  const cells = entries.map((entry) => prefixOf(listing, entry) + decorate(listing, entry));
  if (options.has("m") && listing.columns > 0) return process.stdout.write(`${cells.join(", ")}\n`);
  if (listing.columns === 0) return process.stdout.write(`${cells.join("\n")}\n`);
  // Escape sequences take no columns.
  const widths = entries.map((entry, i) => (listing.colored ? widthOf(entry.name) : widthOf(cells[i]!)));
  const across = options.last("C", "x") === "x";
  return process.stdout.write(formatColumns(cells, widths, { total: listing.columns, across }));
}

/** Inode and blocks before the name, `-i` and `-s`. */
function prefixOf({ options }: Listing, { status }: Entry): string {
  const inode = options.has("i") ? `${status.st_ino} ` : "";
  const blocks = options.has("s") ? `${status.st_blocks / 2} ` : "";
  return inode + blocks;
}

/** As few rows as fit, filled down the columns (or across). */
function formatColumns(
  cells: readonly string[],
  widths: readonly number[],
  { total, across }: { readonly total: number; readonly across: boolean },
): string {
  for (let rows = 1; ; rows++) {
    const columns = Math.ceil(cells.length / rows);
    const index = (row: number, column: number): number =>
      across ? row * columns + column : column * rows + row;
    const columnWidths = Array.from({ length: columns }, (_, column) =>
      Math.max(...Array.from({ length: rows }, (_, row) => widths[index(row, column)] ?? 0)),
    );
    const width = columnWidths.reduce((sum, each) => sum + each + 2, -2);
    if (width > total && rows < cells.length) continue;
    let text = "";
    for (let row = 0; row < rows; row++) {
      let line = "";
      let gap = 0;
      for (let column = 0; column < columns; column++) {
        const at = index(row, column);
        if (at >= cells.length) continue;
        line += " ".repeat(gap) + cells[at]!;
        gap = columnWidths[column]! - widths[at]! + 2;
      }
      text += `${line}\n`;
    }
    return text;
  }
}

async function printLong(listing: Listing, entries: readonly Entry[]): Promise<void> {
  const { process, options } = listing;
  const names = options.has("n") ? undefined : await readNames(process);
  const devices = deviceWidths(entries);
  const rows = entries.map((entry) => {
    const { status } = entry;
    return {
      links: String(status.st_nlink),
      owner: options.has("g") ? "" : (names?.user(status.st_uid) ?? String(status.st_uid)),
      group: options.has("o") ? "" : (names?.group(status.st_gid) ?? String(status.st_gid)),
      size: sizeOf(options, status, devices),
      entry,
    };
  });
  const width = (column: "links" | "owner" | "group" | "size"): number =>
    Math.max(...rows.map((row) => row[column].length));
  const [links, owner, group, size] = [width("links"), width("owner"), width("group"), width("size")];
  const inodeWidth = Math.max(...entries.map(({ status }) => String(status.st_ino).length));
  for (const row of rows) {
    const { status, target } = row.entry;
    const inode = options.has("i") ? `${String(status.st_ino).padStart(inodeWidth)} ` : "";
    const people = [
      options.has("g") ? undefined : row.owner.padEnd(owner),
      options.has("o") ? undefined : row.group.padEnd(group),
    ];
    const fields = [
      formatMode(status.st_mode),
      row.links.padStart(links),
      ...people.filter((text) => text !== undefined),
      row.size.padStart(size),
      timeOf(listing, status),
      decorate(listing, row.entry) + (target === undefined ? "" : ` -> ${target}`),
    ];
    await listing.process.stdout.write(`${inode}${fields.join(" ")}\n`);
  }
}

const isDevice = ({ st_mode }: FileStatus): boolean =>
  (st_mode & S.IFMT) === S.IFCHR || (st_mode & S.IFMT) === S.IFBLK;

interface DeviceWidths {
  readonly major: number;
  readonly minor: number;
}

/** Device numbers have two columns, each as wide as its widest. */
function deviceWidths(entries: readonly Entry[]): DeviceWidths {
  const devices = entries.filter(({ status }) => isDevice(status)).map(({ status }) => status.st_rdev);
  const widest = (part: (device: number) => number): number =>
    Math.max(0, ...devices.map((device) => String(part(device)).length));
  return { major: widest(major), minor: widest(minor) };
}

function sizeOf(options: Options, status: FileStatus, widths: DeviceWidths): string {
  if (isDevice(status)) {
    const first = String(major(status.st_rdev)).padStart(widths.major);
    return `${first}, ${String(minor(status.st_rdev)).padStart(widths.minor)}`;
  }
  return options.has("h") ? humanSize(status.st_size) : String(status.st_size);
}

/** The encoding of include/linux/kdev_t.h (new_encode_dev). */
export const major = (device: number): number => (device >>> 8) & 0xfff;
export const minor = (device: number): number => (device & 0xff) | ((device >>> 12) & 0xfff00);

function timeOf({ options, nowSeconds }: Listing, status: FileStatus): string {
  const seconds = options.has("u") ? status.st_atime : options.has("c") ? status.st_ctime : status.st_mtime;
  const isRecent = seconds <= nowSeconds + 60 && seconds > nowSeconds - SIX_MONTHS;
  return formatTime(isRecent ? "%b %e %H:%M" : "%b %e  %Y", { seconds, nanoseconds: 0 });
}
