/** The form of a helper's row. */
import type { BpfMachine } from "@alien-ts/bpf-vm";
import type { HelperHost } from "./host.ts";
import type { ArgKind, RetKind } from "./kinds.ts";

/** Which program types may call a helper: all, or those that trace. */
export type HelperScope = "all" | "tracing";

/** What the loader must be allowed for its programs to call a helper. */
export type HelperPrivilege = "none" | "CAP_BPF" | "CAP_PERFMON";

export interface HelperRow {
  readonly supported: true;
  readonly since: string;
  readonly gplOnly: boolean;
  readonly scope: HelperScope;
  readonly needs: HelperPrivilege;
  readonly args: readonly ArgKind[];
  readonly ret: RetKind;
  readonly doc: string;
  readonly fidelity: "real" | `simplified: ${string}`;
  /** Reads r1 to r5 from the machine and leaves its result in r0; allocates nothing where programs call it often. */
  readonly impl: (host: HelperHost, machine: BpfMachine) => void;
}

export interface AbsentHelperRow {
  readonly supported: false;
  readonly note: string;
}

/** A row, with the fields filled in that most have. */
export function helper(
  row: Pick<HelperRow, "since" | "args" | "ret" | "doc" | "impl"> & Partial<HelperRow>,
): HelperRow {
  return { supported: true, gplOnly: false, scope: "all", needs: "none", fidelity: "real", ...row };
}
