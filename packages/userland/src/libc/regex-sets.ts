/**
 * Sets of bytes, and bracket expressions (XBD 9.3.5) read into them. A set is a table of 256 flags; it is never changed once
 * it is in a tree.
 */

/** What is wrong with a pattern, or with matching it, in the words of regerror(3). */
export class RegexError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "RegexError";
  }
}

export type ByteSet = Uint8Array;

export const setOf = (test: (code: number) => boolean): ByteSet =>
  Uint8Array.from({ length: 256 }, (_, code) => (test(code) ? 1 : 0));

const inRanges = (ranges: string): ((code: number) => boolean) => {
  const codes = [...ranges].map((char) => char.charCodeAt(0));
  return (code) => codes.some((low, i) => i % 2 === 0 && code >= low && code <= codes[i + 1]!);
};

/** Character classes of the C locale, as pairs of first and last character. */
const CLASSES: Readonly<Record<string, string>> = {
  alpha: "AZaz",
  digit: "09",
  alnum: "09AZaz",
  upper: "AZ",
  lower: "az",
  space: "\t\r  ",
  blank: "\t\t  ",
  punct: "!/:@[`{~",
  print: " ~",
  graph: "!~",
  cntrl: "\0\x1f\x7f\x7f",
  xdigit: "09AFaf",
};

/** The bytes of a character class; undefined where there is no such class. */
export const classSet = (name: string): ByteSet | undefined =>
  Object.hasOwn(CLASSES, name) ? setOf(inRanges(CLASSES[name]!)) : undefined;

export const ANY = setOf(() => true);
export const WORD = setOf(inRanges("09AZaz__"));
export const SPACE = classSet("space")!;
export const complement = (set: ByteSet): ByteSet => setOf((code) => set[code] === 0);

/** Sets of one byte, made as they are asked for. */
const singles: ByteSet[] = [];
/** The set of one character; of both its cases with `ignoreCase`. */
export const charSet = (char: string, ignoreCase: boolean): ByteSet => {
  const code = char.charCodeAt(0) & 0xff;
  const set = (singles[code] ??= setOf((each) => each === code));
  return ignoreCase ? foldCase(set) : set;
};

/** Letters in either case. */
export function foldCase(set: ByteSet): ByteSet {
  const folded = set.slice();
  for (let code = 65; code <= 90; code++) {
    if (set[code] === 1 || set[code + 32] === 1) folded[code] = folded[code + 32] = 1;
  }
  return folded.every((flag, code) => flag === set[code]) ? set : folded;
}

const UNMATCHED = "Unmatched [, [^, [:, [., or [=";

/**
 * A bracket expression whose `[` is before `at`, and where the text goes on. `negation` is `^`, or `!^` for shell patterns.
 * Throws `RegexError` where it does not end, or a range or a class in it is wrong.
 */
export function parseBracket(
  pattern: string,
  at: number,
  { negation = "^", ignoreCase = false }: { readonly negation?: string; readonly ignoreCase?: boolean } = {},
): { readonly set: ByteSet; readonly next: number } {
  const isNegated = at < pattern.length && negation.includes(pattern[at]!);
  const first = isNegated ? at + 1 : at;
  const inside = new Uint8Array(256);
  let i = first;
  for (;;) {
    const item = bracketItem(pattern, i, i === first);
    if (item === undefined) break;
    i = item.next;
    const isRange = pattern[i] === "-" && i + 1 < pattern.length && pattern[i + 1] !== "]";
    const end = isRange ? bracketItem(pattern, i + 1, false) : item;
    if (isRange && (item.char === undefined || end?.char === undefined || end.char < item.char)) {
      throw new RegexError("Invalid range end");
    }
    for (let code = 0; code < 256; code++) {
      const isBetween = item.char !== undefined && code >= item.char && code <= end!.char!;
      if (isBetween || item.set?.[code] === 1) inside[code] = 1;
    }
    i = end!.next;
  }
  const set = ignoreCase ? foldCase(inside) : inside;
  return { set: isNegated ? complement(set) : set, next: i + 1 };
}

interface BracketItem {
  /** The character, unless the item is a class. */
  readonly char?: number;
  readonly set?: ByteSet;
  readonly next: number;
}

/** One element of a bracket expression; undefined at its closing bracket. */
function bracketItem(pattern: string, at: number, isFirst: boolean): BracketItem | undefined {
  const char = pattern[at];
  if (char === undefined) throw new RegexError(UNMATCHED);
  if (char === "]" && !isFirst) return undefined;
  const kind = pattern[at + 1];
  if (char !== "[" || kind === undefined || !":.=".includes(kind)) {
    return { char: char.charCodeAt(0) & 0xff, next: at + 1 };
  }
  const end = pattern.indexOf(`${kind}]`, at + 2);
  if (end < 0) throw new RegexError(UNMATCHED);
  const name = pattern.slice(at + 2, end);
  if (kind !== ":") {
    if (name.length !== 1) throw new RegexError("Invalid collation character");
    return { char: name.charCodeAt(0) & 0xff, next: end + 2 };
  }
  const set = classSet(name);
  if (set === undefined) throw new RegexError("Invalid character class name");
  return { set, next: end + 2 };
}
