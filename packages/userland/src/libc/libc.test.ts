/** The parts of libc that need no kernel, and the heap. */
import { expect, test } from "vitest";
import type { Program } from "../host/program.ts";
import { run } from "../testing/run.ts";
import { parseDate } from "./dates.ts";
import { matchesPattern } from "./glob.ts";
import { parseOptions } from "./getopt.ts";
import { applyModeChange, formatMode } from "./modes.ts";
import { formatNumber, formatOperands } from "./printf.ts";
import { openProcess } from "./process.ts";
import { RegexError, compileRegex } from "./regex.ts";
import { basename, dirname, fromBytes, toBytes } from "./text.ts";
import { formatTime, secondsFromUtc, utcFromSeconds } from "./time.ts";
import { humanSize } from "./units.ts";

const BASIC: readonly (readonly [string, string, string | undefined])[] = [
  ["a*b", "xaab", "aab"],
  ["*a", "x*a", "*a"],
  ["a\\{2\\}", "aaa", "aa"],
  ["a\\{2,\\}", "aaaa", "aaaa"],
  ["\\(ab\\)*\\1", "ababx", "abab"],
  ["a+b?", "a+b?", "a+b?"],
  ["a\\+b\\?", "aab", "aab"],
  ["^a^b$c$", "a^b$c", "a^b$c"],
  ["[]a]", "]", "]"],
  ["[^]a]", "a]b", "b"],
  ["[a-]", "-", "-"],
  ["[[:digit:][:space:]]*", "1 2x", "1 2"],
  ["[[.-.]]", "-", "-"],
  ["[\\n]", "\\", "\\"],
  ["a\\|b", "b", "b"],
  ["\\<a\\>", "xa a", "a"],
  ["a**", "aa", "aa"],
  ["\\.", "a.b", "."],
  ["(a)", "(a)", "(a)"],
  ["x\\(^a\\)", "xa", undefined],
];

test.each(BASIC)("the basic expression %s in %s", (pattern, text, found) => {
  expect(compileRegex(pattern).exec(text)?.groups[0]).toBe(found);
});

const EXTENDED: readonly (readonly [string, string, string | undefined])[] = [
  ["a+|b", "xaa", "aa"],
  ["(a|b){2}c?", "abc", "abc"],
  ["a{,2}", "aaa", "aa"],
  ["{x", "{x", "x"],
  ["a\\{2", "a{2", "a{2"],
  ["^*a", "a", "a"],
  ["(^a)", "a", "a"],
  ["a|", "b", ""],
  ["\\$\\^", "$^", "$^"],
  ["(a)(b)\\2", "abb", "abb"],
  ["a.c", "a\nc", "a\nc"],
];

test.each(EXTENDED)("the extended expression %s in %s", (pattern, text, found) => {
  expect(compileRegex(pattern, { syntax: "extended", isLenient: true }).exec(text)?.groups[0]).toBe(found);
});

test.each([
  ["[a", "Unmatched [, [^, [:, [., or [="],
  ["\\(a", "Unmatched ( or \\("],
  ["a\\)", "Unmatched ) or \\)"],
  ["a\\", "Trailing backslash"],
  ["\\1", "Invalid back reference"],
  ["a\\{3,2\\}", "Invalid content of \\{\\}"],
  ["[b-a]", "Invalid range end"],
  ["[[:nope:]]", "Invalid character class name"],
])("the expression %s is refused", (pattern, message) => {
  expect(() => compileRegex(pattern)).toThrow(new RegexError(message));
});

test.each([
  ["*.c", "a.c", true],
  ["a?c", "abc", true],
  ["[a-c]x", "bx", true],
  ["[!a-c]x", "bx", false],
  ["[^a]", "b", true],
  ["\\*", "*", true],
  ["\\*", "a", false],
  ["[", "[", true],
  ["[]]", "]", true],
  ["a*b*c", "aXbYc", true],
  ["[[:alpha:]]*", "x1", true],
] as const)("the pattern %s and %s", (pattern, text, matches) => {
  expect(matchesPattern(pattern, text)).toBe(matches);
});

test.each([
  ["%5d|%-5d|%05d", ["42", "42", "42"], "   42|42   |00042"],
  ["%x %X %#o %#x", ["255", "255", "8", "1"], "ff FF 010 0x1"],
  ["%u", ["-1"], "18446744073709551615"],
  ["%.3s|%c", ["abcdef", "xyz"], "abc|x"],
  ["%g %g %g", ["100000", "1e10", "0.00001"], "100000 1e+10 1e-05"],
  ["%d-", ["1", "2"], "1-2-"],
  ["\\101\\n\\\\", [], "A\n\\"],
  ["a\\cb", [], "a"],
  ["%d", ["'A"], "65"],
] as const)("the format %s", (format, operands, text) => {
  expect(formatOperands(format, [...operands]).text).toBe(text);
});

