/**
 * The random suite of regular expressions: what is found is what a search of all ways finds, the leftmost and longest; no
 * match is missed; and any text is a pattern or a `RegexError`.
 */
import { type Prng, type Reach, subjectSuite } from "@alien-ts/testkit";
import { RegexError } from "../src/libc/regex-sets.ts";
import { type RegexNode, parseRegex } from "../src/libc/regex-syntax.ts";
import { type Regex, type RegexMatch, compileRegex } from "../src/libc/regex.ts";

interface Subject {
  compile(pattern: string): Regex;
  exec(regex: Regex, text: string): RegexMatch | undefined;
  test(regex: Regex, text: string): boolean;
}

const matcher: Subject = {
  compile: (pattern) => compileRegex(pattern, { syntax: "extended" }),
  exec: (regex, text) => regex.exec(text),
  test: (regex, text) => regex.test(text),
};

const BUGS: Readonly<Record<string, Subject>> = {
  "the first alternative is taken, not the longest": {
    ...matcher,
    exec: (regex, text) => {
      const match = regex.exec(text);
      if (match === undefined) return undefined;
      const shorter = regex.exec(text.slice(0, match.end - 1));
      return shorter?.index === match.index ? shorter : match;
    },
  },
  "a match at the end of the text is missed": {
    ...matcher,
    test: (regex, text) => regex.test(text) && (regex.exec(text)?.index ?? 0) < text.length,
  },
  "a bad pattern throws the host's error": {
    ...matcher,
    compile: (pattern) => {
      if (pattern.includes("**")) throw new SyntaxError("nothing to repeat");
      return matcher.compile(pattern);
    },
  },
};

const ATOMS = ["a", "b", "ab", ".", "[ab]", "[^a]", "^", "$", "\\<", "\\b", "x*y", "[[:alpha:]-]"];
const OPERATORS = ["*", "+", "?", "{2}", "{0,2}", "{1,}", "", "", "", "", ""];
const NOISE = ["(", ")", "[", "|", "**", "\\", "{", "{1", "}", "\\1", "[b-a]", "[[:x:]]"];

export const regexFuzz = subjectSuite("regex", matcher, BUGS, (subject, random, reach) => {
  let pattern = randomPattern(random, 2);
  if (random.oneIn(5)) pattern += random.pick(NOISE);
  const text = Array.from({ length: random.below(9) }, () =>
    random.pick(["a", "b", "a", "b", "x", "y", " "]),
  );
  return problem(subject, pattern, text.join(""), reach);
});

function randomPattern(random: Prng, depth: number): string {
  let pattern = "";
  for (let i = random.below(3); i >= 0; i--) {
    const isGroup = depth > 0 && random.oneIn(3);
    pattern += isGroup ? `(${randomPattern(random, depth - 1)})` : random.pick(ATOMS);
    if (!/[$^<b]$/.test(pattern)) pattern += random.pick(OPERATORS);
  }
  return random.oneIn(4) ? `${pattern}|${randomPattern(random, 0)}` : pattern;
}

function problem(subject: Subject, pattern: string, text: string, reach: Reach): string | undefined {
  const shown = `${pattern} in ${JSON.stringify(text)}`;
  try {
    const regex = subject.compile(pattern);
    const expected = searchAll(pattern, text);
    const match = subject.exec(regex, text);
    const found = match && `${match.index}-${match.end}`;
    reach(expected === undefined ? "no match" : "match");
    if (found !== expected) return `${shown} is found at ${found}, expected ${expected}`;
    const isFound = subject.test(regex, text);
    return isFound === (expected !== undefined) ? undefined : `${shown}: test says ${isFound}`;
  } catch (error) {
    if (!(error instanceof RegexError)) return `${shown} throws ${String(error)}`;
    reach(error.message);
    return undefined;
  }
}

/** The first place with a match, and the last place where one ends that starts there: by the meaning of the tree. */
function searchAll(pattern: string, text: string): string | undefined {
  const { tree } = parseRegex(pattern, {
    syntax: "extended",
    isLenient: false,
    ignoreCase: false,
    groupsBefore: 0,
  });
  for (let start = 0; start <= text.length; start++) {
    const ends = endsOf(tree, text, new Set([start]));
    if (ends.size > 0) return `${start}-${Math.max(...ends)}`;
  }
  return undefined;
}

const isWord = (char: string | undefined): boolean => char !== undefined && /\w/.test(char);

/** Where a tree can end that starts at one of the places. References are not in these patterns. */
function endsOf(node: RegexNode, text: string, places: ReadonlySet<number>): ReadonlySet<number> {
  const keep = (test: (place: number) => boolean): Set<number> => new Set([...places].filter(test));
  switch (node.kind) {
    case "set":
      return new Set([...keep((at) => node.set[text.charCodeAt(at)] === 1)].map((at) => at + 1));
    case "assert":
      if (node.what === "lineStart") return keep((at) => at === 0);
      if (node.what === "lineEnd") return keep((at) => at === text.length);
      return keep((at) => {
        const [before, after] = [isWord(text[at - 1]), isWord(text[at])];
        return node.what === "wordStart" ? !before && after : before !== after;
      });
    case "group":
      return endsOf(node.body, text, places);
    case "cat":
      return node.parts.reduce((ends, part) => endsOf(part, text, ends), places);
    case "alt":
      return new Set(node.branches.flatMap((branch) => [...endsOf(branch, text, places)]));
    case "repeat": {
      let current = places;
      for (let i = 0; i < node.min; i++) current = endsOf(node.body, text, current);
      const ends = new Set(current);
      const rounds = Math.min(node.max - node.min, text.length + 1);
      for (let i = 0; i < rounds; i++) {
        current = endsOf(node.body, text, current);
        for (const end of current) ends.add(end);
      }
      return ends;
    }
    default:
      throw new RegexError("a reference");
  }
}
