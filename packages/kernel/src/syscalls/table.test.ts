import { NR } from "@alien-ts/abi";
import { expect, test } from "vitest";
import { TEXT } from "../text.ts";
import { SYSCALLS } from "./table.ts";

const rows = SYSCALLS.flat();

/** The generic numbers that Alien's kernel answers, without its private ones and the network family but socketpair. */
const ALIEN = [
  17, 19, 34, 38, 39, 40, 43, 44, 45, 46, 49, 50, 56, 57, 61, 62, 63, 64, 65, 66, 67, 68, 71, 79, 80, 81, 82,
  276, 285, 25, 29, 48, 52, 53, 55, 88, 166, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 35, 36, 37, 78, 20,
  21, 22, 72, 73, 23, 24, 59, 98, 99, 100, 194, 195, 196, 129, 130, 132, 133, 134, 135, 137, 139, 215, 222,
  226, 227, 233, 283, 116, 118, 119, 120, 121, 122, 123, 160, 165, 179, 278, 93, 94, 96, 124, 154, 155, 157,
  167, 172, 173, 174, 175, 176, 177, 178, 214, 220, 221, 260, 261, 85, 86, 87, 101, 102, 103, 113, 114, 115,
  153, 169, 280, 241, 199,
];

/** What tokio, Aya and glibc's start make of a kernel, beside those above. */
const RUNTIMES: readonly (keyof typeof NR)[] = [
  "epoll_create1",
  "epoll_ctl",
  "epoll_pwait",
  "eventfd2",
  "socketpair",
  "pidfd_open",
  "waitid",
  "clone3",
  "prctl",
  "sched_getaffinity",
  "sigaltstack",
  "statx",
  "set_tid_address",
  "set_robust_list",
  "prlimit64",
  "getrandom",
  "readlinkat",
  "newfstatat",
  "mprotect",
  "brk",
  "dup3",
  "pipe2",
  "faccessat2",
  "memfd_create",
  "mremap",
  "ppoll",
  "getcwd",
  "setsid",
  "ftruncate",
  "signalfd4",
  "timerfd_create",
];

test.each(ALIEN)("system call %i of Alien has a row", (nr) => {
  expect(rows.some((row) => row.nr === nr)).toBe(true);
});

test.each(RUNTIMES)("%s, which runtimes call, has a row", (name) => {
  expect(rows.some((row) => row.nr === NR[name])).toBe(true);
});

/** Calls whose function in Linux has another name than the call, and 38, which riscv64's headers leave out. */
const OTHER_NAMES: Readonly<Record<string, number>> = {
  newfstat: NR.fstat,
  umount: NR.umount2,
  fadvise64_64: NR.fadvise64,
  newuname: NR.uname,
  renameat: 38,
};

test("every row has the number of its name, and no number has two", () => {
  const numbers: Readonly<Record<string, number>> = { ...NR, ...OTHER_NAMES };
  expect(rows.filter((row) => numbers[row.name] !== row.nr).map((row) => row.name)).toEqual([]);
  expect(new Set(rows.map((row) => row.nr)).size).toBe(rows.length);
});

test("a call that the text has is in its family's list: one that is not would answer ENOSYS", () => {
  const isCall = (value: unknown): value is (typeof rows)[number] =>
    typeof value === "object" && value !== null && "nr" in value && "gate" in value;
  const declared = TEXT.flatMap((file) => Object.values(file)).filter(isCall);
  expect(declared.filter((row) => !rows.includes(row)).map((row) => row.name)).toEqual([]);
});
