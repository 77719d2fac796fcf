/** `alien info`: the kernel's rows with their fidelity, and how many there are of each. Interface: `formatCoverage`. */
import type { CoverageRow } from "@alien-ts/kernel";

const KINDS: readonly CoverageRow["kind"][] = ["system call", "function"];
const FIDELITIES: readonly CoverageRow["fidelity"][] = ["real", "simplified", "stub"];

export function formatCoverage(rows: readonly CoverageRow[]): string {
  const width = Math.max(...rows.map(({ name }) => name.length));
  const lines = KINDS.flatMap((kind) => {
    const ofKind = rows.filter((row) => row.kind === kind);
    const counts = FIDELITIES.map(
      (fidelity) => `${ofKind.filter((row) => row.fidelity === fidelity).length} ${fidelity}`,
    );
    const sorted = ofKind.toSorted((a, b) => (a.name < b.name ? -1 : 1));
    return [`${kind}s: ${counts.join(", ")}`, ...sorted.map((row) => formatRow(row, width)), ""];
  });
  return lines.join("\n");
}

function formatRow({ name, fidelity, leftOut }: CoverageRow, width: number): string {
  return `  ${name.padEnd(width)}  ${fidelity}${leftOut === undefined ? "" : `: ${leftOut}`}`;
}
