/**
 * Kernel function rows and their gates.
 *
 * `kernelFn` declares a function that finishes at once, `sleepingFn` one that sleeps in Linux (a generator), `blockingFn` one
 * that may do either (its body returns a value, or a generator when it has to sleep: the system call entry, so that getpid
 * costs no generator). Each gives a *gate*, called like the body: `vfs_read(cx, file, buf, count, pos)`.
 *
 * A row is immutable and shared by all kernels: it holds no address and no probe. Its `slot` is an index for per-kernel
 * tables, given in order of creation; nothing that a guest can see depends on it (text order is by file list and name).
 *
 * The gate tests `cx.armed[slot]`. When some byte of the row's text differs from the linked image, the call is executed from
 * the text (armed.ts); else the row is pushed on the call stack and the body is called. One gate literal per arity: a gate
 * with a rest array measured 19 ns against 7 ns. No `finally`: a throw stops the kernel. No check of the depth: a store behind
 * the end of the stack is ignored, and the host's own stack ends a recursion without end.
 */
import type { Errno } from "@alien-ts/abi";
import { armedBlockingCall, armedCall } from "./armed.ts";
import type { Cx } from "./cx.ts";
import {
  type Blocking,
  type FunctionRow,
  isBlocking,
  type Param,
  type ParamType,
  type ParamValue,
  type RowKind,
  type RowOptions,
  startWork,
} from "./function-row.ts";

export {
  type Blocking,
  type FunctionRow,
  isBlocking,
  type ParamType,
  type RowOptions,
} from "./function-row.ts";

type Values<P extends readonly Param[]> = { [I in keyof P]: ParamValue<P[I][1]> };

export type Gate<A extends readonly unknown[], R> = ((cx: Cx, ...args: A) => R) & {
  readonly row: FunctionRow;
};

let nextSlot = 0;

/** Slots given so far: the size that per-kernel tables of rows need. */
export const rowCount = (): number => nextSlot;

function makeRow(
  kind: RowKind,
  name: string,
  params: readonly Param[],
  ret: ParamType,
  body: (cx: Cx, ...args: never[]) => unknown,
  options: RowOptions,
): FunctionRow {
  if (params.length > 8)
    throw new Error(`${name}: ${params.length} parameters; the C ABI passes 8 in registers`);
  return Object.freeze({ slot: nextSlot++, name, kind, params, ret, options, body });
}

/** A kernel function that finishes at once. */
export function kernelFn<
  const P extends readonly Param[],
  R extends ParamType,
  V extends ParamValue<R> | Errno,
>(
  name: string,
  params: P,
  ret: R,
  body: (cx: Cx, ...args: Values<P>) => V,
  options: RowOptions = {},
): Gate<Values<P>, V> {
  const row = makeRow("plain", name, params, ret, body as never, options);
  return Object.assign(plainGate(row) as unknown as (cx: Cx, ...args: Values<P>) => V, { row });
}

/** A kernel function that may sleep: its body is a generator, and so is the call (`yield* vfs_read(…)`). */
export function sleepingFn<
  const P extends readonly Param[],
  R extends ParamType,
  V extends ParamValue<R> | Errno,
>(
  name: string,
  params: P,
  ret: R,
  body: (cx: Cx, ...args: Values<P>) => Blocking<V>,
  options: RowOptions = {},
): Gate<Values<P>, Blocking<V>> {
  const row = makeRow("sleeping", name, params, ret, body as never, options);
  return Object.assign(sleepingGate(row) as unknown as (cx: Cx, ...args: Values<P>) => Blocking<V>, { row });
}

/** A kernel function whose body returns a value at once, or a generator where it has to sleep. */
export function blockingFn<
  const P extends readonly Param[],
  R extends ParamType,
  V extends ParamValue<R> | Errno,
>(
  name: string,
  params: P,
  ret: R,
  body: (cx: Cx, ...args: Values<P>) => V | Blocking<V>,
  options: RowOptions = {},
): Gate<Values<P>, V | Blocking<V>> {
  const row = makeRow("blocking", name, params, ret, body as never, options);
  return Object.assign(blockingGate(row) as unknown as (cx: Cx, ...args: Values<P>) => V | Blocking<V>, {
    row,
  });
}

