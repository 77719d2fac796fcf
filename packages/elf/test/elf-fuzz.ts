/**
 * The random suite of ELF files: images that were built come back section by section, and damaged ones give a result or an
 * `ElfError`, never a throw.
 */
import { type Prng, type Reach, subjectSuite } from "@alien-ts/testkit";
import { buildElf, type ElfFile, type ElfSpec, isElfError, parseElf } from "../src/index.ts";
import * as C from "../src/constants.ts";

interface Subject {
  build(spec: ElfSpec): Uint8Array;
  /** Everything that a reader can be asked. Throws what the reader throws. */
  readAll(image: Uint8Array): ElfFile | string;
}

const elf: Subject = { build: buildElf, readAll };

const BUGS: Readonly<Record<string, Subject>> = {
  "section headers are read without a bound": {
    ...elf,
    readAll: (image) => {
      const view = new DataView(image.buffer, image.byteOffset, image.length);
      if (image.length >= 64) view.getUint32(view.getUint32(40, true), true);
      return readAll(image);
    },
  },
  "data of odd length loses its last byte": {
    ...elf,
    build: (spec) =>
      buildElf({
        ...spec,
        sections: spec.sections.map((one) =>
          one.data === undefined ? one : { ...one, data: one.data.subarray(0, one.data.length & ~1) },
        ),
      }),
  },
};

export const elfFuzz = subjectSuite("elf", elf, BUGS, (subject, random, reach) => {
  const spec = randomSpec(random);
  const image = subject.build(spec);
  return roundTrip(subject, spec, image) ?? damage(subject, image.slice(), random, reach);
});

function randomSpec(random: Prng): ElfSpec {
  const sections = Array.from({ length: 1 + random.below(6) }, (_, i) => ({
    name: `.s${i}`,
    data: random.bytes(random.below(40)),
    align: random.pick([1, 4, 8]),
    flags: random.pick([0, C.SHF_ALLOC, C.SHF_ALLOC | C.SHF_EXECINSTR]),
  }));
  const symbols = Array.from({ length: random.below(5) }, (_, i) => ({
    name: `symbol${i}`,
    value: random.below(100),
    section: random.pick(sections).name,
  }));
  const type = C.ET_REL;
  return { machine: C.EM_BPF, type, littleEndian: !random.oneIn(3), sections, symbols };
}

function roundTrip(subject: Subject, spec: ElfSpec, image: Uint8Array): string | undefined {
  const file = subject.readAll(image);
  if (typeof file === "string") return `a good image is refused: ${file}`;
  const sections = file.sections();
  const symbols = file.symbols();
  if (isElfError(sections) || isElfError(symbols)) return "sections or symbols are refused";
  for (const { name, data } of spec.sections) {
    const found = sections.find((section) => section.name === name);
    const bytes = found === undefined ? undefined : String(found.data);
    if (bytes !== String(data)) return `${name} is ${bytes}, expected ${String(data)}`;
  }
  for (const { name, value } of spec.symbols ?? [])
    if (symbols.find((symbol) => symbol.name === name)?.value !== value) return `${name} is not ${value}`;
  return undefined;
}

function damage(subject: Subject, whole: Uint8Array, random: Prng, reach: Reach): string | undefined {
  const image = random.oneIn(3) ? whole.slice(0, random.below(whole.length + 1)) : whole;
  // Half of the damage goes to the file header, where it matters most.
  const place = (): number => random.below(random.oneIn(2) ? Math.min(64, image.length) : image.length);
  for (let i = random.below(8); i >= 0 && image.length > 0; i--) image[place()] = random.u32();
  const result = subject.readAll(image);
  reach(typeof result === "string" ? `damage: ${result.replace(/\d+/g, "#")}` : "damage: read");
  return undefined;
}

function readAll(image: Uint8Array): ElfFile | string {
  const file = parseElf(image);
  if (isElfError(file)) return file.expected;
  for (const part of [file.segments(), file.symbols(), file.dynamicSymbols()])
    if (isElfError(part)) return part.expected;
  const sections = file.sections();
  if (isElfError(sections)) return sections.expected;
  for (const section of sections) {
    file.relocations(section);
    file.notes(section);
  }
  return file;
}
