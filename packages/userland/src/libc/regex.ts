/**
 * POSIX regular expressions (XBD chapter 9), basic and extended, with the GNU operators. Of all matches the leftmost is
 * found, and of those the longest; groups hold what GNU's sed says they do. Text is in the C locale: one character per byte.
 *
 * A guest chooses pattern and text, so no search may take long: automata need time linear in text times pattern
 * (`regex-automata.ts`), and the search with back references has a budget (`regex-backrefs.ts`).
 *
 * | file | what it does |
 * |---|---|
 * | `regex-syntax.ts`, `regex-sets.ts` | patterns and bracket expressions into trees |
 * | `regex-host.ts` | the patterns that the host's own does as well |
 * | `regex-program.ts` | trees into instructions |
 * | `regex-automata.ts` | whether there is a match, where it starts, where it ends |
 * | `regex-captures.ts` | what its groups matched |
 */
import { ToolError } from "./errors.ts";
import { Backward, Forward } from "./regex-automata.ts";
import { type Budget, MOST_STEPS, STEPS_PER_CHARACTER, matchWithReferences } from "./regex-backrefs.ts";
import { fillCaptures } from "./regex-captures.ts";
import { hostRegex, requiredText } from "./regex-host.ts";
import { type Program, compileProgram } from "./regex-program.ts";
import { RegexError, charSet } from "./regex-sets.ts";
import { type RegexNode, parseRegex } from "./regex-syntax.ts";

export { RegexError, classSet } from "./regex-sets.ts";

export interface RegexOptions {
  /** `basic` (the default), `extended`, that of Emacs (find -regex), or `fixed`: the text itself. */
  readonly syntax?: "basic" | "extended" | "emacs" | "fixed";
  /** As grep reads patterns: what is no operator where it stands is text, not an error. */
  readonly isLenient?: boolean;
  readonly ignoreCase?: boolean;
  /** `^` and `$` also match around newlines (sed's M flag). */
  readonly multiline?: boolean;
  /** A match is a whole line, a whole word (grep -x, -w), or starts where the text does (expr). */
  readonly bounds?: "line" | "word" | "start";
}

export interface RegexMatch {
  readonly index: number;
  readonly end: number;
  /** What matched, and what each group did; undefined for a group that did not. */
  readonly groups: readonly (string | undefined)[];
}

/** The regular expression of one pattern or of several, any of which may match. Throws `RegexError`. */
export function compileRegex(patterns: string | readonly string[], options: RegexOptions = {}): Regex {
  const trees: RegexNode[] = [];
  let groups = 0;
  for (const pattern of typeof patterns === "string" ? [patterns] : patterns) {
    const parsed = parsePattern(pattern, options, groups);
    trees.push(parsed.tree);
    groups = parsed.groups;
  }
  const tree: RegexNode = trees.length === 1 ? trees[0]! : { kind: "alt", branches: trees };
  return new Regex(trees.length === 0 ? NOTHING : bounded(tree, options.bounds), { ...options, groups });
}

/** What `run` returns. A `RegexError` becomes the error of a tool, with its exit status. */
export function withRegex<T>(status: number, run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (error instanceof RegexError) throw new ToolError(error.message, status);
    throw error;
  }
}

const NOTHING: RegexNode = { kind: "set", set: new Uint8Array(256) };

function parsePattern(
  pattern: string,
  { syntax = "basic", isLenient = false, ignoreCase = false }: RegexOptions,
  groupsBefore: number,
): { readonly tree: RegexNode; readonly groups: number } {
  if (syntax !== "fixed") return parseRegex(pattern, { syntax, isLenient, ignoreCase, groupsBefore });
  const parts = [...pattern].map((char) => ({ kind: "set" as const, set: charSet(char, ignoreCase) }));
  return { tree: { kind: "cat", parts }, groups: groupsBefore };
}

function bounded(tree: RegexNode, bounds: RegexOptions["bounds"]): RegexNode {
  if (bounds === undefined) return tree;
  const parts: RegexNode[] = [
    { kind: "assert", what: bounds === "word" ? "noWordBefore" : "lineStart" },
    tree,
  ];
  if (bounds !== "start") parts.push({ kind: "assert", what: bounds === "word" ? "noWordAfter" : "lineEnd" });
  return { kind: "cat", parts };
}

/** What the automata found out about a text: where matches start, and what can be reached from each place. */
interface Scan {
  readonly text: string;
  readonly isStart: Uint8Array;
  readonly steps: Int32Array;
  readonly generation: number;
  readonly budget: Budget;
}

interface Engines {
  readonly program: Program;
  readonly hasReferences: boolean;
  readonly search: Forward;
  readonly forward: Forward;
  readonly backward: Backward;
}

function enginesOf(
  tree: RegexNode,
  options: { readonly groups: number; readonly isMultiline: boolean },
): Engines {
  const program = compileProgram(tree, options);
  const hasReferences = program.code.some(({ op }) => op === "back");
  // Where a reference may be anything all that match are found, and more; the search for references decides.
  const relaxed = hasReferences ? compileProgram(tree, { ...options, isRelaxed: true }) : program;
  return {
    program,
    hasReferences,
    search: new Forward(relaxed, true),
    forward: new Forward(relaxed, false),
    backward: new Backward(relaxed),
  };
}

/** Characters of a match that grows no more before it is asked whether it still can. */
const PATIENCE = 16;

export class Regex {
  readonly groups: number;
  readonly #host: RegExp | undefined;
  readonly #required: string;
  readonly #ignoreCase: boolean;
  readonly #engines: () => Engines;
  #scan: Scan | undefined;

