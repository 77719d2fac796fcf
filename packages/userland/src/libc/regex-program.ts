/**
 * The instructions of a regular expression's automaton (Thompson), made of its tree: sets of bytes, choices, assertions,
 * marks of groups. Of a choice the first way is preferred where captures are filled; sets of states know no preference.
 *
 * An interval is so many copies of what it repeats, and their number is bounded: `Regular expression too big`.
 */
import { ANY, type ByteSet, RegexError, WORD } from "./regex-sets.ts";
import type { Assertion, RegexNode } from "./regex-syntax.ts";

export type Instruction =
  | { readonly op: "set"; readonly set: ByteSet; readonly next: number }
  | { readonly op: "split"; next: number; readonly other: number }
  | { readonly op: "assert"; readonly what: Assertion; readonly next: number }
  | { readonly op: "open"; readonly group: number; readonly next: number }
  /** Optional (the first copy that may be left out): an empty round leaves the captures as the last round that was not empty (GNU). */
  | { readonly op: "close"; readonly group: number; readonly isOptional: boolean; readonly next: number }
  | { readonly op: "back"; readonly group: number; readonly next: number }
  | { readonly op: "match"; readonly next: number };

export interface Program {
  readonly code: readonly Instruction[];
  readonly start: number;
  readonly groups: number;
  readonly isMultiline: boolean;
  readonly hasAssertions: boolean;
  /** The bytes that no instruction tells apart share a class; the last class, `classes`, is an end of the text. */
  readonly classOf: Uint8Array;
  readonly classes: number;
  /** A byte of each class. */
  readonly sample: Uint8Array;
  /** What assertions see of a class: `Side`. */
  readonly sideOf: Uint8Array;
}

/** The number of the instruction that matches. */
export const MATCH = 0;

/** What an assertion can see on one side. */
export const SIDE = { edge: 0, newline: 1, word: 2, other: 3 } as const;

/** A step that no state was made for yet takes up to this many: the longest time that a guest can ask for one character. */
const MOST_INSTRUCTIONS = 8192;
/** Optional copies with groups that are nested the way of GNU; more take a form whose sets of states stay small. */
const MOST_NESTED = 64;

export interface ProgramOptions {
  readonly groups: number;
  readonly isMultiline: boolean;
  /** A back reference matches anything: what matches then includes all that does. */
  readonly isRelaxed?: boolean;
}

/** The automaton of a tree. Throws `RegexError` where it is too big. */
export function compileProgram(tree: RegexNode, options: ProgramOptions): Program {
  const compiler = new Compiler(options.isRelaxed === true);
  const start = compiler.compile(tree, compiler.emit({ op: "match", next: -1 }), false);
  const { code } = compiler;
  return {
    code,
    start,
    groups: options.groups,
    isMultiline: options.isMultiline,
    hasAssertions: code.some(({ op }) => op === "assert"),
    ...classesOf(code),
  };
}

/** Whether an assertion holds between two sides. */
export function holds(what: Assertion, before: number, after: number, isMultiline: boolean): boolean {
  const isWordBefore = before === SIDE.word;
  const isWordAfter = after === SIDE.word;
  switch (what) {
    case "lineStart":
      return before === SIDE.edge || (isMultiline && before === SIDE.newline);
    case "lineEnd":
      return after === SIDE.edge || (isMultiline && after === SIDE.newline);
    case "textStart":
      return before === SIDE.edge;
    case "textEnd":
      return after === SIDE.edge;
    case "wordEdge":
      return isWordBefore !== isWordAfter;
    case "noWordEdge":
      return isWordBefore === isWordAfter;
    case "wordStart":
      return !isWordBefore && isWordAfter;
    case "wordEnd":
      return isWordBefore && !isWordAfter;
    case "noWordBefore":
      return !isWordBefore;
    default:
      return !isWordAfter;
  }
}

class Compiler {
  readonly code: Instruction[] = [];
  readonly #isRelaxed: boolean;

  constructor(isRelaxed: boolean) {
    this.#isRelaxed = isRelaxed;
  }

