/**
 * Errors of the convenience interface: a system call that fails throws `SystemError`, with the call, the errno and the
 * path. `check` makes one from a raw result; programs that expect a failure test the raw result instead.
 */
import { Errno, errnoFromNumber } from "@alien-ts/abi";

export class SystemError extends Error {
  readonly call: string;
  readonly errno: Errno;
  readonly path: string | undefined;

  constructor(call: string, errno: Errno, path?: string) {
    super(path === undefined ? errno.message : `${path}: ${errno.message}`);
    this.name = "SystemError";
    this.call = call;
    this.errno = errno;
    this.path = path;
  }
}

/** Whether a raw result is a negated errno. */
export const failed = (result: number): boolean => result < 0 && result >= -4095;

/** The errno of a failed raw result. */
export const errnoOf = (result: number): Errno =>
  errnoFromNumber(-result) ?? new Errno(-result, `E${-result}`, `Unknown error ${-result}`);

/** `result`, or a `SystemError` where it is a negated errno. */
export function check(result: number, call: string, path?: string): number {
  if (failed(result)) throw new SystemError(call, errnoOf(result), path);
  return result;
}

/** Whether `error` is a system call's failure with this errno. */
export const isErrno = (error: unknown, errno: Errno): boolean =>
  error instanceof SystemError && error.errno === errno;

/** strerror(3) of what a convenience function threw; anything else is a bug and is thrown again. */
export function messageOf(error: unknown): string {
  if (error instanceof SystemError) return error.errno.message;
  throw error;
}

/** Wrong use of a tool: its usage text goes to standard error. */
export class UsageError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "UsageError";
  }
}

/** An error that a tool reports as `name: message`, with an exit status. */
export class ToolError extends Error {
  readonly status: number;
  constructor(message: string, status = 1) {
    super(message);
    this.name = "ToolError";
    this.status = status;
  }
}
