/**
 * The shell's variables, positional parameters, options and functions: what a subshell copies.
 *
 * A subshell works on `copy()`; nothing it changes is seen by its parent. Functions are parsed trees and are shared.
 */
import type { CompoundNode } from "./ast.ts";

export interface Variable {
  readonly value: string | undefined;
  readonly exported: boolean;
  readonly readonly: boolean;
}

/** Letters of `set`, with their long names. */
export const SHELL_OPTIONS = {
  a: "allexport",
  b: "notify",
  C: "noclobber",
  e: "errexit",
  f: "noglob",
  m: "monitor",
  n: "noexec",
  u: "nounset",
  v: "verbose",
  x: "xtrace",
} as const;

export type OptionLetter = keyof typeof SHELL_OPTIONS;

export class ShellError extends Error {
  readonly status: number;
  constructor(message: string, status = 2) {
    super(message);
    this.name = "ShellError";
    this.status = status;
  }
}

export class ShellState {
  readonly variables: Map<string, Variable>;
  readonly functions: Map<string, CompoundNode>;
  readonly options: Set<OptionLetter>;
  readonly aliases: Map<string, string>;
  /** `$0` */
  name = "sh";
  positional: readonly string[] = [];
  /** `$?` */
  status = 0;
  /** `$$`: the same in every subshell. */
  shellPid = 0;
  /** `$!` */
  lastBackground = 0;
  /** `$LINENO`: where the command that runs stands in its script. */
  line = 1;
  /** Offset of getopts inside a word of clustered options. */
  getoptsOffset = 0;

  constructor(from?: ShellState) {
    this.variables = new Map(from?.variables);
    this.functions = new Map(from?.functions);
    this.options = new Set(from?.options);
    this.aliases = new Map(from?.aliases);
    if (from === undefined) return;
    this.name = from.name;
    this.positional = from.positional;
    this.status = from.status;
    this.shellPid = from.shellPid;
    this.lastBackground = from.lastBackground;
    this.line = from.line;
    this.getoptsOffset = from.getoptsOffset;
  }

  copy(): ShellState {
    return new ShellState(this);
  }

  get(name: string): string | undefined {
    return this.variables.get(name)?.value;
  }

  /** Assigns; throws `ShellError` for a read-only variable. */
  set(name: string, value: string): void {
    const old = this.variables.get(name);
    if (old?.readonly === true) throw new ShellError(`${name}: is read only`);
    const exported = old?.exported === true || this.options.has("a");
    this.variables.set(name, { value, exported, readonly: false });
    if (name === "OPTIND") this.getoptsOffset = 0;
  }

  export(name: string): void {
    const old = this.variables.get(name);
    this.variables.set(name, { value: old?.value, exported: true, readonly: old?.readonly === true });
  }

  makeReadonly(name: string): void {
    const old = this.variables.get(name);
    this.variables.set(name, { value: old?.value, exported: old?.exported === true, readonly: true });
  }

  unset(name: string): void {
    if (this.variables.get(name)?.readonly === true) throw new ShellError(`${name}: is read only`);
    this.variables.delete(name);
  }

  /** The environment of commands. */
  environment(): Map<string, string> {
    const environment = new Map<string, string>();
    for (const [name, { value, exported }] of this.variables) {
      if (exported && value !== undefined) environment.set(name, value);
    }
    return environment;
  }
}
