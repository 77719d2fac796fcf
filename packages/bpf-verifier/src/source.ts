/** Source lines of instructions: in reports, and in the log before the first instruction of each. Linux: verbose_linfo(). */
import type { Analysis } from "./analysis.ts";
import type { ProgramEnv } from "./env.ts";
import { Reject } from "./verdict.ts";

export interface SourceSpan {
  /** Without its folder. */
  readonly file: string;
  readonly line: number;
  readonly text: string;
}

const last = new WeakMap<Analysis, { readonly file: string; readonly line: number }>();

export function sourceLine(analysis: Analysis, index: number): void {
  const found = lineOf(analysis.env, index);
  if (found === undefined) return;
  const before = last.get(analysis);
  if (before !== undefined && before.file === found.file && before.line === found.line) return;
  last.set(analysis, found);
  analysis.log.line(`; ${found.text} @ ${found.file}:${found.line}`);
}

/** Refusals at levels that print no instructions tell the line last. */
export function located(analysis: Analysis, refusal: Reject): Reject {
  const { log, env, index } = analysis;
  const found = lineOf(env, index);
  if (found === undefined || log.isEnabled || !log.isNeeded) return refusal;
  const { text, file, line } = found;
  const message = `${refusal.message}\n; ${text} @ ${file}:${line}`;
  return new Reject(refusal.errno, message);
}

/** The line that the instruction belongs to: the last one that begins at it or before. */
export function lineOf({ program }: ProgramEnv, index: number): SourceSpan | undefined {
  const lines = program?.lines;
  if (lines === undefined || lines.length === 0) return undefined;
  let low = 0;
  let high = lines.length - 1;
  while (low < high) {
    const middle = low + ((high - low + 1) >> 1);
    if (lines[middle]!.insn <= index) low = middle;
    else high = middle - 1;
  }
  const { file, line, text } = lines[low]!;
  return { file: file.slice(file.lastIndexOf("/") + 1), line, text: text.trimStart() };
}
