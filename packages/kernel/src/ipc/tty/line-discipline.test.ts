/** The line discipline as data: what was typed with which settings, what is echoed and what reads get. */
import { IFLAG, Layout, LFLAG, LinearMemory, OFLAG, VCC } from "@alien-ts/abi";
import { describe, expect, test } from "vitest";
import { LineDiscipline } from "./line-discipline.ts";
import { ktermios, setStandardTermios, type Termios } from "./structs.ts";

interface Setup {
  readonly termios: Termios;
  readonly discipline: LineDiscipline;
  readonly signals: number[];
  isStopped: boolean;
  shown: string;
}

function setUp(change: (termios: Termios) => void = () => {}): Setup {
  const memory = new LinearMemory(new ArrayBuffer(0x2_0000));
  const termios = new (Layout.natural().view(ktermios))(memory, 0x1_0000);
  setStandardTermios(termios);
  change(termios);
  const setup: Setup = {
    termios,
    signals: [],
    isStopped: false,
    shown: "",
    discipline: new LineDiscipline(termios, {
      signal: (signal) => setup.signals.push(signal),
      setStopped: (isStopped) => {
        setup.isStopped = isStopped;
      },
      isStopped: () => setup.isStopped,
      flush: () => {
        setup.shown += textOf(setup.discipline.output.takeOutput());
      },
    }),
  };
  return setup;
}

const bytesOf = (text: string): Uint8Array => Uint8Array.from([...text].map((c) => c.charCodeAt(0)));
const textOf = (bytes: Uint8Array): string => String.fromCharCode(...bytes);

interface Case {
  readonly name: string;
  readonly change?: (termios: Termios) => void;
  readonly typed: string;
  readonly reads: readonly string[];
  readonly echo: string;
  readonly signals?: readonly number[];
}

const raw = (termios: Termios): void => {
  termios.c_lflag &= ~(LFLAG.ICANON | LFLAG.ECHO | LFLAG.ISIG);
  termios.c_iflag = 0;
};

const CASES: readonly Case[] = [
  { name: "a line is read whole, and echoed", typed: "ls\r", reads: ["ls\n"], echo: "ls\r\n" },
  { name: "nothing is read before the line ends", typed: "ls", reads: [], echo: "ls" },
  { name: "two lines are two reads", typed: "a\nb\n", reads: ["a\n", "b\n"], echo: "a\r\nb\r\n" },
  { name: "erase takes one character back", typed: "lx\x7fs\n", reads: ["ls\n"], echo: "lx\b \bs\r\n" },
  { name: "erase on an empty line does nothing", typed: "\x7f\x7fa\n", reads: ["a\n"], echo: "a\r\n" },
  { name: "kill takes the line back", typed: "abc\x15d\n", reads: ["d\n"], echo: "abc\b \b\b \b\b \bd\r\n" },
  {
    name: "word erase takes the last word and the blanks behind it",
    typed: "one two  \x17x\n",
    reads: ["one x\n"],
    echo: `one two  ${"\b \b".repeat(5)}x\r\n`,
  },
  {
    name: "control characters are echoed with a caret, and erased as two",
    typed: "\x01\x7f\n",
    reads: ["\n"],
    echo: "^A\b \b\b \b\r\n",
  },
  { name: "a literal character is not special", typed: "\x16\x03\n", reads: ["\x03\n"], echo: "^\b^C\r\n" },
  { name: "reprint shows the line again", typed: "ab\x12c\n", reads: ["abc\n"], echo: "ab^R\r\nabc\r\n" },
  { name: "end-of-file on an empty line reads nothing", typed: "\x04", reads: [""], echo: "" },
  {
    name: "end-of-file in a line gives what is there",
    typed: "ab\x04c\n",
    reads: ["ab", "c\n"],
    echo: "abc\r\n",
  },
  {
    name: "interrupt drops the line and signals",
    typed: "abc\x03d\n",
    reads: ["d\n"],
    echo: "^Cd\r\n",
    signals: [2],
  },
  { name: "quit and suspend signal too", typed: "\x1c\x1a", reads: [], echo: "^\\^Z", signals: [3, 20] },
  {
    name: "NOFLSH keeps the line",
    change: (t) => (t.c_lflag |= LFLAG.NOFLSH),
    typed: "ab\x03c\n",
    reads: ["abc\n"],
    echo: "ab^Cc\r\n",
    signals: [2],
  },
  {
    name: "without echo nothing is shown, but a newline with ECHONL",
    change: (t) => (t.c_lflag = (t.c_lflag & ~LFLAG.ECHO) | LFLAG.ECHONL),
    typed: "secret\r",
    reads: ["secret\n"],
    echo: "\r\n",
  },
  {
    name: "a tab is erased by going back over its columns",
    typed: "a\t\x7fb\n",
    reads: ["ab\n"],
    echo: `a\t${"\b".repeat(7)}b\r\n`,
  },
  {
    name: "with IUTF8 a character of several bytes is erased whole",
    change: (t) => (t.c_iflag |= IFLAG.IUTF8),
    typed: "\xc3\xa4\x7f\n",
    reads: ["\n"],
    echo: "\xc3\xa4\b \b\r\n",
  },
  {
    name: "without ECHOE an erase shows the erase character",
    change: (t) => (t.c_lflag &= ~LFLAG.ECHOE),
    typed: "a\x7f\n",
    reads: ["\n"],
    echo: "a^?\r\n",
  },
  {
    name: "raw mode passes every byte",
    change: raw,
    typed: "\x03\x04\r\n\x7f",
    reads: ["\x03\x04\r\n\x7f"],
    echo: "",
  },
  {
    name: "IGNCR drops carriage returns, INLCR turns newlines into them",
    change: (t) => {
      raw(t);
      t.c_iflag = IFLAG.IGNCR | IFLAG.INLCR;
    },
    typed: "a\r\nb",
    reads: ["a\rb"],
    echo: "",
  },
  {
    name: "ISTRIP clears the eighth bit, IUCLC lowers capitals",
    change: (t) => (t.c_iflag |= IFLAG.ISTRIP | IFLAG.IUCLC),
    typed: "\xc1B\n",
    reads: ["ab\n"],
    echo: "ab\r\n",
  },
  {
    name: "an extra end-of-line character ends a line and stays in it",
    change: (t) => (t.c_cc[VCC.EOL] = 0x3b),
    typed: "a;b\n",
    reads: ["a;", "b\n"],
    echo: "a;b\r\n",
  },
  {
    name: "without OPOST newlines are echoed bare",
    change: (t) => (t.c_oflag = 0),
    typed: "a\n",
    reads: ["a\n"],
    echo: "a\n",
  },
];

