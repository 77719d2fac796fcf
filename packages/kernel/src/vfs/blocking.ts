/**
 * Code that sleeps only sometimes: a step answers a value, or a generator when it has to sleep. `andThen` goes on after
 * such a step without paying for a generator when there is none (a read of a regular file costs none on its whole way).
 */
import { type Blocking, isBlocking } from "../core/row.ts";

/** A result that is there, or that comes after sleeping. */
export type MaybeBlocking<T> = T | Blocking<T>;

/** Runs `next` with the step's value, at once when it did not sleep. */
export function andThen<T, U>(
  step: MaybeBlocking<T>,
  next: (value: T) => MaybeBlocking<U>,
): MaybeBlocking<U> {
  return isBlocking(step) ? continueAfter(step as Blocking<T>, next) : next(step as T);
}

function* continueAfter<T, U>(step: Blocking<T>, next: (value: T) => MaybeBlocking<U>): Blocking<U> {
  const result = next(yield* step);
  return isBlocking(result) ? yield* result as Blocking<U> : (result as U);
}

/** Waits for a step inside a generator. */
export function* settle<T>(step: MaybeBlocking<T>): Blocking<T> {
  return isBlocking(step) ? yield* step as Blocking<T> : (step as T);
}
