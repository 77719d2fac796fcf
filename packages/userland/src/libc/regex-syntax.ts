/**
 * Regular expressions read into trees: POSIX basic and extended ones (XBD chapter 9) with the GNU operators (`\+ \? \|` in
 * basic ones, `\w \W \s \S \b \B \< \> \` \'`), and those of Emacs that find(1) takes.
 *
 * `isLenient` is how grep reads them: an operator with nothing to repeat is passed over in an extended expression and literal
 * in a basic one, and what is no interval is text. sed refuses both. Measured with GNU grep 3.8 and GNU sed 4.9.
 */
import {
  ANY,
  type ByteSet,
  RegexError,
  SPACE,
  WORD,
  charSet,
  complement,
  parseBracket,
} from "./regex-sets.ts";

export type RegexNode =
  | { readonly kind: "set"; readonly set: ByteSet }
  | { readonly kind: "assert"; readonly what: Assertion }
  | { readonly kind: "group"; readonly index: number; readonly body: RegexNode }
  | { readonly kind: "cat"; readonly parts: readonly RegexNode[] }
  | { readonly kind: "alt"; readonly branches: readonly RegexNode[] }
  /** `max` is infinite for `*`. */
  | { readonly kind: "repeat"; readonly body: RegexNode; readonly min: number; readonly max: number }
  | { readonly kind: "back"; readonly group: number };

/** `noWordBefore` and `noWordAfter` are those of grep -w. */
export type Assertion =
  | "lineStart"
  | "lineEnd"
  | "textStart"
  | "textEnd"
  | "wordEdge"
  | "noWordEdge"
  | "wordStart"
  | "wordEnd"
  | "noWordBefore"
  | "noWordAfter";

export interface SyntaxOptions {
  readonly syntax: "basic" | "extended" | "emacs";
  readonly isLenient: boolean;
  readonly ignoreCase: boolean;
  /** Groups that come before those of this pattern. */
  readonly groupsBefore: number;
}

/** RE_DUP_MAX of Linux (limits.h). */
const MOST_REPEATS = 32_767;
/** Parentheses inside each other: the tree is walked by recursion. */
const DEEPEST = 1000;
const BAD_REPEAT = "Invalid preceding regular expression";

/** The tree of a pattern and the number of groups so far. Throws `RegexError` in the words of regerror(3). */
export function parseRegex(
  pattern: string,
  options: SyntaxOptions,
): { readonly tree: RegexNode; readonly groups: number } {
  const parser = new RegexParser(pattern, options);
  return { tree: parser.parse(), groups: parser.groups };
}

const ESCAPES: Readonly<Record<string, RegexNode>> = {
  w: { kind: "set", set: WORD },
  W: { kind: "set", set: complement(WORD) },
  s: { kind: "set", set: SPACE },
  S: { kind: "set", set: complement(SPACE) },
  b: { kind: "assert", what: "wordEdge" },
  B: { kind: "assert", what: "noWordEdge" },
  "<": { kind: "assert", what: "wordStart" },
  ">": { kind: "assert", what: "wordEnd" },
  "`": { kind: "assert", what: "textStart" },
  "'": { kind: "assert", what: "textEnd" },
};

interface OpenGroup {
  readonly index: number;
  readonly branches: RegexNode[];
  parts: RegexNode[];
  /** The groups that had closed where this one opened, and those that have in its branches. Bit n is group n. */
  readonly closedBefore: number;
  closedInBranches: number;
}

const finish = ({ branches, parts }: OpenGroup): RegexNode => {
  const last = join(parts);
  return branches.length === 0 ? last : { kind: "alt", branches: [...branches, last] };
};
const join = (parts: readonly RegexNode[]): RegexNode =>
  parts.length === 1 ? parts[0]! : { kind: "cat", parts };

class RegexParser {
  groups: number;
  readonly #pattern: string;
  readonly #options: SyntaxOptions;
  /** Whether parentheses, bars and braces are operators without a backslash; and `+` and `?`. */
  readonly #isPlain: boolean;
  readonly #hasPlainPlus: boolean;
  #at = 0;
  readonly #open: OpenGroup[] = [{ index: 0, branches: [], parts: [], closedBefore: 0, closedInBranches: 0 }];
  /** The groups that a back reference may name here: those of another branch are none (GNU). */
  #closed = 0;
  /** Whether a repetition may follow: not at the start, behind an anchor, or at the start of a group or branch. */
  #hasAtom = false;

  constructor(pattern: string, options: SyntaxOptions) {
    this.#pattern = pattern;
    this.#options = options;
    this.groups = options.groupsBefore;
    this.#isPlain = options.syntax === "extended";
    this.#hasPlainPlus = options.syntax !== "basic";
  }

