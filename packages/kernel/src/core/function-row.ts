/**
 * What a kernel function row is, without its gate: the types that gates (row.ts) and armed calls (armed.ts) share.
 */
import type { CType, ValueOf } from "@alien-ts/abi";
import type { Cx } from "./cx.ts";
import type { OwnerType } from "./owner.ts";

/** A generator that sleeps: it yields when the task must be scheduled away, and is resumed when it was woken. */
export type Blocking<T> = Generator<undefined, T, undefined>;

export type ParamType = CType<never> | CType | OwnerType<never> | OwnerType<unknown>;
export type Param = readonly [name: string, type: ParamType];
export type ParamValue<X> = X extends OwnerType<infer T> ? T : ValueOf<X>;

/** How close a row is to Linux: as is, with something left out (said), or a stand-in that does nothing. */
export type Fidelity = "real" | { readonly simplified: string } | "stub";

export interface RowOptions {
  readonly doc?: string;
  readonly fidelity?: Fidelity;
  /** Refuses probes (Linux: NOKPROBE_SYMBOL, __kprobes). */
  readonly noprobe?: boolean;
  /** Other names of the same address. */
  readonly aliases?: readonly string[];
  /** `static` in Linux: a lower-case letter in /proc/kallsyms. */
  readonly local?: boolean;
  /** BPF programs may call it: its KF_ flags ("acquire", "ret_null"), as the verifier names them. */
  readonly kfunc?: readonly string[];
  /** A system call: the symbol gets the architecture's prefix ("__riscv_"). */
  readonly syscall?: boolean;
}

export type RowKind = "plain" | "sleeping" | "blocking";

export interface FunctionRow {
  readonly slot: number;
  readonly name: string;
  readonly kind: RowKind;
  readonly params: readonly Param[];
  readonly ret: ParamType;
  readonly options: RowOptions;
  readonly body: (cx: Cx, ...args: never[]) => unknown;
}

export const isBlocking = (value: unknown): value is Blocking<unknown> =>
  typeof value === "object" && value !== null && typeof (value as { next?: unknown }).next === "function";

/**
 * Goes on with `work` until it ends or sleeps: its result, or the rest of it. Most calls that may sleep do not: those above them
 * then cost no generator.
 */
export function startWork(work: Blocking<unknown>): unknown {
  const step = work.next();
  return step.done === true ? step.value : asleep(work);
}

/** Work that has come to a sleep, which its caller is yet to see. */
function* asleep(work: Blocking<unknown>): Blocking<unknown> {
  yield;
  return yield* work;
}
