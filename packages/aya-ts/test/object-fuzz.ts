/**
 * The random suite of BPF objects: objects compiled by clang, damaged, give specs whose programs link or typed errors, and
 * nothing else.
 */
import { existsSync, readFileSync } from "node:fs";
import type { Btf } from "@alien-ts/btf";
import { subjectSuite } from "@alien-ts/testkit";
import { ParseError } from "../src/errors.ts";
import { fixupBtf } from "../src/obj/btf-fixup.ts";
import { applyCore } from "../src/obj/core.ts";
import { resolveExterns } from "../src/obj/externs.ts";
import { linkProgram } from "../src/obj/link.ts";
import { parseObject } from "../src/obj/object.ts";
import type { ObjectSpec } from "../src/obj/spec.ts";

/** From this file, and from the bundle of `npm run fuzz` in build/<folder>. */
const FIXTURES = ["../fixtures/", "../../packages/aya-ts/fixtures/"].map(
  (path) => new URL(path, import.meta.url),
);

/** Loads as `Ebpf.load` does, up to the system calls. Throws what the reader throws. */
type Subject = (bytes: Uint8Array) => void;

const load: Subject = (bytes) => {
  const parsed = parseObject(bytes);
  // The object's own types stand for the kernel's: many relocations then find what they are about.
  const spec = parsed.btf === undefined ? parsed : adapt(parsed, parsed.btf);
  for (const program of spec.programs.values()) linkProgram(spec, program.function, () => 3);
  if (spec.btf !== undefined) fixupBtf(spec.btf, spec.dataLayout, new Map());
};

const adapt = (spec: ObjectSpec, types: Btf): ObjectSpec =>
  resolveExterns(applyCore(spec, types), { types, version: 0x06_12_00, address: () => 1n });

const view = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.length);

const BUGS: Readonly<Record<string, Subject>> = {
  "the number of sections is trusted": (bytes) => {
    if (bytes.length >= 64)
      view(bytes).getUint8(view(bytes).getUint32(40, true) + view(bytes).getUint16(60, true) * 64 - 1);
    load(bytes);
  },
  "errors of the reader lose their type": (bytes) => {
    try {
      load(bytes);
    } catch (error) {
      throw new Error(String(error));
    }
  },
};

let fixtures: readonly Uint8Array[] | undefined;
const readFixtures = (): readonly Uint8Array[] =>
  (fixtures ??= ["kitchen_sink", "legacy_maps", "core"].map((name) => {
    const file = FIXTURES.map((folder) => new URL(`${name}.bpf.o`, folder)).find((url) => existsSync(url));
    if (file === undefined) throw new Error(`no fixture ${name}`);
    return Uint8Array.from(readFileSync(file));
  }));

export const objectFuzz = subjectSuite("bpf-object", load, BUGS, (subject, random, reach) => {
  const original = random.pick(readFixtures());
  const copy = original.slice(0, random.oneIn(5) ? random.below(original.length) : original.length);
  const end = random.oneIn(3) ? Math.min(64, copy.length) : copy.length;
  for (let i = random.below(12); i > 0 && end > 0; i--) copy[random.below(end)] = random.u32();
  try {
    subject(copy);
    reach("loads");
  } catch (error) {
    if (!(error instanceof ParseError)) return `a damaged object throws ${String(error)}`;
    reach(
      `${error.name}: ${error.message.replace(/\d+|0x[0-9a-f]+|[^a-zA-Z0-9 ,.:'-]+/g, "#").slice(0, 60)}`,
    );
  }
  return undefined;
});
