/**
 * What the kernel has, and how close to Linux it is: read from the rows. `alien info` and the coverage pages print it.
 *
 * Interface: `kernelCoverage`.
 */
import { listRows } from "./core/image.ts";
import { TEXT } from "./text.ts";

export interface CoverageRow {
  readonly name: string;
  readonly kind: "function" | "system call";
  readonly fidelity: "real" | "simplified" | "stub";
  /** What a simplified row leaves out. */
  readonly leftOut: string | undefined;
  /** BPF programs may call it: its KF_ flags. */
  readonly kfunc: readonly string[] | undefined;
}

/** A row per kernel function and system call, in text order. */
export function kernelCoverage(): CoverageRow[] {
  return listRows(TEXT).map(({ name, options: { fidelity = "real", kfunc, syscall } }) => ({
    name,
    kind: syscall === true ? "system call" : "function",
    fidelity: typeof fidelity === "string" ? fidelity : "simplified",
    leftOut: typeof fidelity === "string" ? undefined : fidelity.simplified,
    kfunc,
  }));
}
