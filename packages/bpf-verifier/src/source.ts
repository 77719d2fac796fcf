/** Source lines in the log: "; line @ file:12" before the first instruction of each. Linux: verbose_linfo(). */
import type { Analysis } from "./analysis.ts";

const last = new WeakMap<Analysis, { readonly file: string; readonly line: number }>();

export function sourceLine(analysis: Analysis, index: number): void {
  const lines = analysis.env.program?.lines;
  if (lines === undefined || lines.length === 0) return;
  let low = 0;
  let high = lines.length - 1;
  while (low < high) {
    const middle = low + ((high - low + 1) >> 1);
    if (lines[middle]!.insn <= index) low = middle;
    else high = middle - 1;
  }
  const found = lines[low]!;
  const before = last.get(analysis);
  if (before !== undefined && before.file === found.file && before.line === found.line) return;
  last.set(analysis, found);
  const file = found.file.slice(found.file.lastIndexOf("/") + 1);
  analysis.log.line(`; ${found.text.trimStart()} @ ${file}:${found.line}`);
}
