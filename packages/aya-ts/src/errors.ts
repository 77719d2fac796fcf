/**
 * Every error that aya-ts throws. All are `AyaError`s; `kind` tells the variants of one class apart.
 *
 * A failed system call carries its name, the errno and, for rejected programs, the verifier's log, and all of it is in
 * `message`: nothing has to be dug out of `cause`.
 */
import { errnoFromNumber } from "@alien-ts/abi";
import type { Errno } from "@alien-ts/abi";

export class AyaError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** A system call failed. */
export class SyscallError extends AyaError {
  /** e.g. "bpf_map_update_elem" */
  readonly call: string;
  /** Positive error number. */
  readonly number: number;
  /** The constant, where Linux has one. */
  readonly errno: Errno | undefined;

  constructor(call: string, number: number) {
    const errno = errnoFromNumber(number);
    super(
      `the ${call} syscall returned ${errno?.message ?? "Unknown error"} (os error ${number}${errno ? `, ${errno.name}` : ""})`,
    );
    this.call = call;
    this.number = number;
    this.errno = errno;
  }
}

/** The object file is malformed, or has a form that is not supported. */
export class ParseError extends AyaError {
  /** Section or symbol that the problem is in, "" for the file as a whole. */
  readonly where: string;

  constructor(where: string, problem: string, options?: ErrorOptions) {
    super(where === "" ? problem : `${where}: ${problem}`, options);
    this.where = where;
  }
}

/** A relocation names something that is not there. */
export class RelocationError extends ParseError {}

/** Loading the object's BTF failed, and the object cannot do without. */
export class BtfLoadError extends AyaError {
  readonly verifierLog: string;

  constructor(cause: SyscallError, verifierLog: string) {
    super(`${cause.message}. Verifier output: ${verifierLog}`, { cause });
    this.verifierLog = verifierLog;
  }
}

export type MapErrorKind =
  | "CreateError"
  | "InvalidMapType"
  | "InvalidKeySize"
  | "InvalidValueSize"
  | "InvalidValueStride"
  | "KeyNotFound"
  | "ElementNotFound"
  | "NotFound"
  | "OutOfBounds"
  | "SyscallError"
  | "Unsupported";

export class MapError extends AyaError {
  readonly kind: MapErrorKind;

  constructor(kind: MapErrorKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
  }
}

export type ProgramErrorKind =
  | "AlreadyAttached"
  | "AlreadyLoaded"
  | "KProbeError"
  | "LoadError"
  | "NotAttached"
  | "NotFound"
  | "NotLoaded"
  | "SyscallError"
  | "UnexpectedProgramType";

export class ProgramError extends AyaError {
  readonly kind: ProgramErrorKind;
  /** What the verifier said, "" where it was not asked. */
  readonly verifierLog: string;

  constructor(
    kind: ProgramErrorKind,
    message: string,
    options?: ErrorOptions & { readonly verifierLog?: string },
  ) {
    super(message, options);
    this.kind = kind;
    this.verifierLog = options?.verifierLog ?? "";
  }
}

export type PerfBufferErrorKind =
  | "InvalidPageCount"
  | "OpenError"
  | "MMapError"
  | "PerfEventEnableError"
  | "Unmappable";

export class PerfBufferError extends AyaError {
  readonly kind: PerfBufferErrorKind;

  constructor(kind: PerfBufferErrorKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
  }
}

/** A file of procfs or sysfs is missing or holds something unexpected. */
export class FileError extends AyaError {
  readonly path: string;

  constructor(path: string, problem: string, options?: ErrorOptions) {
    super(`${path}: ${problem}`, options);
    this.path = path;
  }
}