describe("the line discipline", () => {
  test.each(CASES)("$name", ({ change, typed, reads, echo, signals }) => {
    const setup = setUp(change);
    const { discipline, signals: seen } = setup;
    discipline.receive(bytesOf(typed));
    const got: string[] = [];
    while (discipline.hasInput()) got.push(textOf(discipline.take(4096)));
    expect(got).toEqual(reads);
    expect(setup.shown + textOf(discipline.output.takeOutput())).toBe(echo);
    expect(seen).toEqual(signals ?? []);
  });

  test("a short read leaves the rest of the line", () => {
    const { discipline } = setUp();
    discipline.receive(bytesOf("abcdef\n"));
    expect([4, 2, 9].map((limit) => textOf(discipline.take(limit)))).toEqual(["abcd", "ef", "\n"]);
  });

  test("stop holds output until start, and neither is read", () => {
    const setup = setUp();
    setup.discipline.receive(bytesOf("a\x13"));
    expect(setup.isStopped).toBe(true);
    setup.discipline.receive(bytesOf("\x11b\n"));
    expect(setup.isStopped).toBe(false);
    expect(textOf(setup.discipline.take(9))).toBe("ab\n");
  });

  test("IXANY: any character starts stopped output again", () => {
    const setup = setUp((t) => (t.c_iflag |= IFLAG.IXANY));
    setup.discipline.receive(bytesOf("\x13x"));
    expect(setup.isStopped).toBe(false);
  });

  test("a line of more than 4095 bytes keeps its first 4095 and its end", () => {
    const { discipline } = setUp();
    discipline.receive(bytesOf(`${"a".repeat(5000)}\n`));
    const line = textOf(discipline.take(8192));
    expect(line).toBe(`${"a".repeat(4095)}\n`);
  });

  test("raw input that finds no room waits for a read", () => {
    const { discipline } = setUp(raw);
    discipline.receive(bytesOf("x".repeat(6000)));
    expect(discipline.take(5000).length).toBe(4095);
    expect(discipline.take(5000).length).toBe(1905);
  });

  test("leaving canonical mode makes an unfinished line readable", () => {
    const { discipline, termios } = setUp();
    discipline.receive(bytesOf("ab"));
    expect(discipline.hasInput()).toBe(false);
    const old = termios.c_lflag;
    termios.c_lflag &= ~LFLAG.ICANON;
    discipline.termiosChanged(old);
    expect(textOf(discipline.take(9))).toBe("ab");
  });

  test("tabs expand with XTABS, and lower-case letters are raised with OLCUC", () => {
    const { discipline } = setUp((t) => (t.c_oflag |= OFLAG.OLCUC | 0x1800));
    for (const byte of bytesOf("ab\tc\n")) discipline.output.put(byte);
    expect(textOf(discipline.output.takeOutput())).toBe("AB      C\r\n");
  });
});
