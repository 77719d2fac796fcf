import { utf8Decode } from "@alien-ts/abi";
import { expect, test } from "vitest";
import { LOG, VerifierLog, fitLog, isLogRequestValid } from "./log.ts";

test.each([
  ["a log that fits", 7, LOG.LEVEL1, "abcdef\0", false],
  ["a log without room for its NUL keeps its end", 6, LOG.LEVEL1, "bcdef\0", true],
  ["a fixed log keeps its beginning", 4, LOG.LEVEL1 | LOG.FIXED, "abc\0", true],
  ["a buffer of one byte has the NUL only", 1, LOG.LEVEL2, "\0", true],
])("%s", (_, sizeBytes, level, text, isTruncated) => {
  const { bytes, trueSize, isTruncated: truncated } = fitLog("abcdef", sizeBytes, level);
  expect({ text: utf8Decode(bytes), trueSize, truncated }).toEqual({
    text,
    trueSize: 7,
    truncated: isTruncated,
  });
});

test.each([
  [0, false, 0, true],
  [1, true, 128, true],
  [4, false, 0, true],
  [15, true, 128, true],
  [16, true, 128, false],
  [1, true, 0, false],
  [1, false, 128, false],
  [0, true, 128, false],
  [1, true, 0x4000_0000, false],
])("log_level %i, buffer %s, size %i: valid is %s", (level, hasBuffer, size, isValid) => {
  expect(isLogRequestValid(level, hasBuffer, size)).toBe(isValid);
});

test("what was taken back does not come back into a buffer that it has left, and counts for the size", () => {
  const log = new VerifierLog({ level: LOG.LEVEL1, windowBytes: 8 });
  log.write("abcdefghij");
  log.reset(2);
  log.write("xyz");
  const { bytes, trueSize, isTruncated } = fitLog(log.toString(), 8, LOG.LEVEL1, log.extent);
  expect({ text: utf8Decode(bytes), trueSize, isTruncated }).toEqual({
    text: "xyz\0",
    trueSize: 11,
    isTruncated: true,
  });
});

test("a log to which nothing is written leaves the buffer alone", () => {
  expect(fitLog("", 8, LOG.LEVEL1)).toEqual({ bytes: new Uint8Array(0), trueSize: 0, isTruncated: false });
});

test("a log of many lines has each of them, also where ends were taken back", () => {
  const log = new VerifierLog({ level: LOG.LEVEL2 });
  const expected: string[] = [];
  for (let i = 0; i < 5000; i++) {
    log.line(`line ${i}`);
    log.reset(log.length - 1);
    log.line(" and more");
    expected.push(`line ${i} and more\n`);
  }
  expect(log.toString()).toBe(expected.join(""));
  const half = expected.slice(0, 2500).join("").length;
  log.reset(half);
  log.line("end");
  expect(log.toString()).toBe(`${expected.slice(0, 2500).join("")}end\n`);
  expect(log.length).toBe(half + 4);
});

test("of a log that keeps its end, no more than that is lost", () => {
  const log = new VerifierLog({ level: LOG.LEVEL2, keeps: 1000 });
  let whole = "";
  for (let i = 0; i < 20_000; i++) {
    log.line(String(i));
    whole += `${i}\n`;
  }
  const text = log.toString();
  expect(text.length).toBeGreaterThanOrEqual(1000);
  expect(whole.endsWith(text)).toBe(true);
});