test("numbers in one conversion", () => {
  expect(["%.2f", "%05g", "%e"].map((format) => formatNumber(format, 1.5))).toEqual([
    "1.50",
    "001.5",
    "1.500000e+00",
  ]);
});

test.each([
  ["-ab", ["a", "b"], []],
  ["-cvalue x", ["c=value"], ["x"]],
  ["-c value -- -a", ["c=value"], ["-a"]],
  ["x -a y", ["a"], ["x", "y"]],
  ["--long --opt=v", ["a", "k=v"], []],
  ["--lo", ["a"], []],
  ["-", [], ["-"]],
] as const)("options %s", (line, found, operands) => {
  const parsed = parseOptions({ options: "abc:", long: { long: "a", opt: "k:" } }, line.split(" "));
  expect(parsed.options.all.map(([key, value]) => (value === "" ? key : `${key}=${value}`))).toEqual(found);
  expect(parsed.operands).toEqual(operands);
});

test("times survive the way to a calendar and back, at any second", () => {
  for (const seconds of [0, 951_782_400, 1_709_210_096, 4_102_444_799, -1, -86_400 * 365 * 100]) {
    expect(secondsFromUtc(utcFromSeconds(seconds))).toBe(seconds);
  }
  expect(formatTime("%a %b %e %T %Y %j %U %W", { seconds: 1_709_210_096, nanoseconds: 0 })).toBe(
    "Thu Feb 29 12:34:56 2024 060 08 09",
  );
});

test.each([
  ["@10", 10],
  ["2024-02-29 12:34:56", 1_709_210_096],
  ["202402291234.56", 1_709_210_096],
  ["yesterday", 1000 - 86_400],
  ["2 hours ago", 1000 - 7200],
  ["nonsense", undefined],
])("the date %s", (text, seconds) => {
  expect(parseDate(text, { seconds: 1000, nanoseconds: 0 })?.seconds).toBe(seconds);
});

test.each([
  ["755", 0o644, 0o755],
  ["u+x", 0o644, 0o744],
  ["go-r", 0o644, 0o600],
  ["a=rw,u+x", 0, 0o766],
  ["+x", 0o644, 0o755],
  ["g=u", 0o700, 0o770],
  ["u+s,+t", 0o755, 0o5755],
  ["9", 0, undefined],
])("the mode change %s of %i", (change, mode, result) => {
  expect(applyModeChange(change, { mode, isDirectory: false, umask: 0o022 })).toBe(result);
});

test("modes, sizes and paths as text", () => {
  expect([0o100644, 0o041777, 0o104755, 0o120777].map((mode) => formatMode(mode))).toEqual([
    "-rw-r--r--",
    "drwxrwxrwt",
    "-rwsr-xr-x",
    "lrwxrwxrwx",
  ]);
  expect([0, 1023, 1024, 10_240, 1_500_000].map((size) => humanSize(size))).toEqual([
    "0",
    "1023",
    "1.0K",
    "10K",
    "1.5M",
  ]);
  expect(["/a/b/", "/", "a", ""].map((path) => [basename(path), dirname(path)])).toEqual([
    ["b", "/a"],
    ["/", "/"],
    ["a", "."],
    ["", "."],
  ]);
});

test("every byte survives as text", () => {
  const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
  expect(toBytes(fromBytes(bytes))).toEqual(bytes);
});

test("blocks of the heap do not overlap, and are used again", async () => {
  const overlaps: number[] = [];
  const program: Program = {
    name: "t",
    path: "/bin/t",
    main: async (task) => {
      const process = openProcess(task);
      let seed = 1;
      const random = (limit: number): number => (seed = (seed * 16_807) % 2_147_483_647) % limit;
      const blocks: { addr: number; size: number }[] = [];
      for (let i = 0; i < 500; i++) {
        if (blocks.length > 20 && random(2) === 0) {
          const [block] = blocks.splice(random(blocks.length), 1);
          await process.free(block!.addr);
          continue;
        }
        const size = 1 + random(i % 10 === 0 ? 200_000 : 600);
        const addr = await process.malloc(size);
        if (blocks.some((other) => addr < other.addr + other.size && other.addr < addr + size))
          overlaps.push(addr);
        if (addr % 16 !== 0) overlaps.push(-1);
        blocks.push({ addr, size });
      }
      const first = await process.malloc(100);
      await process.free(first);
      return first === (await process.malloc(100)) ? 0 : 1;
    },
  };
  const { status, stderr } = await run(["/bin/t"], { programs: [program] });
  expect([overlaps, status, stderr]).toEqual([[], 0, ""]);
});
