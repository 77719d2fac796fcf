/**
 * What a program is to the host that runs it: a name, a main function, and the functions that its image names.
 *
 * A program's image (image.ts) gives every function a symbol of `FUNCTION_BYTES` bytes: `main` first, the listed
 * `functions` next, and then `SLOT_COUNT` nameless ones, which are handed out at run time (signal handlers, thread
 * entries). The layout is a pure function of the program, so an address means the same on disk and in the host.
 */
import type { UAddr } from "@alien-ts/abi";
import type { Task } from "./task.ts";

/** Code that the kernel can jump to: a signal handler, a thread's entry. */
export type UserFunction = (
  task: Task,
  a0: number,
  a1: number,
  a2: number,
) => void | number | Promise<void | number>;

export interface Program {
  /** Unique; stands in the image's `.note.alien`. */
  readonly name: string;
  /** Where the image is installed. */
  readonly path: string;
  /** Runs in a fresh task; its result is the exit status. */
  readonly main: (task: Task) => number | Promise<number>;
  /** Functions besides `main` that own a symbol in the image: sites for uprobes. */
  readonly functions?: readonly string[];
}

/** Bytes of text that each function owns. */
export const FUNCTION_BYTES = 16;

/** Functions that a task may have handed out at one time. */
export const SLOT_COUNT = 128;

/** Address at which every image's text is linked (the usual one of static riscv64 executables). */
export const TEXT_BASE: UAddr = 0x1_0000;

/** Names of the functions of `program` in text order. */
export const functionNames = (program: Program): readonly string[] => ["main", ...(program.functions ?? [])];

/** Offset of the first run-time slot from the base of the text. */
export const slotsOffset = (program: Program): number => functionNames(program).length * FUNCTION_BYTES;