  /** Of a tree with so many groups. Throws `RegexError` where it is too big. */
  constructor(
    tree: RegexNode,
    {
      groups = 0,
      ignoreCase = false,
      multiline = false,
    }: { readonly groups?: number; readonly ignoreCase?: boolean; readonly multiline?: boolean } = {},
  ) {
    this.groups = groups;
    this.#ignoreCase = ignoreCase;
    this.#host = hostRegex(tree, multiline);
    this.#required = requiredText(tree);
    let engines: Engines | undefined;
    this.#engines = () => (engines ??= enginesOf(tree, { groups, isMultiline: multiline }));
    if (this.#host === undefined) this.#engines();
  }

  /** Whether the text has a match. Throws `RegexError` where that takes too long (back references only). */
  test(text: string): boolean {
    if (this.#host !== undefined) {
      this.#host.lastIndex = 0;
      return this.#host.test(text);
    }
    if (!text.includes(this.#required)) return false;
    const { hasReferences, search } = this.#engines();
    if (hasReferences) return this.exec(text) !== undefined;
    return this.#run(search, text, 0, true) >= 0;
  }

  /** The first match that starts at `from` or later. Throws as `test` does. */
  exec(text: string, from = 0): RegexMatch | undefined {
    if (from > text.length) return undefined;
    if (this.#host !== undefined) return hostMatch(this.#host, text, from);
    const { hasReferences, program, search, forward } = this.#engines();
    if (this.#scan?.text !== text) {
      if (!text.includes(this.#required) || this.#run(search, text, 0, true) < 0) return undefined;
      this.#scan = this.#scanned(text);
    }
    const { isStart } = this.#scan;
    if (hasReferences) return this.#execWithReferences(this.#scan, from);
    const index = isStart.indexOf(1, from);
    if (index < 0) return undefined;
    const end = this.#run(forward, text, index, false);
    const spans = this.groups === 0 ? [] : fillCaptures(program, text, index, end);
    return matchOf(text, index, end, spans);
  }

  /** All matches from left to right, none inside another. */
  *matches(text: string): Generator<RegexMatch> {
    for (let from = 0; ;) {
      const match = this.exec(text, from);
      if (match === undefined) return;
      yield match;
      from = match.end > match.index ? match.end : match.end + 1;
    }
  }

  /** Where the shortest match ends that starts at the start; undefined where none does. */
  shortestEnd(text: string): number | undefined {
    const end = this.#run(this.#engines().forward, text, 0, true);
    return end < 0 ? undefined : end;
  }

  /** The last place where a match starts; undefined where none does. */
  lastStart(text: string): number | undefined {
    const start = this.#scanned(text).isStart.lastIndexOf(1);
    return start < 0 ? undefined : start;
  }

  #execWithReferences({ text, isStart, budget }: Scan, from: number): RegexMatch | undefined {
    // All matches of a text share a budget.
    if (from === 0) budget.steps = MOST_STEPS + STEPS_PER_CHARACTER * text.length;
    const { program } = this.#engines();
    for (let at = isStart.indexOf(1, from); at >= 0; at = isStart.indexOf(1, at + 1)) {
      const found = matchWithReferences(program, text, at, { ignoreCase: this.#ignoreCase, budget });
      if (found !== undefined) return matchOf(text, at, found.end, found.spans);
    }
    return undefined;
  }

  /** Where the longest match (the first that is found, with `isFirst`) ends; -1 where there is none. */
  #run(automaton: Forward, text: string, start: number, isFirst: boolean): number {
    const { classOf, classes } = automaton.program;
    let state = automaton.startState(text, start);
    let end = -1;
    for (let at = start; ; at++) {
      const cls = at < text.length ? classOf[text.charCodeAt(at) & 0xff]! : classes;
      let step = automaton.steps[state * automaton.stride + cls]!;
      if (step < 0) step = automaton.step(state, cls);
      if ((step & 1) === 1) {
        end = at;
        if (isFirst) return end;
      }
      state = step >> 1;
      if (at >= text.length) return end;
      if (!isFirst && at - end > PATIENCE && end >= 0 && this.#isHopeless(automaton.members(state), at + 1))
        return end;
    }
  }

  /** Whether no match can be reached any more. */
  #isHopeless(members: Int32Array, at: number): boolean {
    if (members.length === 0) return true;
    const scan = this.#scan;
    const { backward } = this.#engines();
    if (scan === undefined || scan.generation !== backward.generation) return false;
    return backward.isHopeless(members, scan.steps[at]!);
  }

  #scanned(text: string): Scan {
    const automaton = this.#engines().backward;
    const { classOf, classes } = automaton.program;
    const isStart = new Uint8Array(text.length + 1);
    const steps = new Int32Array(text.length + 1);
    let state = automaton.endState();
    const { generation } = automaton;
    for (let at = text.length; at >= 0; at--) {
      const cls = at > 0 ? classOf[text.charCodeAt(at - 1) & 0xff]! : classes;
      const index = state * automaton.stride + cls;
      let step = automaton.steps[index]!;
      if (step < 0) step = automaton.step(state, cls);
      isStart[at] = step & 1;
      steps[at] = index;
      state = step >> 1;
    }
    return { text, isStart, steps, generation, budget: { steps: MOST_STEPS } };
  }
}

function hostMatch(host: RegExp, text: string, from: number): RegexMatch | undefined {
  host.lastIndex = from;
  const match = host.exec(text);
  if (match === null) return undefined;
  return { index: match.index, end: match.index + match[0].length, groups: match };
}

function matchOf(text: string, index: number, end: number, spans: readonly number[]): RegexMatch {
  const groups: (string | undefined)[] = [text.slice(index, end)];
  for (let i = 0; i < spans.length; i += 2) {
    groups.push(spans[i + 1]! < 0 ? undefined : text.slice(spans[i], spans[i + 1]));
  }
  return { index, end, groups };
}
