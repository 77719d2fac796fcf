/**
 * The benchmark programs: their inputs, how often a sample runs each, and what kind they are. The programs themselves are the
 * C sources in `programs/`, compiled to BPF by `rebuild.mjs` and natively when the benchmark starts.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { decode } from "@alien-ts/bpf-isa";
import type { Insn } from "@alien-ts/bpf-isa";
import { isElfError, parseElf } from "@alien-ts/elf";

/** "compute" calls no helper and runs long enough that its entry does not count. */
export type ProgramKind = "compute" | "helpers" | "short";

export interface BenchProgram {
  readonly name: string;
  readonly kind: ProgramKind;
  readonly context: Uint8Array;
  /** Runs per sample in compiled code, some milliseconds' worth; interpreters make fewer. */
  readonly repeats: number;
  readonly insns: readonly Insn[];
  readonly bytes: Uint8Array;
}

type Header = readonly (number | bigint)[];

function makeContext(header: Header, data: Uint8Array = new Uint8Array(0)): Uint8Array {
  const context = new Uint8Array(64 + data.length);
  const view = new DataView(context.buffer);
  header.forEach((value, i) => view.setBigUint64(8 * i, BigInt.asUintN(64, BigInt(value)), true));
  context.set(data, 64);
  return context;
}

/** Bytes that look random, by a linear congruence. */
function noise(length: number): Uint8Array {
  let state = 12_345;
  return Uint8Array.from({ length }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
    return state >>> 24;
  });
}

const repeated = (text: string, length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => text.charCodeAt(i % text.length));

const TEXT = "Under the old Oak tree, a stream Runs past three stones; then it turns and treads on. ";
const JSON_TEXT = `{"event": "open", "pid": 4711, "args": [1, 22.5, -3, true, null], "path": "/tmp/\\"x\\"", "ok": {}},\n`;

function packet(): Uint8Array {
  const bytes = Uint8Array.from({ length: 1500 }, (_, i) => 0x20 + ((i * 11 + (i >> 4)) % 90));
  bytes.set([0x08, 0x00, 0x45], 12);
  bytes[23] = 6;
  bytes.set([10, 0, 0, 1, 10, 0, 0, 2, 0x01, 0xbb, 0xc8, 0x22], 26);
  bytes[46] = 0x50;
  for (let at = 150; at < 1400; at += 67) bytes.set([13, 10], at);
  return bytes;
}

function crcTable(): Uint8Array {
  const table = new Uint32Array(256).map((_, n) => {
    let crc = n;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 1 ? (crc >>> 1) ^ 0xedb8_8320 : crc >>> 1;
    return crc;
  });
  const bytes = new Uint8Array(1024 + 2048);
  bytes.set(new Uint8Array(table.buffer));
  bytes.set(noise(2048), 1024);
  return bytes;
}

const INPUTS: readonly (readonly [string, ProgramKind, number, Header, Uint8Array?])[] = [
  ["xorshift", "compute", 2, [500_000, 88_172_645_463_325_252n]],
  ["fibonacci", "compute", 4, [1_000_000]],
  ["mix32", "compute", 4, [100_000, 1, 2, 3]],
  ["collatz", "compute", 2, [3000]],
  ["divide", "compute", 2, [50_000, 0xfedc_ba98_7654_3210n]],
  ["divide_constant", "compute", 2, [100_000, 0xfedc_ba98_7654_3210n]],
  ["popcount", "compute", 500, [1024], noise(8192)],
  ["sum_words", "compute", 500, [4096], noise(32_768)],
  ["sum_bytes", "compute", 100, [16_384], noise(16_384)],
  ["copy_words", "compute", 200, [4096], noise(32_768)],
  ["machine", "compute", 2, [200_000, 88_172_645_463_325_252n]],
  ["packet", "compute", 1000, [1500], packet()],
  ["scan_text", "compute", 200, [4096], repeated(TEXT, 4100)],
  ["tokenize", "compute", 200, [4096], repeated(JSON_TEXT, 4096)],
  ["siphash", "compute", 500, [512, 0x0706_0504_0302_0100n, 0x0f0e_0d0c_0b0a_0908n], noise(4096)],
  ["sha256", "compute", 2000, [0], noise(320)],
  ["crc32", "compute", 300, [2048], crcTable()],
  ["sort", "compute", 500, [0], noise(256)],
  ["matrix", "compute", 500, [0], noise(3072)],
  ["calls", "compute", 20, [20_000, 1, 0x1234]],
  ["kprobe", "short", 500_000, [1, 5000, 1000, 42]],
  ["empty", "short", 500_000, [0]],
  ["helper_loop", "helpers", 10, [50_000, 1]],
  ["array_histogram", "helpers", 20, [20_000]],
  ["hash_histogram", "helpers", 10, [20_000]],
  ["latency", "short", 200_000, [0, 123_456_789, 78]],
];

/** Reads all programs from `folder`, bench/vm/programs. */
export function loadPrograms(folder: string): BenchProgram[] {
  return INPUTS.map(([name, kind, repeats, header, data]) => {
    const bytes = textOf(readFileSync(join(folder, `${name}.o`)), name);
    return { name, kind, repeats, context: makeContext(header, data), insns: decode(bytes), bytes };
  });
}

function textOf(object: Uint8Array, name: string): Uint8Array {
  const elf = parseElf(object);
  if (isElfError(elf)) throw elf;
  const sections = elf.sections();
  if (isElfError(sections)) throw sections;
  const text = sections.find((section) => section.name === ".text");
  if (text === undefined) throw new Error(`${name}.o has no program`);
  return text.data.slice();
}
