/** File modes as text: octal and symbolic changes (chmod(1)), and the ten characters of `ls -l`. */
import { S } from "@alien-ts/abi";

export interface ModeContext {
  readonly mode: number;
  readonly isDirectory: boolean;
  readonly umask: number;
}

const WHO_BITS: Readonly<Record<string, number>> = { u: 0o4700, g: 0o2070, o: 0o1007, a: 0o7777 };
const CLAUSE = /^([ugoa]*)((?:[-+=](?:[rwxXst]*|[ugo]))+)$/;
const ACTION = /([-+=])([rwxXst]*[ugo]?)/g;

/** The permission bits after `change` (`755`, `u+x,go-w`); undefined where it is malformed. */
export function applyModeChange(change: string, context: ModeContext): number | undefined {
  if (/^[0-7]+$/.test(change)) {
    const value = Number.parseInt(change, 8);
    return value <= 0o7777 ? value : undefined;
  }
  let mode = context.mode & 0o7777;
  for (const clause of change.split(",")) {
    const match = CLAUSE.exec(clause);
    if (match === null) return undefined;
    const who = match[1] ?? "";
    const reach =
      who === "" ? 0o7777 & ~context.umask : [...who].reduce((bits, letter) => bits | WHO_BITS[letter]!, 0);
    for (const [, operator, permissions = ""] of match[2]!.matchAll(ACTION)) {
      const bits = permissionBits(permissions, mode, context.isDirectory) & reach;
      if (operator === "+") mode |= bits;
      else if (operator === "-") mode &= ~bits;
      else mode = (mode & ~(who === "" ? 0o777 : reach & 0o6777)) | bits;
    }
  }
  return mode;
}

function permissionBits(permissions: string, mode: number, isDirectory: boolean): number {
  let bits = 0;
  for (const letter of permissions) {
    if (letter === "r") bits |= 0o444;
    else if (letter === "w") bits |= 0o222;
    else if (letter === "x") bits |= 0o111;
    else if (letter === "X") bits |= isDirectory || (mode & 0o111) !== 0 ? 0o111 : 0;
    else if (letter === "s") bits |= 0o6000;
    else if (letter === "t") bits |= 0o1000;
    else bits |= copyBits(mode, letter);
  }
  return bits;
}

/** `u`, `g` or `o` as permissions: those that the class has now. */
function copyBits(mode: number, letter: string): number {
  const shift = letter === "u" ? 6 : letter === "g" ? 3 : 0;
  return ((mode >> shift) & 7) * 0o111;
}

const TYPE_LETTERS: Readonly<Record<number, string>> = {
  [S.IFDIR]: "d",
  [S.IFREG]: "-",
  [S.IFLNK]: "l",
  [S.IFCHR]: "c",
  [S.IFBLK]: "b",
  [S.IFIFO]: "p",
  [S.IFSOCK]: "s",
};

/** `drwxr-xr-x` */
export function formatMode(mode: number): string {
  const triple = (shift: number, special: number, letter: string): string => {
    const bits = (mode >> shift) & 7;
    const executable = (bits & 1) !== 0;
    const hasSpecial = (mode & special) !== 0;
    const last = hasSpecial ? (executable ? letter : letter.toUpperCase()) : executable ? "x" : "-";
    return `${(bits & 4) === 0 ? "-" : "r"}${(bits & 2) === 0 ? "-" : "w"}${last}`;
  };
  const type = TYPE_LETTERS[mode & S.IFMT] ?? "?";
  return type + triple(6, S.ISUID, "s") + triple(3, S.ISGID, "s") + triple(0, S.ISVTX, "t");
}

/** `u=rwx,g=rx,o=rx` for a mask of 022. */
export function formatSymbolicMask(mask: number): string {
  const allowed = ~mask & 0o777;
  const letters = (shift: number): string => {
    const bits = (allowed >> shift) & 7;
    return `${(bits & 4) === 0 ? "" : "r"}${(bits & 2) === 0 ? "" : "w"}${(bits & 1) === 0 ? "" : "x"}`;
  };
  return `u=${letters(6)},g=${letters(3)},o=${letters(0)}`;
}