  parse(): RegexNode {
    while (this.#at < this.#pattern.length) this.#step();
    if (this.#open.length > 1) throw new RegexError("Unmatched ( or \\(");
    return finish(this.#top());
  }

  #top(): OpenGroup {
    return this.#open[this.#open.length - 1]!;
  }

  #step(): void {
    const char = this.#pattern[this.#at]!;
    this.#at += 1;
    if (char === "\\") return this.#escape();
    if (char === "[") return this.#bracket();
    if (char === ".") return this.#atom({ kind: "set", set: ANY });
    if (char === "*") return this.#repeat(char, 0, Number.POSITIVE_INFINITY);
    if (char === "^" && (this.#isPlain || !this.#hasAtom)) return this.#anchor("lineStart");
    if (char === "$" && this.#endsHere()) return this.#anchor("lineEnd");
    if (this.#hasPlainPlus && (char === "+" || char === "?")) return this.#plus(char);
    if (this.#isPlain && "(){|".includes(char)) return this.#operator(char);
    this.#literal(char);
  }

  #endsHere(): boolean {
    const rest = this.#pattern.slice(this.#at, this.#at + 2);
    return this.#isPlain || rest === "" || rest === "\\)" || rest === "\\|";
  }

  #plus(char: string): void {
    if (char === "+") this.#repeat(char, 1, Number.POSITIVE_INFINITY);
    else this.#repeat(char, 0, 1);
  }

  #operator(char: string): void {
    if (char === "(") return this.#openGroup();
    if (char === "|") return this.#alternative();
    if (char === "{") return this.#interval();
    if (this.#open.length === 1 && this.#isPlain && this.#options.isLenient) return this.#literal(char);
    this.#closeGroup();
  }

  #escape(): void {
    const char = this.#pattern[this.#at];
    if (char === undefined) throw new RegexError("Trailing backslash");
    this.#at += 1;
    if (!this.#isPlain && "()|".includes(char)) return this.#operator(char);
    if (this.#options.syntax === "basic") {
      if (char === "{") return this.#operator(char);
      if (char === "+" || char === "?") return this.#plus(char);
    }
    if (char >= "1" && char <= "9") return this.#backReference(Number(char));
    const special = Object.hasOwn(ESCAPES, char) ? ESCAPES[char]! : undefined;
    if (special === undefined) return this.#literal({ n: "\n", t: "\t" }[char] ?? char);
    if (special.kind === "assert") return this.#anchor(special.what);
    this.#atom(special);
  }

  #atom(node: RegexNode): void {
    this.#top().parts.push(node);
    this.#hasAtom = true;
  }

  #literal(char: string): void {
    this.#atom({ kind: "set", set: charSet(char, this.#options.ignoreCase) });
  }

  #anchor(what: Assertion): void {
    this.#atom({ kind: "assert", what });
    this.#hasAtom = false;
  }

  #bracket(): void {
    const name = /^:[^\]]*:\]/.exec(this.#pattern.slice(this.#at, this.#at + 16));
    if (name !== null) throw new RegexError("character class syntax is [[:space:]], not [:space:]");
    const { set, next } = parseBracket(this.#pattern, this.#at, this.#options);
    this.#at = next;
    this.#atom({ kind: "set", set });
  }

  #repeat(operator: string, min: number, max: number): void {
    if (!this.#hasAtom) {
      if (!this.#hasPlainPlus) return this.#literal(operator);
      if (this.#options.isLenient) return;
      throw new RegexError(BAD_REPEAT);
    }
    const { parts } = this.#top();
    const body = parts.pop()!;
    // Deep towers of stars would be walked by recursion, and are one.
    const isSame = body.kind === "repeat" && body.min === 0 && body.max === Number.POSITIVE_INFINITY;
    parts.push(isSame && min <= 1 ? body : { kind: "repeat", body, min, max });
  }

  #openGroup(): void {
    if (this.#open.length > DEEPEST) throw new RegexError("Regular expression too big");
    this.groups += 1;
    this.#open.push({
      index: this.groups,
      branches: [],
      parts: [],
      closedBefore: this.#closed,
      closedInBranches: 0,
    });
    this.#hasAtom = false;
  }

  #closeGroup(): void {
    if (this.#open.length === 1) throw new RegexError("Unmatched ) or \\)");
    const group = this.#open.pop()!;
    this.#closed |= group.closedInBranches;
    const digit = group.index - this.#options.groupsBefore;
    if (digit <= 9) this.#closed |= 1 << digit;
    this.#atom({ kind: "group", index: group.index, body: finish(group) });
  }

  #alternative(): void {
    const top = this.#top();
    top.branches.push(join(top.parts));
    top.parts = [];
    top.closedInBranches |= this.#closed;
    this.#closed = top.closedBefore;
    this.#hasAtom = false;
  }

  #backReference(digit: number): void {
    if ((this.#closed & (1 << digit)) === 0) throw new RegexError("Invalid back reference");
    this.#atom({ kind: "back", group: digit + this.#options.groupsBefore });
  }

  #interval(): void {
    const { isLenient } = this.#options;
    if (!this.#hasAtom) {
      if (!isLenient) throw new RegexError(BAD_REPEAT);
      return this.#isPlain ? undefined : this.#literal("{");
    }
    const close = this.#isPlain ? "}" : "\\}";
    const end = this.#pattern.indexOf(close, this.#at);
    const match = /^(\d*)(,?)(\d*)$/.exec(end < 0 ? "?" : this.#pattern.slice(this.#at, end));
    if (match === null || match[0] === "") {
      if (isLenient && this.#isPlain) return this.#literal("{");
      throw new RegexError(end < 0 ? "Unmatched \\{" : "Invalid content of \\{\\}");
    }
    this.#at = end + close.length;
    const min = Number(match[1] || 0);
    const max = match[2] === "" ? min : match[3] === "" ? Number.POSITIVE_INFINITY : Number(match[3]);
    if (max < min) throw new RegexError("Invalid content of \\{\\}");
    if (min > MOST_REPEATS || (max > MOST_REPEATS && max !== Number.POSITIVE_INFINITY)) {
      throw new RegexError("Regular expression too big");
    }
    this.#repeat("{", min, max);
  }
}
