/** What a verification ends with, and how a check refuses. */
import type { Errno } from "@alien-ts/abi";
import type { Insn } from "@alien-ts/bpf-isa";
import type { LogExtent } from "./log.ts";
import type { Xlated } from "./rewrite/rewrite.ts";

export type Verdict =
  | {
      readonly ok: true;
      readonly log: string;
      readonly logExtent: LogExtent;
      /** The program given, with map references replaced by addresses. */
      readonly insns: readonly Insn[];
      /** The program to run. */
      readonly xlated: Xlated;
      /** The fds whose maps it uses, each once, in order of first use. */
      readonly usedMapFds: readonly number[];
      /** Instructions looked at (`verified_insns`). */
      readonly processed: number;
    }
  | {
      readonly ok: false;
      readonly log: string;
      /** Undefined where the log was written at once. */
      readonly logExtent?: LogExtent;
      readonly errno: Errno;
      readonly processed: number;
      readonly refusal?: Refusal;
    };

/** Why, in Linux's words, and at which instruction; none where the program as a whole is refused. */
export interface Refusal {
  readonly message: string;
  readonly insn: number | undefined;
}

/** A refusal in Linux's words. */
export class Reject {
  readonly errno: Errno;
  readonly message: string;
  /** Some of Linux's messages have no line feed: what is printed next stands in the same line. */
  readonly endsLine: boolean;

  constructor(errno: Errno, message: string, endsLine = true) {
    this.errno = errno;
    this.message = message;
    this.endsLine = endsLine;
  }
}

/** A check gives this or nothing. */
export type Check = Reject | undefined;

export const reject = (errno: Errno, message: string): Reject => new Reject(errno, message);