  emit(instruction: Instruction): number {
    if (this.code.length >= MOST_INSTRUCTIONS) throw new RegexError("Regular expression too big");
    return this.code.push(instruction) - 1;
  }

  /** Where the automaton of `node` starts that goes on at `next`. `isOptional`: a repetition may leave it out. */
  compile(node: RegexNode, next: number, isOptional: boolean): number {
    switch (node.kind) {
      case "set":
        return this.emit({ op: "set", set: node.set, next });
      case "assert":
        return this.emit({ op: "assert", what: node.what, next });
      case "group": {
        const close = this.emit({ op: "close", group: node.index, isOptional, next });
        return this.emit({ op: "open", group: node.index, next: this.compile(node.body, close, false) });
      }
      case "cat":
        return node.parts.reduceRight((after, part) => this.compile(part, after, false), next);
      case "alt":
        return node.branches
          .map((branch) => this.compile(branch, next, false))
          .reduceRight((other, first) => this.emit({ op: "split", next: first, other }));
      case "repeat":
        return this.#repeat(node, next, isOptional);
      default:
        if (this.#isRelaxed) return this.#star({ kind: "set", set: ANY }, next);
        return this.emit({ op: "back", group: node.group, next });
    }
  }

  #repeat(
    { body, min, max }: Extract<RegexNode, { kind: "repeat" }>,
    after: number,
    isOptional: boolean,
  ): number {
    let next = after;
    if (max === Number.POSITIVE_INFINITY) next = this.#star(body, next);
    else if (body.kind !== "set" && max - min <= MOST_NESTED) next = this.#nested(body, max - min, next);
    else {
      for (let i = min; i < max; i++)
        next = this.emit({ op: "split", next: this.compile(body, next, i === max - 1), other: after });
    }
    for (let i = 0; i < min; i++) next = this.compile(body, next, isOptional);
    return next;
  }

  #star(body: RegexNode, other: number): number {
    const again = { op: "split" as const, next: -1, other };
    again.next = this.compile(body, this.emit(again), true);
    // A second choice, so that an empty first round ends at `other` with its captures.
    return this.emit({ ...again });
  }

  /** `((x?)x)?`: more rounds are preferred to a better choice in the first. */
  #nested(body: RegexNode, count: number, after: number): number {
    let next = after;
    let outer: { next: number } | undefined;
    let entry = after;
    for (let i = 0; i < count; i++) {
      const copy = this.compile(body, next, i === count - 1);
      const split = { op: "split" as const, next: copy, other: next };
      const at = this.emit(split);
      if (outer === undefined) entry = at;
      else outer.next = at;
      outer = split;
      next = copy;
    }
    return entry;
  }
}

function classesOf(code: readonly Instruction[]): Pick<Program, "classOf" | "classes" | "sample" | "sideOf"> {
  const sets = new Set(code.flatMap((each) => (each.op === "set" ? [each.set] : [])));
  if (code.some((each) => each.op === "assert")) {
    sets.add(WORD);
    sets.add(Uint8Array.from({ length: 256 }, (_, byte) => (byte === 10 ? 1 : 0)));
  }
  let classOf = new Uint8Array(256);
  let classes = 1;
  for (const set of sets) {
    const numbers = new Map<number, number>();
    classOf = classOf.map((old, byte) => {
      const key = old * 2 + set[byte]!;
      if (!numbers.has(key)) numbers.set(key, numbers.size);
      return numbers.get(key)!;
    });
    classes = numbers.size;
  }
  const sample = new Uint8Array(classes);
  for (let byte = 0; byte < 256; byte++) sample[classOf[byte]!] = byte;
  const sideOf = new Uint8Array(classes + 1);
  for (let each = 0; each < classes; each++) sideOf[each] = sideOfByte(sample[each]!);
  return { classOf, classes, sample, sideOf };
}

const sideOfByte = (byte: number): number =>
  byte === 10 ? SIDE.newline : WORD[byte] === 1 ? SIDE.word : SIDE.other;

/** What an assertion sees of the character at `at`. */
export const sideAt = (text: string, at: number): number =>
  at < 0 || at >= text.length ? SIDE.edge : sideOfByte(text.charCodeAt(at) & 0xff);
