/**
 * Measures pieces of code side by side: rounds are interleaved, so that all see the same machine, and the minimum counts, since
 * noise only adds.
 *
 * Interface: `fastest`, `printTable`.
 */

export interface Candidate {
  readonly name: string;
  /** Does the operation `count` times. */
  run(count: number): unknown;
}

const ROUNDS = 15;
const TARGET_NS = 2e7;
/** Objects made and dropped: some collections' worth. */
const GARBAGE = 2_000_000;

const nowNs = (): number => performance.now() * 1e6;

/** Nanoseconds per operation of each candidate. */
export function fastest(candidates: readonly Candidate[]): number[] {
  ageObjects();
  const counts = candidates.map(calibrate);
  const best = candidates.map(() => Number.POSITIVE_INFINITY);
  for (let round = 0; round < ROUNDS; round++) {
    candidates.forEach((candidate, i) => {
      const count = counts[i]!;
      const start = nowNs();
      candidate.run(count);
      best[i] = Math.min(best[i]!, (nowNs() - start) / count);
    });
  }
  return best;
}

/**
 * Has the collector promote what the candidates use, as it is in a program that has run for a while: until then each store of a
 * young object into an old one costs ten nanoseconds.
 */
function ageObjects(): void {
  let last: unknown;
  for (let i = 0; i < GARBAGE; i++) last = { last: i, of: [last === undefined] };
  if (last === undefined) throw new Error("nothing was made");
}

/** A count that takes about TARGET_NS, found warm. */
function calibrate(candidate: Candidate): number {
  for (let count = 1000; ; count *= 4) {
    const start = nowNs();
    candidate.run(count);
    if (nowNs() - start > TARGET_NS / 2) return count;
  }
}

/** Rows of text under a heading; the first column is left-aligned. */
export function printTable(
  title: string,
  header: readonly string[],
  rows: readonly (readonly string[])[],
): void {
  const widths = header.map((cell, i) => Math.max(cell.length, ...rows.map((row) => row[i]?.length ?? 0)));
  const line = (cells: readonly string[]): string =>
    cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join("  ");
  const rule = widths.map((width) => "-".repeat(width)).join("  ");
  process.stdout.write(`\n${title}\n\n${[line(header), rule, ...rows.map(line)].join("\n")}\n`);
}

/** Rows of "what, time, over the baseline, ratio", the first being the baseline. */
export function sideBySide(candidates: readonly Candidate[]): string[][] {
  const times = fastest(candidates);
  const base = times[0]!;
  return candidates.map(({ name }, i) => {
    const time = times[i]!;
    return [
      name,
      time.toFixed(2),
      i === 0 ? "" : `+${(time - base).toFixed(2)}`,
      `${(time / base).toFixed(2)}x`,
    ];
  });
}

export const SIDE_BY_SIDE_HEADER = ["", "ns", "over it", "ratio"] as const;