/** Calls a row that finishes at once, for callers that know it by its description. */
export function callRow(row: FunctionRow): (cx: Cx, ...args: unknown[]) => unknown {
  if (row.kind !== "plain") throw new Error(`${row.name} may sleep`);
  return plainGate(row);
}

type U = unknown;
type Body = (cx: Cx, a?: U, b?: U, c?: U, d?: U, e?: U, f?: U, g?: U, h?: U) => unknown;
type GeneratorBody = (cx: Cx, a?: U, b?: U, c?: U, d?: U, e?: U, f?: U, g?: U, h?: U) => Blocking<unknown>;

/** One literal per arity, made anew for each row so that the body's call site stays monomorphic. */
function plainGate(row: FunctionRow): Body {
  const { slot } = row;
  const body = row.body as Body;
  switch (row.params.length) {
    case 0:
      return (cx) => {
        if (cx.armed[slot] !== 0) return armedCall(cx, row, []);
        const { depth } = cx;
        cx.stack[depth] = slot;
        cx.depth = depth + 1;
        const result = body(cx);
        cx.depth = depth;
        return result;
      };
    case 1:
      return (cx, a) => {
        if (cx.armed[slot] !== 0) return armedCall(cx, row, [a]);
        const { depth } = cx;
        cx.stack[depth] = slot;
        cx.depth = depth + 1;
        const result = body(cx, a);
        cx.depth = depth;
        return result;
      };
    case 2:
      return (cx, a, b) => {
        if (cx.armed[slot] !== 0) return armedCall(cx, row, [a, b]);
        const { depth } = cx;
        cx.stack[depth] = slot;
        cx.depth = depth + 1;
        const result = body(cx, a, b);
        cx.depth = depth;
        return result;
      };
    case 3:
      return (cx, a, b, c) => {
        if (cx.armed[slot] !== 0) return armedCall(cx, row, [a, b, c]);
        const { depth } = cx;
        cx.stack[depth] = slot;
        cx.depth = depth + 1;
        const result = body(cx, a, b, c);
        cx.depth = depth;
        return result;
      };
    case 4:
      return (cx, a, b, c, d) => {
        if (cx.armed[slot] !== 0) return armedCall(cx, row, [a, b, c, d]);
        const { depth } = cx;
        cx.stack[depth] = slot;
        cx.depth = depth + 1;
        const result = body(cx, a, b, c, d);
        cx.depth = depth;
        return result;
      };
    default:
      return (cx, a, b, c, d, e, f, g, h) => {
        if (cx.armed[slot] !== 0)
          return armedCall(cx, row, [a, b, c, d, e, f, g, h].slice(0, row.params.length));
        const { depth } = cx;
        cx.stack[depth] = slot;
        cx.depth = depth + 1;
        const result = body(cx, a, b, c, d, e, f, g, h);
        cx.depth = depth;
        return result;
      };
  }
}

function sleepingGate(row: FunctionRow): GeneratorBody {
  const { slot } = row;
  const body = row.body as GeneratorBody;
  return function* (cx, a, b, c, d, e, f, g, h) {
    if (cx.armed[slot] !== 0) {
      const made = armedBlockingCall(cx, row, [a, b, c, d, e, f, g, h].slice(0, row.params.length));
      return isBlocking(made) ? yield* made : made;
    }
    const { depth } = cx;
    cx.stack[depth] = slot;
    cx.depth = depth + 1;
    const result = yield* body(cx, a, b, c, d, e, f, g, h);
    cx.depth = depth;
    return result;
  };
}

function* finish(cx: Cx, depth: number, work: Blocking<unknown>): Blocking<unknown> {
  const result = yield* work;
  cx.depth = depth;
  return result;
}

function blockingGate(row: FunctionRow): Body {
  const { slot } = row;
  const body = row.body as Body;
  return (cx, a, b, c, d, e, f, g, h) => {
    if (cx.armed[slot] !== 0)
      return armedBlockingCall(cx, row, [a, b, c, d, e, f, g, h].slice(0, row.params.length));
    const { depth } = cx;
    cx.stack[depth] = slot;
    cx.depth = depth + 1;
    const made = body(cx, a, b, c, d, e, f, g, h);
    const result = isBlocking(made) ? startWork(made) : made;
    if (isBlocking(result)) return finish(cx, depth, result);
    cx.depth = depth;
    return result;
  };
}
