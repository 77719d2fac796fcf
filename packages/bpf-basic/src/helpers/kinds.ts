/**
 * Argument and result kinds of helpers. A kind has four faces: what the verifier must prove (`proves`), how an unverified run
 * guards what the register holds (`guard`), its C spelling, and its words in the manual.
 *
 * Implementations read registers through the machine: low and high words, no BigInt. Whatever the guard let through may be
 * followed without another check. Guards are numbers, not functions: storing into an array through the rows'
 * functions measured 127 ns, through the `switch` in `admits` 96.
 */
import type { BpfMachine } from "@alien-ts/bpf-vm";
import type { HelperHost } from "./host.ts";

/** What the verifier must prove of an argument (`enum bpf_arg_type`). */
export type Proof =
  | "map pointer"
  | "map key"
  | "map value"
  | "uninitialised map value"
  | "readable memory"
  | "writable memory"
  | "size"
  | "size or zero"
  | "context"
  | "callback"
  | "pointer to stack or null"
  | "anything";

/** How an unverified run checks an argument. Keys and values are those of the map in argument 1; memory has its size behind it. */
export const GUARD = {
  none: 0,
  map: 1,
  readKey: 2,
  readValue: 3,
  writeValue: 4,
  readMemory: 5,
  writeMemory: 6,
  notZero: 7,
} as const;
export type Guard = (typeof GUARD)[keyof typeof GUARD];

export interface ArgKind {
  readonly proves: Proof;
  readonly guard: Guard;
  /** Type in the C prototype. */
  readonly c: string;
  /** What the manual says of it. */
  readonly words: string;
}

export interface RetKind {
  readonly returns: "integer" | "map value or null";
  readonly c: string;
  readonly words: string;
}

const IN = "const void *";
const OUT = "void *";

export const arg = {
  map: { proves: "map pointer", guard: GUARD.map, c: "struct bpf_map *", words: "a map of the program" },
  mapKey: { proves: "map key", guard: GUARD.readKey, c: IN, words: "a key of the map" },
  mapValue: { proves: "map value", guard: GUARD.readValue, c: IN, words: "a value for the map" },
  uninitMapValue: {
    proves: "uninitialised map value",
    guard: GUARD.writeValue,
    c: OUT,
    words: "room for a value of the map",
  },
  mem: { proves: "readable memory", guard: GUARD.readMemory, c: IN, words: "initialised bytes" },
  uninitMem: { proves: "writable memory", guard: GUARD.writeMemory, c: OUT, words: "room for bytes" },
  size: { proves: "size", guard: GUARD.notZero, c: "u32", words: "how many bytes, not 0" },
  sizeOrZero: { proves: "size or zero", guard: GUARD.none, c: "u32", words: "how many bytes" },
  context: { proves: "context", guard: GUARD.none, c: "void *", words: "the program's context" },
  callback: { proves: "callback", guard: GUARD.none, c: "void *", words: "a function of the program" },
  stackOrNull: {
    proves: "pointer to stack or null",
    guard: GUARD.none,
    c: "void *",
    words: "stack of the program, or NULL",
  },
  any: { proves: "anything", guard: GUARD.none, c: "u64", words: "any value" },
  unsafePointer: { proves: "anything", guard: GUARD.none, c: IN, words: "an address that may be bad" },
} as const satisfies Record<string, ArgKind>;

export const ret = {
  integer: { returns: "integer", c: "long", words: "0 or a result on success, a negative errno on failure" },
  u64: { returns: "integer", c: "u64", words: "the value" },
  mapValueOrNull: { returns: "map value or null", c: "void *", words: "the value's address, or NULL" },
} as const satisfies Record<string, RetKind>;

/** Whether what argument `n` holds in an unverified run may be followed. */
export function admits(guard: Guard, machine: BpfMachine, n: number, host: HelperHost): boolean {
  switch (guard) {
    case GUARD.none:
      return true;
    case GUARD.map:
      return machine.argHigh(n) === (host.m.baseHi | 0) && host.maps.at(machine.argPointer(n)) !== undefined;
    case GUARD.readKey:
      return mayFollow(machine, n, host.maps.at(machine.argPointer(1))?.keySize, false);
    case GUARD.readValue:
      return mayFollow(machine, n, host.maps.at(machine.argPointer(1))?.valueSize, false);
    case GUARD.writeValue:
      return mayFollow(machine, n, host.maps.at(machine.argPointer(1))?.valueSize, true);
    case GUARD.readMemory:
      return mayFollow(machine, n, sizeBehind(machine, n), false);
    case GUARD.writeMemory:
      return mayFollow(machine, n, sizeBehind(machine, n), true);
    case GUARD.notZero:
      return machine.argLow(n) > 0;
  }
}

/** The size in the next argument; undefined for one of 2 GiB and more. */
function sizeBehind(machine: BpfMachine, n: number): number | undefined {
  const size = machine.argLow(n + 1);
  return machine.argHigh(n + 1) === 0 && size >= 0 ? size : undefined;
}

/** No bytes may be at any address. */
function mayFollow(machine: BpfMachine, n: number, sizeBytes: number | undefined, isWrite: boolean): boolean {
  if (sizeBytes === undefined) return false;
  return sizeBytes === 0 || machine.mayAccess(machine.argLow(n), machine.argHigh(n), sizeBytes, isWrite);
}
