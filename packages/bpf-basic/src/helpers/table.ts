/**
 * All helpers by id: a row for each id of the UAPI. To add a helper: its row in one of the files merged below; verifier, JIT,
 * feature probes and manuals read the table.
 */
import { linuxHelper } from "@alien-ts/bpf-verifier";
import type { FastHelper, Helper } from "@alien-ts/bpf-vm";
import { absentHelpers } from "./absent.ts";
import type { HelperHost } from "./host.ts";
import { helperIds, type HelperName } from "./ids.ts";
import { mapHelpers } from "./map-helpers.ts";
import type { AbsentHelperRow, HelperRow } from "./row.ts";
import { taskHelpers } from "./task-helpers.ts";
import { textHelpers } from "./text-helpers.ts";
import { traceHelpers } from "./trace-helpers.ts";

export const helperRows: Readonly<Partial<Record<HelperName, HelperRow>>> = {
  ...mapHelpers,
  ...taskHelpers,
  ...textHelpers,
  ...traceHelpers,
} satisfies Partial<Record<HelperName, HelperRow>>;

export interface NamedHelper {
  readonly id: number;
  readonly name: HelperName;
  readonly row: HelperRow | AbsentHelperRow;
}

const byId: readonly (NamedHelper | undefined)[] = (() => {
  const table: (NamedHelper | undefined)[] = [];
  for (const [name, id] of Object.entries(helperIds) as [HelperName, number][]) {
    table[id] = { id, name, row: helperRows[name] ?? { supported: false, note: absentHelpers[name] ?? "" } };
  }
  return table;
})();

/** The helper with this id; undefined for ids that the UAPI does not have. */
export const helperById = (id: number): NamedHelper | undefined => byId[id];

/** What programs of one kernel call, by helper id. */
export function bindHelpers(host: HelperHost): (Helper | undefined)[] {
  return Array.from(byId, (named) => (named?.row.supported === true ? named.row.bind(host) : undefined));
}

/** How compiled programs of one kernel call helpers without the machine, by helper id. */
export function fastHelpers(host: HelperHost): (FastHelper | undefined)[] {
  return Array.from(byId, (named) => (named?.row.supported === true ? named.row.fast(host) : undefined));
}

/** How many of r1 to r5 helper `id` reads. */
export function argumentCount(id: number): number {
  const row = byId[id]?.row;
  return row?.supported === true && row.isVariadic ? 5 : (linuxHelper(id)?.args.length ?? 5);
}
