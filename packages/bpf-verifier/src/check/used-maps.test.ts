/** Maps that a program may use, by its type, and beside others. */
import { expect, test } from "vitest";
import type { MapInfo } from "../env.ts";
import { linuxProgramType } from "../linux/program-types.ts";
import { PRIVILEGED } from "../privileges.ts";
import { checkUsedMap } from "./used-maps.ts";

const map = (type: number, address: number, more: Partial<MapInfo> = {}): MapInfo => ({
  address,
  valueSize: 8,
  valuesAddress: undefined,
  type,
  name: "",
  keySize: 4,
  maxEntries: 1,
  flags: 0,
  inner: undefined,
  fields: [],
  isFrozen: false,
  constantAt: undefined,
  btf: undefined,
  btfValueType: 0,
  ...more,
});

const [KPROBE, SCHED_CLS, SYSCALL] = [2, 3, 31];
const HASH = map(1, 0x1000);
const TRIE = map(11, 0x2000);
const STORAGE = map(19, 0x3000);
const ARENA = map(33, 0x4000);

const messageOf = (type: number, used: MapInfo, before: readonly MapInfo[] = []): string =>
  checkUsedMap(
    { programType: linuxProgramType(type, 0)!, isSleepable: type === SYSCALL, privileges: PRIVILEGED },
    used,
    before,
  )?.message ?? "accepted";

test("programs that sleep use maps whose elements wait for them", () => {
  expect(messageOf(SYSCALL, HASH)).toBe("accepted");
  expect(messageOf(SCHED_CLS, TRIE)).toBe("accepted");
  expect(messageOf(SYSCALL, TRIE)).toBe(
    "Sleepable programs can only use array, hash, ringbuf and local storage maps",
  );
});

test("a program has one storage of its control group of each kind", () => {
  expect(messageOf(SCHED_CLS, STORAGE, [STORAGE, map(21, 0x5000)])).toBe("accepted");
  expect(messageOf(SCHED_CLS, STORAGE, [map(19, 0x5000)])).toBe(
    "only one cgroup storage of each type is allowed",
  );
});

test("a program has one arena, which lies somewhere", () => {
  expect(messageOf(SCHED_CLS, ARENA, [ARENA])).toBe("accepted");
  expect(messageOf(SCHED_CLS, ARENA, [map(33, 0x5000)])).toBe("Only one arena per program");
  expect(messageOf(SCHED_CLS, { ...ARENA, isMapped: false })).toBe(
    "arena's user address must be set via map_extra or mmap()",
  );
});

test("programs that trace take no locks of values", () => {
  const locked = map(1, 0x6000, { fields: [{ kind: "spin_lock", offset: 0, size: 4 }] });
  expect(messageOf(SCHED_CLS, locked)).toBe("accepted");
  expect(messageOf(KPROBE, locked)).toBe("tracing progs cannot use bpf_spin_lock yet");
});
