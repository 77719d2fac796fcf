/**
 * `alien btf dump`: the types of a file, or of alien's own kernel, as bpftool(8) prints them: a line each, or as a C header that
 * programs are compiled with.
 */
import { readFileSync } from "node:fs";
import { type Btf, BtfError, formatHeader, formatRaw, parseBtf } from "@alien-ts/btf";
import { isElfError, parseElf } from "@alien-ts/elf";
import { Problem } from "./options.ts";

export interface BtfArguments {
  /** Undefined: the types of alien's own kernel. */
  readonly file: string | undefined;
  readonly format: "raw" | "c";
}

export const BTF_USAGE = `usage: alien btf dump [file FILE] [format raw|c]

Prints the types of FILE (BTF such as /sys/kernel/btf/vmlinux, or an object file), or those of alien's own kernel.

  format raw        a line for each type, and one for each of its members
  format c          a C header: vmlinux.h
`;

export function parseBtfArguments(args: readonly string[]): BtfArguments | Problem | "help" {
  if (args.includes("--help")) return "help";
  const [verb, ...words] = args;
  if (verb !== "dump") return new Problem(`expected dump, found ${verb ?? "nothing"}`);
  let file: string | undefined;
  let format: BtfArguments["format"] = "raw";
  for (let i = 0; i < words.length; i += 2) {
    const [word, value] = [words[i]!, words[i + 1]];
    if (word !== "file" && word !== "format") return new Problem(`unexpected argument ${word}`);
    if (value === undefined) return new Problem(`${word} expects a value`);
    if (word === "file") file = value;
    else if (value === "raw" || value === "c") format = value;
    else return new Problem(`format ${value}: known are raw, c`);
  }
  return { file, format };
}

/** @param ownBtf the types of the kernel where the arguments name no file. Throws an Error that says what is wrong. */
export function dumpBtf({ file, format }: BtfArguments, ownBtf: () => Uint8Array): string {
  const btf = parsed(file === undefined ? ownBtf() : blobOf(readFileSync(file)));
  return format === "c" ? formatHeader(btf) : formatRaw(btf);
}

const ELF_MAGIC = [0x7f, 0x45, 0x4c, 0x46];

/** What an object file has in its section `.BTF`; any other file is BTF itself. */
function blobOf(bytes: Uint8Array): Uint8Array {
  if (ELF_MAGIC.some((byte, i) => bytes[i] !== byte)) return bytes;
  const elf = parseElf(bytes);
  if (isElfError(elf)) throw elf;
  const sections = elf.sections();
  if (isElfError(sections)) throw sections;
  const found = sections.find(({ name }) => name === ".BTF");
  if (found === undefined) throw new Error("the object has no section .BTF");
  return found.data;
}

function parsed(bytes: Uint8Array): Btf {
  const btf = parseBtf(bytes);
  if (btf instanceof BtfError) throw btf;
  return btf;
}
