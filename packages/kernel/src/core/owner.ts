/**
 * Owner pointers: a C pointer in registers and memory, its owner object in TypeScript.
 *
 * A class that owns an allocation (`File` owns a `struct file`) declares `export const filep = ownerPtr<File>("file")` and
 * uses it as a parameter type; bodies then receive the `File`. From a register the owner is found through the allocator's
 * hidden word (`Kernel.ownerOf`, set by mm); an address without an owner is a bug of whoever put it there: an oops.
 */
import type { KAddr } from "@alien-ts/abi";

export interface Owned {
  readonly addr: KAddr;
}

export interface OwnerType<T> {
  readonly kind: "owner";
  /** C spelling: "struct file *". */
  readonly c: string;
  readonly target: string;
  readonly nullable: boolean;
  /** Carries T; never set. */
  readonly __owner?: T;
}

/** `struct target *` that is never NULL. */
export const ownerPtr = <T extends Owned>(target: string): OwnerType<T> => ({
  kind: "owner",
  c: `struct ${target} *`,
  target,
  nullable: false,
});

/** `struct target *` that may be NULL (`null` in TypeScript). */
export const ownerPtrOrNull = <T extends Owned>(target: string): OwnerType<T | null> => ({
  kind: "owner",
  c: `struct ${target} *`,
  target,
  nullable: true,
});

/** The return type `void`. */
export const voidType: OwnerType<undefined> & { readonly c: "void" } = {
  kind: "owner",
  c: "void",
  target: "void",
  nullable: true,
};
