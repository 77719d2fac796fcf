import { Kallsyms, encodeKallsyms } from "@alien-ts/ksym";
import { expect, test } from "vitest";
import type { Outcome } from "./index.ts";
import { generate, parseNm, run } from "./index.ts";

const listing = `ffffffd600200000 T vfs_read
ffffffd600200000 T ksys_read
ffffffd600200040 t operator new(unsigned long)
ffffffd600300000 R linux_banner
ffffffd600400000 D jiffies
ffffffd600500000 B _end
`;

/** Runs the command with `input` on standard input, and files. */
function ksymGen(args: string[], input: string, files: Record<string, Uint8Array | string> = {}): Outcome {
  const open = (path: string): Uint8Array | string => {
    const contents = files[path];
    if (contents === undefined) throw new Error("no such file or directory");
    return contents;
  };
  return run(args, {
    text: (path) => (path === undefined ? input : String(open(path))),
    bytes: (path) => open(path) as Uint8Array,
  });
}

const { blob, moduleSource, assembly } = generate(listing);

test("a listing becomes a table of the same symbols, as System.map has them", () => {
  const table = new Kallsyms(blob);
  expect([table.size, table.baseHi, table.base]).toEqual([6, 0xffff_ffd6, 0x20_0000]);
  expect(table.lookupName("operator new(unsigned long)")).toBe(0x20_0040);
  expect([...table]).toEqual(parseNm(listing).symbols);
});

test("blob, module and listing are written where asked for", () => {
  const outcome = ksymGen(["--module", "m.ts", "--asm", "k.S", "--blob", "k.bin"], listing);
  expect(outcome).toMatchObject({ status: 0, stdout: "", stderr: "" });
  expect(outcome.files).toEqual(
    new Map<string, unknown>([
      ["m.ts", moduleSource],
      ["k.S", assembly],
      ["k.bin", blob],
    ]),
  );
});

test("a listing is read from a file, or with - from standard input", () => {
  const files = { "System.map": listing };
  expect(ksymGen(["System.map", "--blob", "b"], "", files).files.get("b")).toEqual(blob);
  expect(ksymGen(["-", "--blob", "b"], listing).files.get("b")).toEqual(blob);
});

test("an empty listing makes an empty table", () => {
  expect(new Kallsyms(ksymGen(["--blob", "b"], "").files.get("b") as Uint8Array).size).toBe(0);
});

test("a table is padded to the length of the one before", () => {
  expect(ksymGen(["--blob", "b", "--at-least", "5000"], listing).files.get("b")).toHaveLength(5000);
});

test("a check passes for the table of the listing, whatever its padding", () => {
  const padded = generate(listing, { atLeast: 9999 }).blob;
  for (const table of [blob, padded]) expect(ksymGen(["--check", "b"], listing, { b: table }).status).toBe(0);
});

test("a check after a row was added exits with 1 and names the row", () => {
  const added = listing.replace("ffffffd600300000", "ffffffd600200080 T sys_added\nffffffd600300000");
  const outcome = ksymGen(["--check", "b", "--module", "m.ts"], added, { b: blob });
  expect(outcome.status).toBe(1);
  expect(outcome.stderr).toBe("ksym-gen: inconsistent kallsyms data: T sys_added is not in the table\n");
  expect(outcome.files.size).toBe(0);
});

test("a check of an image that was linked elsewhere exits with 1", () => {
  const low = encodeKallsyms(parseNm(listing).symbols, { baseHi: 0xffff_8880 });
  expect(ksymGen(["--check", "b"], listing, { b: low })).toMatchObject({
    status: 1,
    stderr:
      "ksym-gen: inconsistent kallsyms data: the high word of addresses is ffffffd6, the table says ffff8880\n",
  });
});

const shape = "expected 16 hexadecimal digits, a type letter and a name";
for (const [what, line, message] of [
  ["an undefined symbol", "                 U printk", `line 2: ${shape}, found "                 U printk"`],
  ["a short address", "200000 T a", `line 2: ${shape}`],
  ["no name", "ffffffd600200000 T ", `line 2: ${shape}`],
  ["a type of two letters", "ffffffd600200000 TT a", `line 2: ${shape}`],
  ["an empty line", "", `line 2: ${shape}, found ""`],
  ["another high word", "ffffffd700200000 T a", "line 2: expected an address that starts with ffffffd6"],
  ["a lower address", "ffffffd6001fffff T a", "line 2: expected addresses in ascending order (nm -n)"],
  ["a carriage return", "ffffffd600200000 T a\r", `line 2: ${shape}`],
  ["a very long line", "x".repeat(5000), `found "${"x".repeat(80)}…"`],
] as const) {
  test(`a listing with ${what} is refused with its line number and exit status 2`, () => {
    const outcome = ksymGen(["--blob", "b"], `ffffffd600200000 T _text\n${line}\nffffffd600200000 T b\n`);
    expect([outcome.status, outcome.files.size]).toEqual([2, 0]);
    expect(outcome.stderr).toContain(message);
  });
}

for (const [what, args, message] of [
  ["an unknown option", ["--modul", "m.ts"], "unknown option --modul"],
  ["an option without its value", ["--module"], "--module expects a value"],
  ["an option twice", ["--asm", "a", "--asm", "b"], "--asm is given twice"],
  ["two listings", ["a", "b"], "2 listings, expected at most one"],
  ["a length that is no number", ["--at-least", "1k"], "--at-least 1k is not a number of bytes"],
  ["a listing that is not there", ["absent"], "absent: no such file or directory"],
  ["a table that is not there", ["--check", "absent"], "absent: no such file or directory"],
  ["a table that is damaged", ["--check", "bad"], "corrupt kallsyms data: 3 bytes, expected at least"],
] as const) {
  test(`${what} is refused with exit status 2`, () => {
    const outcome = ksymGen([...args], listing, { bad: new Uint8Array(3) });
    expect(outcome.status).toBe(2);
    expect(outcome.stderr).toContain(`ksym-gen: ${message}`);
  });
}

test("--help prints the usage and reads nothing", () => {
  expect(ksymGen(["--module", "--help"], "bad").stdout).toMatch(/^usage: ksym-gen/);
});
