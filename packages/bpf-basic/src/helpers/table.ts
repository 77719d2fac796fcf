/**
 * All helpers by id: a row for each id of the UAPI. To add a helper: its row in one of the files merged below; verifier, JIT,
 * feature probes and manuals read the table.
 */
import { EFAULT } from "@alien-ts/abi";
import type { BpfMachine, Helper } from "@alien-ts/bpf-vm";
import type { HelperHost } from "./host.ts";
import { helperIds, type HelperName } from "./ids.ts";
import { admits, GUARD } from "./kinds.ts";
import { mapHelpers } from "./map-helpers.ts";
import type { AbsentHelperRow, HelperRow } from "./row.ts";
import { taskHelpers } from "./task-helpers.ts";
import { traceHelpers } from "./trace-helpers.ts";

export const helperRows: Readonly<Partial<Record<HelperName, HelperRow>>> = {
  ...mapHelpers,
  ...taskHelpers,
  ...traceHelpers,
} satisfies Partial<Record<HelperName, HelperRow>>;

export interface NamedHelper {
  readonly id: number;
  readonly name: HelperName;
  readonly row: HelperRow | AbsentHelperRow;
}

const ABSENT: AbsentHelperRow = { supported: false, note: "not implemented yet" };

const byId: readonly (NamedHelper | undefined)[] = (() => {
  const table: (NamedHelper | undefined)[] = [];
  for (const [name, id] of Object.entries(helperIds) as [HelperName, number][]) {
    table[id] = { id, name, row: helperRows[name] ?? ABSENT };
  }
  return table;
})();

/** The helper with this id; undefined for ids that the UAPI does not have. */
export const helperById = (id: number): NamedHelper | undefined => byId[id];

/** What programs of one kernel call, by helper id. */
export function bindHelpers(host: HelperHost): (Helper | undefined)[] {
  return Array.from(byId, (named) => (named?.row.supported === true ? bind(named.row, host) : undefined));
}

/**
 * Checks that arguments may be followed, then calls the implementation. An unverified program that passes a bad pointer gets
 * -EFAULT; the verifier will refuse such programs.
 */
function bind({ args, impl }: HelperRow, host: HelperHost): Helper {
  const guards = args.map(({ guard }) => guard);
  while (guards.at(-1) === GUARD.none) guards.pop();
  if (guards.length === 0) return (machine) => impl(host, machine);
  return (machine) => {
    for (let i = 0; i < guards.length; i++) {
      if (!admits(guards[i]!, machine, i + 1, host)) return refuse(machine);
    }
    impl(host, machine);
  };
}

const refuse = (machine: BpfMachine): void => machine.setR0Signed(-EFAULT.number);
