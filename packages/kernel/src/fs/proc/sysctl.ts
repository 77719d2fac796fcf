/**
 * /proc/sys: kernel parameters (Linux: kernel/sysctl.c, fs/proc/proc_sysctl.c; proc_sys(5)).
 *
 *     registerSysctl(kernel, "kernel/panic", intSysctl([cell(0)]));
 *     registerSysctl(kernel, "net/core/somaxconn", intSysctl([cell(4096)], { min: 0 }));
 *     registerSysctl(kernel, "kernel/version", { mode: 0o444, read: () => "#1\n" });
 *     sysctlInt(kernel, "net/core/somaxconn")                    // what the code that obeys it reads
 *
 * A value is kept once, in its cell: a plain one, or the kernel's data symbol of that name (`symbolInt`), where BPF programs and
 * debuggers find it. Writes are checked as proc_dointvec_minmax does: EINVAL for what is no number or outside of the bounds,
 * and nothing is changed then. Access goes by the mode bits of owner, group and others for uid 0, gid 0 and the rest;
 * capabilities do not override them (sysctl_perm).
 */
import { EACCES, EINVAL, EPERM, type KAddr, type Result } from "@alien-ts/abi";
import { capable } from "../../core/cred.ts";
import type { Cx } from "../../core/cx.ts";
import type { Kernel } from "../../core/kernel.ts";
import type { File } from "../../vfs/file.ts";
import { dir, file, type NodeOptions, type SimpleDir, type SimpleFile } from "../simple.ts";
import { addAt } from "../sysfs/tree.ts";

declare module "../../core/kernel.ts" {
  interface Kernel {
    sysctl: Sysctls;
  }
}

/** Where a number is kept. */
export interface IntCell {
  get(): number;
  set(value: number): void;
}

export interface SysctlRow {
  /** Permission bits, by default 0644, or 0444 without `write`. */
  readonly mode?: number;
  read(cx: Cx): Result<string>;
  /** EINVAL and EPERM change nothing. `position` is the file offset. */
  write?(cx: Cx, text: string, position: number): Result<0>;
  /** The numbers behind the text, for `sysctlInt`. */
  readonly cells?: readonly IntCell[];
}

export interface IntOptions {
  readonly mode?: number;
  readonly min?: number;
  readonly max?: number;
  /** A capability that writing needs besides the mode bits (EPERM). */
  readonly writeCapability?: number;
  /** Further refusal of a value that is in bounds. */
  readonly check?: (cx: Cx, value: number) => Result<0>;
}

const FOLDER_MODE = 0o555;
export const INT_MIN = -0x8000_0000;
export const INT_MAX = 0x7fff_ffff;

export class Sysctls {
  readonly root: SimpleDir = dir({});
  readonly rows = new Map<string, SysctlRow>();
}

/** Adds a parameter under /proc/sys; its directories are made. Throws when the name is taken. */
export function registerSysctl(kernel: Kernel, path: string, row: SysctlRow): void {
  const { root, rows } = kernel.sysctl;
  if (rows.has(path)) throw new Error(`sysctl ${path} registered twice`);
  rows.set(path, row);
  addAt(root, path, nodeOf(row), FOLDER_MODE);
}

/** The value of a parameter of one number. Throws for a name that is not registered. */
export function sysctlInt(kernel: Kernel, path: string): number {
  const cell = kernel.sysctl.rows.get(path)?.cells?.[0];
  if (cell === undefined) throw new Error(`sysctl ${path} is not a number`);
  return cell.get();
}

/** A number kept beside the kernel's memory. */
export function cell(initial: number): IntCell {
  let value = initial;
  return {
    get: () => value,
    set: (next) => {
      value = next;
    },
  };
}

/** The `int` at a data symbol of the kernel's image. */
export function symbolInt({ mem, text }: Kernel, symbol: string): IntCell {
  const addr: KAddr = text.image.addressOf(symbol);
  return { get: () => mem.dv.getInt32(addr, true), set: (value) => mem.dv.setInt32(addr, value, true) };
}

