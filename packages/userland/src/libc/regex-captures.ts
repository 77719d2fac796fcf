/**
 * What the groups of a regular expression matched, once it is known where the match starts and ends: all ways through the
 * program at once (Pike), each with its captures, of which the preferred one arrives.
 *
 * The preferences are GNU's: of the ways that give the longest match, the first branch and the most rounds. An optional
 * round that is empty leaves the captures of the last round that was not.
 */
import { MATCH, type Program, holds, sideAt } from "./regex-program.ts";

export interface Captures {
  /** Start and end of each group from 1, -1 where it matched nothing; group n at 2n - 2. */
  readonly spans: readonly number[];
  /** The captures when a group last closed that was not empty. */
  readonly kept: readonly number[] | undefined;
}

export const noCaptures = (groups: number): Captures => ({
  spans: Array.from<number>({ length: groups * 2 }).fill(-1),
  kept: undefined,
});

export const openGroup = ({ spans, kept }: Captures, group: number, at: number): Captures => {
  const opened = [...spans];
  opened[group * 2 - 2] = at;
  opened[group * 2 - 1] = -1;
  return { spans: opened, kept };
};

export function closeGroup(
  { spans, kept }: Captures,
  { group, isOptional }: { readonly group: number; readonly isOptional: boolean },
  at: number,
): Captures {
  const isEmpty = spans[group * 2 - 2] === at;
  if (isEmpty && isOptional && kept !== undefined && kept[group * 2 - 2] !== -1) return { spans: kept, kept };
  const closed = [...spans];
  closed[group * 2 - 1] = at;
  return { spans: closed, kept: isEmpty ? kept : closed };
}

interface Thread {
  readonly at: number;
  readonly captures: Captures;
}

/** The captures of the match from `start` to `end`. */
export function fillCaptures(program: Program, text: string, start: number, end: number): readonly number[] {
  const marks = new Int32Array(program.code.length).fill(-1);
  let threads: Thread[] = [{ at: program.start, captures: noCaptures(program.groups) }];
  for (let place = start; ; place++) {
    const next: Thread[] = [];
    const code = text.charCodeAt(place) & 0xff;
    for (const { at, captures } of closure(program, threads, text, place, marks)) {
      const each = program.code[at]!;
      if (at === MATCH && place === end) return captures.spans;
      if (each.op === "set" && each.set[code] === 1) next.push({ at: each.next, captures });
    }
    // What is asked for was found by the automata: some way arrives.
    if (place >= end) return noCaptures(program.groups).spans;
    threads = next;
  }
}

/** The instructions reached without reading on, preferred ones first. */
function closure(
  { code, isMultiline }: Program,
  threads: readonly Thread[],
  text: string,
  place: number,
  marks: Int32Array,
): Thread[] {
  const reached: Thread[] = [];
  const [before, after] = [sideAt(text, place - 1), sideAt(text, place)];
  const stack = threads.toReversed();
  for (let thread = stack.pop(); thread !== undefined; thread = stack.pop()) {
    const { at, captures } = thread;
    if (marks[at] === place) continue;
    marks[at] = place;
    const each = code[at]!;
    if (each.op === "set" || each.op === "match") reached.push(thread);
    else if (each.op === "split") stack.push({ at: each.other, captures }, { at: each.next, captures });
    else if (each.op === "open")
      stack.push({ at: each.next, captures: openGroup(captures, each.group, place) });
    else if (each.op === "close") stack.push({ at: each.next, captures: closeGroup(captures, each, place) });
    else if (each.op === "assert" && holds(each.what, before, after, isMultiline)) {
      stack.push({ at: each.next, captures });
    }
  }
  return reached;
}
