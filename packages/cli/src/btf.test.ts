/** `alien btf dump`: command lines, and what the kernel's types are as a header. */
import { kernelBtf } from "@alien-ts/kernel";
import { expect, test } from "vitest";
import { dumpBtf, parseBtfArguments } from "./btf.ts";
import { Problem } from "./options.ts";

test.each([
  [["dump"], { file: undefined, format: "raw" }],
  [["dump", "format", "c"], { file: undefined, format: "c" }],
  [["dump", "file", "x", "format", "raw"], { file: "x", format: "raw" }],
  [["dump", "--help"], "help"],
])("%j is understood", (args, expected) => expect(parseBtfArguments(args)).toEqual(expected));

test.each([[[]], [["show"]], [["dump", "id", "1"]], [["dump", "file"]], [["dump", "format", "json"]]])(
  "%j is refused",
  (args) => expect(parseBtfArguments(args)).toBeInstanceOf(Problem),
);

test("an object file is asked for its section of types", () => {
  const file = new URL("../fixtures/first_steps.bpf.o", import.meta.url).pathname;
  expect(dumpBtf({ file, format: "raw" }, kernelBtf)).toMatch(/^\[1\] /);
});

test("the kernel's types are a header", () => {
  const header = dumpBtf({ file: undefined, format: "c" }, () => kernelBtf());
  expect(header).toMatch(/^#ifndef __VMLINUX_H__\n/);
  expect(header).toContain(
    "\nstruct task_struct {\n\tstruct thread_info thread_info;\n\tunsigned int __state;\n",
  );
  expect(header).toContain("\ntypedef struct {\n\tunsigned int val;\n} kuid_t;\n");
});