/** One number or several, between blanks (proc_dointvec_minmax; numbers that need more than 32 bits have wider bounds). */
export function intSysctl(cells: readonly IntCell[], options: IntOptions = {}): SysctlRow {
  const { min = INT_MIN, max = INT_MAX, writeCapability, check, mode } = options;
  return {
    ...(mode === undefined ? {} : { mode }),
    cells,
    read: () => `${cells.map((one) => one.get()).join("\t")}\n`,
    write(cx, text, position) {
      if (writeCapability !== undefined && !capable(cx, writeCapability)) return EPERM;
      if (position !== 0 || text === "") return 0;
      const values = parseVector(text, cells.length, min, max);
      if (values === undefined) return EINVAL;
      for (const value of values) {
        const checked = check?.(cx, value) ?? 0;
        if (checked !== 0) return checked;
      }
      for (const [i, value] of values.entries()) cells[i]!.set(value);
      return 0;
    },
  };
}

/** A number that may be read only. */
export const constantSysctl = (get: () => number): SysctlRow => ({
  mode: 0o444,
  cells: [{ get, set: () => undefined }],
  read: () => `${get()}\n`,
});

/** A line of text of its own. */
export function textCell(initial: string): { get(): string; set(text: string): void } {
  let text = initial;
  return {
    get: () => text,
    set(next) {
      text = next;
    },
  };
}

/** A line of text of at most `maxBytes` (proc_dostring): a write ends at its newline. */
export function stringSysctl(
  value: { get(): string; set(text: string): void },
  maxBytes: number,
  options: Pick<IntOptions, "writeCapability" | "mode"> = {},
): SysctlRow {
  const { writeCapability, mode } = options;
  return {
    ...(mode === undefined ? {} : { mode }),
    read: () => `${value.get()}\n`,
    write(cx, text, position) {
      if (writeCapability !== undefined && !capable(cx, writeCapability)) return EPERM;
      const old = value.get();
      if (position > old.length) return 0;
      const line = old.slice(0, position) + text.replace(/[\n\0].*$/s, "");
      value.set(line.slice(0, maxBytes - 1));
      return 0;
    },
  };
}

const NUMBER = /^[ \t\n]*(-?)(0[xX][0-9a-fA-F]+|[0-9]+)(?=[ \t\n]|$)/;

/** Up to `count` numbers from the front; undefined when the first is none, or one of them is out of bounds. */
function parseVector(text: string, count: number, min: number, max: number): number[] | undefined {
  const values: number[] = [];
  let rest = text;
  while (values.length < count && /[^ \t\n]/.test(rest)) {
    const found = NUMBER.exec(rest);
    const value = found === null ? undefined : numberOf(found[2]!);
    if (found === null || value === undefined) return values.length === 0 ? undefined : values;
    const signed = found[1] === "-" ? -value : value;
    if (signed < min || signed > max) return undefined;
    values.push(signed);
    rest = rest.slice(found[0].length);
  }
  return values.length === 0 ? undefined : values;
}

/** As strtoul with base 0: hexadecimal behind 0x, octal behind 0. */
function numberOf(digits: string): number | undefined {
  const isOctal = digits.length > 1 && digits.startsWith("0") && !/^0[xX]/.test(digits);
  if (isOctal && /[89]/.test(digits)) return undefined;
  const value = isOctal ? Number.parseInt(digits, 8) : Number(digits);
  return Number.isSafeInteger(value) ? value : undefined;
}

const SYSCTL_MAY = 7;

/** Linux: test_perm() of fs/proc/proc_sysctl.c. */
function permission(cx: Cx, mode: number, mask: number): Result<0> {
  const { cred } = cx.task;
  const bits = cred.euid === 0 ? mode >> 6 : cred.inGroup(0) ? mode >> 3 : mode;
  return (mask & ~bits & SYSCTL_MAY) === 0 ? 0 : EACCES;
}

function nodeOf(row: SysctlRow): SimpleFile {
  const { write } = row;
  const mode = row.mode ?? (write === undefined ? 0o444 : 0o644);
  const options: NodeOptions = { mode, permission: (cx, mask) => permission(cx, mode, mask) };
  return file((cx) => row.read(cx), {
    ...options,
    ...(write === undefined
      ? {}
      : { write: (cx: Cx, text: string, opened: File) => write.call(row, cx, text, opened.pos) }),
  });
}
