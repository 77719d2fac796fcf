/**
 * The compression of symbol names: a table of 256 tokens, chosen over whole names.
 *
 * Interface: `compressNames`. Every byte that occurs in a name stands for itself; each other code is given, one after the
 * other, to the pair of neighbouring codes that is most frequent at that time, which is then replaced everywhere. A token
 * may thus stand for a long run of characters, anywhere in a name.
 *
 * Linux: scripts/kallsyms.c, optimize_token_table(). Invariants: the result depends on nothing but the names; ties go to
 * the smallest pair; no token is longer than 255 bytes.
 *
 * Pairs are counted once. A replacement visits only the places where the pair occurs (doubly linked lists of occurrences)
 * and corrects the counts of its neighbours, so the cost grows with the text and not with text × rounds: a rescan per round
 * took 180 ms for 6,000 names and 2,350 ms for 122,000.
 */

export const TOKENS = 256;
export const TOKEN_BYTES_MAX = 255;

export interface CompressedNames {
  /** 256 expansions; a code that nothing uses has an empty one. */
  readonly tokens: readonly Uint8Array[];
  /** The codes of each name, in the order given. */
  readonly names: readonly Uint8Array[];
}

/** Compresses `names`, byte strings of at least one byte each. */
export function compressNames(names: readonly Uint8Array[]): CompressedNames {
  const text = new PairText(names);
  const tokens = text.literals();
  for (let code = TOKENS - 1; code >= 0; code--) {
    if (tokens[code]!.length > 0) continue;
    const pair = mostFrequentPair(text.counts, tokens);
    if (pair < 0) break;
    tokens[code] = concatenate(tokens[pair & 0xff]!, tokens[pair >> 8]!);
    text.replace(pair, code);
  }
  return { tokens, names: text.names() };
}

/** The pair (first | second << 8) that saves most, or -1 where none occurs twice. */
function mostFrequentPair(counts: Int32Array, tokens: readonly Uint8Array[]): number {
  let best = -1;
  let bestCount = 1;
  for (let pair = 0; pair < counts.length; pair++) {
    const count = counts[pair]!;
    if (count <= bestCount) continue;
    if (tokens[pair & 0xff]!.length + tokens[pair >> 8]!.length > TOKEN_BYTES_MAX) continue;
    best = pair;
    bestCount = count;
  }
  return best;
}

function concatenate(a: Uint8Array, b: Uint8Array): Uint8Array {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}

/** Stands before, between and after the names: no pair crosses it. */
const BOUNDARY = 256;
const NONE = -1;

/** All names as one list of codes in which pairs can be counted and replaced. */
class PairText {
  /** Occurrences of each pair (first | second << 8). */
  readonly counts = new Int32Array(TOKENS * TOKENS);
  /** Code at each place; a place that was merged into the one before is no longer linked. */
  readonly #codes: Uint16Array;
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  /** Per pair, the first place where it begins; per place, its neighbours in the list of the same pair. */
  readonly #firstOf = new Int32Array(TOKENS * TOKENS).fill(NONE);
  readonly #nextSame: Int32Array;
  readonly #previousSame: Int32Array;
  readonly #nameCount: number;

  constructor(names: readonly Uint8Array[]) {
    const length = names.reduce((sum, name) => sum + name.length + 1, 1);
    this.#nameCount = names.length;
    this.#codes = new Uint16Array(length).fill(BOUNDARY);
    this.#next = Int32Array.from({ length }, (_, place) => place + 1);
    this.#previous = Int32Array.from({ length }, (_, place) => place - 1);
    this.#nextSame = new Int32Array(length);
    this.#previousSame = new Int32Array(length);
    let place = 1;
    for (const name of names) {
      this.#codes.set(name, place);
      place += name.length + 1;
    }
    for (place = 1; place < length - 1; place++) this.#count(place);
  }

  /** One token for each byte that occurs: the byte itself. */
  literals(): Uint8Array[] {
    const tokens = Array.from({ length: TOKENS }, () => new Uint8Array(0));
    for (const code of this.#codes) {
      if (code !== BOUNDARY && tokens[code]!.length === 0) tokens[code] = Uint8Array.of(code);
    }
    return tokens;
  }

  /** Puts `code` wherever `pair` occurs. */
  replace(pair: number, code: number): void {
    for (let place = this.#firstOf[pair]!; place !== NONE; place = this.#firstOf[pair]!) {
      const second = this.#next[place]!;
      const before = this.#previous[place]!;
      const after = this.#next[second]!;
      this.#uncount(place);
      this.#uncount(before);
      this.#uncount(second);
      this.#codes[place] = code;
      this.#next[place] = after;
      this.#previous[after] = place;
      this.#count(before);
      this.#count(place);
    }
  }

  /** The names in their present codes. */
  names(): Uint8Array[] {
    const names: Uint8Array[] = [];
    let place = 1;
    for (let i = 0; i < this.#nameCount; i++) {
      const codes: number[] = [];
      for (; this.#codes[place] !== BOUNDARY; place = this.#next[place]!) codes.push(this.#codes[place]!);
      names.push(Uint8Array.from(codes));
      place = this.#next[place]!;
    }
    return names;
  }

  /** The pair that begins at `place`, or NONE at the edge of a name. */
  #pairAt(place: number): number {
    const first = this.#codes[place]!;
    if (first === BOUNDARY) return NONE;
    const second = this.#codes[this.#next[place]!]!;
    return second === BOUNDARY ? NONE : first | (second << 8);
  }

  #count(place: number): void {
    const pair = this.#pairAt(place);
    if (pair === NONE) return;
    const head = this.#firstOf[pair]!;
    this.#nextSame[place] = head;
    this.#previousSame[place] = NONE;
    if (head !== NONE) this.#previousSame[head] = place;
    this.#firstOf[pair] = place;
    this.counts[pair]! += 1;
  }

  #uncount(place: number): void {
    const pair = this.#pairAt(place);
    if (pair === NONE) return;
    const next = this.#nextSame[place]!;
    const previous = this.#previousSame[place]!;
    if (previous === NONE) this.#firstOf[pair] = next;
    else this.#nextSame[previous] = next;
    if (next !== NONE) this.#previousSame[next] = previous;
    this.counts[pair]! -= 1;
  }
}
