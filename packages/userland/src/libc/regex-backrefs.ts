/**
 * The search for regular expressions with back references, which no automaton decides: all ways from one place in order of
 * preference, for the longest match. A way that comes to a choice with the same captures as one before it is given up, and
 * the steps are counted: beyond them the search fails with `Memory exhausted` (regerror(3), REG_ESPACE), as GNU's do.
 */
import { type Captures, closeGroup, noCaptures, openGroup } from "./regex-captures.ts";
import { type Program, holds, sideAt } from "./regex-program.ts";
import { RegexError } from "./regex-sets.ts";

export interface Budget {
  steps: number;
}

/** Instructions that the search for all matches of a text may take: so many, and so many more for each character. */
export const MOST_STEPS = 1 << 20;
export const STEPS_PER_CHARACTER = 32;

interface Way {
  readonly at: number;
  readonly place: number;
  readonly captures: Captures;
}

/** The longest match from `start`; undefined where there is none. Throws `RegexError` where the budget does not do. */
export function matchWithReferences(
  program: Program,
  text: string,
  start: number,
  { ignoreCase, budget }: { readonly ignoreCase: boolean; readonly budget: Budget },
): { readonly end: number; readonly spans: readonly number[] } | undefined {
  const fold = (part: string): string => (ignoreCase ? part.toLowerCase() : part);
  const referenced = new Set(program.code.flatMap((each) => (each.op === "back" ? [each.group] : [])));
  const seen = new Set<string>();
  const stack: Way[] = [{ at: program.start, place: start, captures: noCaptures(program.groups) }];
  let best: { end: number; spans: readonly number[] } | undefined;
  for (let way = stack.pop(); way !== undefined; way = stack.pop()) {
    const { at, place, captures } = way;
    if (budget.steps-- <= 0) throw new RegexError("Memory exhausted");
    const each = program.code[at]!;
    const goOn = (next: number, to = place, then = captures): void =>
      void stack.push({ at: next, place: to, captures: then });
    switch (each.op) {
      case "match":
        if (best === undefined || place > best.end) best = { end: place, spans: captures.spans };
        if (place === text.length) return best;
        break;
      case "set":
        if (place < text.length && each.set[text.charCodeAt(place) & 0xff] === 1) goOn(each.next, place + 1);
        break;
      case "split": {
        const key = wayKey(at, place, captures, referenced);
        if (seen.has(key)) break;
        seen.add(key);
        goOn(each.other);
        goOn(each.next);
        break;
      }
      case "assert":
        if (holds(each.what, sideAt(text, place - 1), sideAt(text, place), program.isMultiline))
          goOn(each.next);
        break;
      case "open":
        goOn(each.next, place, openGroup(captures, each.group, place));
        break;
      case "close":
        goOn(each.next, place, closeGroup(captures, each, place));
        break;
      default: {
        const [from, to] = [captures.spans[each.group * 2 - 2]!, captures.spans[each.group * 2 - 1]!];
        if (to < 0) break;
        budget.steps -= (to - from) >> 4;
        const isSame = fold(text.slice(place, place + to - from)) === fold(text.slice(from, to));
        if (isSame) goOn(each.next, place + to - from);
      }
    }
  }
  return best;
}

function wayKey(at: number, place: number, { spans }: Captures, referenced: ReadonlySet<number>): string {
  let key = `${at} ${place}`;
  for (const group of referenced) key += ` ${spans[group * 2 - 2]} ${spans[group * 2 - 1]}`;
  return key;
}
