/** What regular expressions match, what their groups hold, and how they refuse: cases taken from GNU grep 3.8 and sed 4.9. */
import { expect, test } from "vitest";
import { compileRegex } from "./regex.ts";
import { RegexError } from "./regex-sets.ts";

test.each([
  ["a|ab|abc", "abc", "abc"],
  ["(a|ab)(c|bcd)(d*)", "abcd", "abcd,a,bcd,"],
  ["(a|ab)(bc|c)?", "abc", "abc,a,bc"],
  ["(a?)(ab)?", "ab", "ab,,ab"],
  ["((a)|b)*", "ab", "ab,b,a"],
  ["(a|b*)*", "abb", "abb,bb"],
  ["(x*)+", "xx", "xx,xx"],
  ["((a*)(b*))*", "aabba", "aabba,a,a,"],
  ["(a*)(a|aa)", "aaaa", "aaaa,aaa,a"],
  ["(a*){0,2}", "aac", "aa,"],
  ["(a*){1,2}", "aac", "aa,aa"],
  ["(a*){1,3}", "aac", "aa,"],
  ["(a*){2,}", "aac", "aa,aa"],
  ["(a?){2,3}", "aac", "aa,a"],
  ["(.*)-\\1", "ab-abc", "ab-ab,ab"],
  ["(a*)*\\1b", "b", "b,"],
  ["[[:digit:]]+\\.[0-9]{2,}", "v 3.141", "3.141"],
  ["[[=a=][.-.]]+", "x-a-", "-a-"],
  ["\\bfoo\\B.", "foo foox", "foox"],
  ["a{0}b", "ab", "b"],
  ["x*", "abc", ""],
  [".\xff", "a\xff", "a\xff"],
] as const)("the groups of %s in %s", (pattern, text, groups) => {
  const found = compileRegex(pattern, { syntax: "extended" }).exec(text)?.groups;
  expect(found?.map((group) => group ?? "").join()).toBe(groups);
});

test.each([
  ["*a", "Invalid preceding regular expression"],
  ["a|*b", "Invalid preceding regular expression"],
  ["({2})", "Invalid preceding regular expression"],
  ["a{1", "Unmatched \\{"],
  ["a{1,x}", "Invalid content of \\{\\}"],
  ["a{2,1}", "Invalid content of \\{\\}"],
  ["a{40000}", "Regular expression too big"],
  ["((a{1,100}b){100}){100}", "Regular expression too big"],
  ["(a", "Unmatched ( or \\("],
  ["a)", "Unmatched ) or \\)"],
  ["[[.ab.]]", "Invalid collation character"],
  ["[a-[:digit:]]", "Invalid range end"],
  ["(a)\\2", "Invalid back reference"],
  ["(a\\1)", "Invalid back reference"],
  ["(a)|\\1", "Invalid back reference"],
  ["[:space:]", "character class syntax is [[:space:]], not [:space:]"],
])("sed refuses the extended expression %s", (pattern, message) => {
  expect(() => compileRegex(pattern, { syntax: "extended" })).toThrow(new RegexError(message));
});

test.each([
  ["*a", "xa", "a"],
  ["a{1", "a{1", "a{1"],
  ["a{1,x}", "a{1,x}", "a{1,x}"],
  ["a)", "a)", "a)"],
])("grep takes the extended expression %s", (pattern, text, found) => {
  expect(compileRegex(pattern, { syntax: "extended", isLenient: true }).exec(text)?.groups[0]).toBe(found);
});

const LONG = "a".repeat(100_000);

test.each([
  ["(a+)+b", `${LONG}c`, false],
  ["(a|aa)+$", `${LONG}x`, false],
  ["(a*)*(a|b)*c", LONG, false],
  ["x*y|(a+)+$", LONG, true],
])("%s is decided on a long line", (pattern, text, isFound) => {
  expect(compileRegex(pattern, { syntax: "extended" }).test(text)).toBe(isFound);
});

test("all matches of a pattern that looks far ahead are found in one pass", () => {
  const regex = compileRegex("a(.*b)?", { syntax: "extended" });
  expect([...regex.matches(LONG.slice(0, 20_000))]).toHaveLength(20_000);
});

test("a search with references ends with an error where it takes too long", () => {
  const regex = compileRegex("(a*)(a*)(a*)\\1\\2\\3c", { syntax: "extended" });
  expect(() => regex.test(`${LONG.slice(0, 1000)}dc`)).toThrow(new RegexError("Memory exhausted"));
});

test("a search goes on with other states when it needs more than are kept", () => {
  const text = Array.from({ length: 6000 }, (_, i) => ((i * i) % 7 < 3 ? "a" : "b")).join("");
  const regex = compileRegex("(a|b)*a(a|b){700}c", { syntax: "extended" });
  expect([regex.test(text), regex.exec(`${text}c`)?.end]).toEqual([
    false,
    text.at(-701) === "a" ? 6001 : undefined,
  ]);
});
