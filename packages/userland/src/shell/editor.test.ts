/** Keys on a terminal, and the lines that they make: each line is `put …`, which writes its arguments to a file. */
import { expect, test } from "vitest";
import { PROGRAMS } from "../programs.ts";
import { run } from "../testing/run.ts";

const PROFILE = `put() { printf '%s\\n' "$*" >>/out; }\n`;

/** Types `keys` into an interactive shell: what `put` was called with. */
async function type(keys: string): Promise<{ lines: string[]; screen: string }> {
  const result = await run(["/bin/sh"], {
    programs: PROGRAMS,
    keys,
    env: ["ENV=/env", "PS1=$ ", "PS2=> "],
    files: {
      "/env": PROFILE,
      "/dir/": "",
      "/dir/file one": "",
      "/dir/fish": "",
      "/dir/sub/": "",
      "/root/": "",
    },
  });
  return { lines: (result.kernel.contents("/out") ?? "").split("\n").slice(0, -1), screen: result.stdout };
}

test.each([
  ["a line is what is typed", "put abc\r", ["abc"]],
  ["left and right move", "put ac\x1b[Db\x1b[Cd\r", ["abcd"]],
  ["home and end", "ut x\x01p\x05y\r", ["xy"]],
  ["backspace and delete", "put abx\x7fcd\x1b[D\x1b[3~\r", ["abc"]],
  ["Ctrl-K kills to the end and Ctrl-Y brings back", "put ab\x1b[D\x0b\x19\x19\r", ["abb"]],
  ["Ctrl-U kills to the start", "nonsense\x15put a\r", ["a"]],
  ["Ctrl-W kills a word", "put a bcd \x17e\r", ["a e"]],
  ["Alt-B and Alt-F move by words", "put a b\x1bb\x1bbx\x1bfy\r", ["xay b"]],
  ["Ctrl-T transposes", "put ba\x14\r", ["ab"]],
  ["Ctrl-C gives a line up", "put a\x03put b $?\r", ["b 130"]],
  ["Ctrl-C gives an entry of several lines up", "put 'a\rb\x03put c\r", ["c"]],
  ["Ctrl-D deletes, and ends at an empty line", "put ab\x1b[D\x04\r\x04put c\r", ["a"]],
  [
    "the history goes up and down",
    "put a\rput b\r\x1b[A\x1b[A\r\x1b[A\x1b[A\x1b[B!\r",
    ["a", "b", "a", "a!"],
  ],
  ["Ctrl-R searches", "put abc\rput xyz\r\x12ab\r", ["abc", "xyz", "abc"]],
  ["Ctrl-R again goes back", "put a1\rput a2\r\x12a\x12\r", ["a1", "a2", "a1"]],
  ["a line that is not complete goes on", "put 'a\rb'\r", ["a", "b"]],
  ["UTF-8 is one character", "put \xc3\xa9x\x1b[D\x7fy\r", ["yx"]],
  ["a path is completed", "put /dir/fis\t\r", ["/dir/fish"]],
  ["a path with a blank is quoted", "put /dir/fil\t\r", ["/dir/file one"]],
  ["a directory gets a slash", "put /dir/s\t\r", ["/dir/sub/"]],
  ["a common prefix is completed", "put /dir/f\ts\t\r", ["/dir/fish"]],
  ["a variable is completed", "longvariable=v\rput $longv\t\r", ["v"]],
  ["a command is completed", "put $(hostna\t | cat)\r", ["alien"]],
  ["what is typed ahead goes to the command", "read x\rhello\nput $x\r", ["hello"]],
] as const)("%s", async (_name, keys, lines) => {
  expect((await type(keys)).lines).toEqual(lines);
});

test("two tabs list the candidates", async () => {
  const { screen } = await type("put /dir/f\t\t\r");
  expect(screen).toContain("file one  fish\r\n");
});

test("an error does not end an interactive shell", async () => {
  expect((await type("put ${x:?no}\rnope\r)\rput $?\r")).lines).toEqual(["2"]);
});

test("a line that is given up leaves 130, and an empty one changes nothing", async () => {
  expect((await type("nope\x03\rput $?\r")).lines).toEqual(["130"]);
});

test("the history is kept in a file", async () => {
  const { kernel } = await run(["/bin/sh"], {
    programs: PROGRAMS,
    keys: "echo a\recho b\r",
    files: { "/root/": "" },
  });
  expect(kernel.contents("/root/.sh_history")).toBe("echo a\necho b\n");
});

test("prompts have escapes and parameters", async () => {
  const { stdout } = await run(["/bin/sh"], {
    programs: PROGRAMS,
    keys: "cd /tmp\r",
    env: ["PS1=[\\u@\\h \\w \\$ $((1+1))]", "HOME=/"],
  });
  expect(stdout).toContain("[root@alien /tmp # 2]");
});
