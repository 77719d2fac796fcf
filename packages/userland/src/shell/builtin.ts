/** What a builtin is to the shell that runs it. */
import type { Shell } from "./shell.ts";

export interface Builtin {
  /** `words[0]` is the name; the result is `$?`. */
  readonly run: (shell: Shell, words: readonly string[]) => number | Promise<number>;
  /** Its assignments stay in the shell, and its errors end a script. */
  readonly special?: boolean;
  readonly usage: string;
}

export type Builtins = ReadonlyMap<string, Builtin>;
