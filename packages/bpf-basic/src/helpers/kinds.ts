/**
 * Argument and result kinds of helpers. A kind has four faces: what the verifier must prove (`proves`), what an unverified
 * program's register must hold (`admits`), its C spelling, and its words in the manual.
 *
 * Implementations read registers through the machine: low and high words, no BigInt. Whatever `admits` let through may be
 * followed without another check.
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

export interface ArgKind {
  readonly proves: Proof;
  /** Type in the C prototype. */
  readonly c: string;
  /** What the manual says of it. */
  readonly words: string;
  /** Whether what argument `n` holds in an unverified run may be followed. */
  admits(machine: BpfMachine, n: number, host: HelperHost): boolean;
}

export interface RetKind {
  readonly returns: "integer" | "map value or null" | "nothing";
  readonly c: string;
  readonly words: string;
}

const always = (): boolean => true;
const isMap = (machine: BpfMachine, n: number, host: HelperHost): boolean =>
  machine.argHigh(n) === (host.m.baseHi | 0) && host.maps.at(machine.argPointer(n)) !== undefined;

/** A key or value of the map in argument 1. */
function ofMap(proves: Proof, words: string, size: "keySize" | "valueSize", isWrite: boolean): ArgKind {
  return {
    proves,
    c: isWrite ? "void *" : "const void *",
    words,
    admits: (machine, n, host) => {
      const map = host.maps.at(machine.argPointer(1));
      return (
        map !== undefined && machine.mayAccess(machine.argLow(n), machine.argHigh(n), map[size], isWrite)
      );
    },
  };
}

/** Bytes whose number is the next argument. */
function sized(proves: Proof, words: string, isWrite: boolean): ArgKind {
  return {
    proves,
    c: isWrite ? "void *" : "const void *",
    words,
    admits: (machine, n) => {
      const size = machine.argLow(n + 1);
      if (machine.argHigh(n + 1) !== 0 || size < 0) return false;
      return size === 0 || machine.mayAccess(machine.argLow(n), machine.argHigh(n), size, isWrite);
    },
  };
}

export const arg = {
  map: { proves: "map pointer", c: "struct bpf_map *", words: "a map of the program", admits: isMap },
  mapKey: ofMap("map key", "a key of the map", "keySize", false),
  mapValue: ofMap("map value", "a value for the map", "valueSize", false),
  uninitMapValue: ofMap("uninitialised map value", "room for a value of the map", "valueSize", true),
  mem: sized("readable memory", "initialised bytes", false),
  uninitMem: sized("writable memory", "room for bytes", true),
  size: {
    proves: "size",
    c: "u32",
    words: "how many bytes, not 0",
    admits: (machine, n) => machine.argLow(n) > 0,
  },
  sizeOrZero: { proves: "size or zero", c: "u32", words: "how many bytes", admits: always },
  context: { proves: "context", c: "void *", words: "the program's context", admits: always },
  callback: { proves: "callback", c: "void *", words: "a function of the program", admits: always },
  stackOrNull: {
    proves: "pointer to stack or null",
    c: "void *",
    words: "stack of the program, or NULL",
    admits: always,
  },
  any: { proves: "anything", c: "u64", words: "any value", admits: always },
  unsafePointer: {
    proves: "anything",
    c: "const void *",
    words: "an address that may be bad",
    admits: always,
  },
} as const satisfies Record<string, ArgKind>;

export const ret = {
  integer: { returns: "integer", c: "long", words: "0 or a result on success, a negative errno on failure" },
  u64: { returns: "integer", c: "u64", words: "the value" },
  mapValueOrNull: { returns: "map value or null", c: "void *", words: "the value's address, or NULL" },
} as const satisfies Record<string, RetKind>;
