/** What tests do as a user task: bpf(2) with attributes as fields, and values in user memory. Not exported. */
import {
  BPF_ATTR_SIZE,
  BPF_CMD,
  BPF_MAP_TYPE,
  BPF_PROG_TYPE,
  bpf_attr_slices,
  isErr,
  type KAddr,
  PERF_ATTR_SIZE,
  type Result,
  type UAddr,
  utf8Encode,
} from "@alien-ts/abi";
import { encode, type Insn } from "@alien-ts/bpf-isa";
import { type BtfType, writeBtf } from "@alien-ts/btf";
import { bpf } from "./commands/bpf.ts";
import type { CommandName } from "./commands/table.ts";
import { BpfEngine } from "./engine.ts";
import { FakeKernel, USER_BASE } from "./fake-kernel.ts";
import type { MapFile } from "./maps/map-file.ts";
import { perfEventOpen, type PerfEventOpenArguments } from "./perf/open.ts";
import type { BpfProgram } from "./programs/program.ts";

const INT: BtfType = {
  kind: "int",
  name: "int",
  size: 4,
  bits: 32,
  offset: 0,
  isSigned: true,
  isChar: false,
  isBool: false,
};

type Fields = Readonly<Record<string, number | string>>;

/** What runs the programs of a test. */
export const ENGINES = ["the checked interpreter", "the interpreter", "the JIT"] as const;
export type EngineName = (typeof ENGINES)[number];

export class TestUser {
  readonly kernel: FakeKernel;
  readonly engine: BpfEngine;
  /** Bytes that were allocated when nothing was open. */
  readonly baseline: number;
  #next = USER_BASE + 0x1000;

  constructor(kernel: FakeKernel = new FakeKernel(), engine: EngineName = "the JIT") {
    this.kernel = kernel;
    kernel.bpfJitEnable = engine === "the JIT" ? 1 : 0;
    this.engine = new BpfEngine(kernel);
    this.engine.checksAccesses = engine === "the checked interpreter";
    this.baseline = this.allocations;
  }

  get allocations(): number {
    return this.kernel.sizes.size;
  }

  /** User memory holding `bytes`. */
  place(bytes: ArrayLike<number>): UAddr {
    const at = this.#next;
    this.#next += Math.ceil((bytes.length + 1) / 8) * 8 + 8;
    this.kernel.user.set(bytes, at - USER_BASE);
    return at;
  }
  text(text: string): UAddr {
    return this.place([...utf8Encode(text), 0]);
  }
  read(at: UAddr, length: number): number[] {
    return [...this.kernel.user.subarray(at - USER_BASE, at - USER_BASE + length)];
  }
  u32(at: UAddr): number {
    return new DataView(this.kernel.user.buffer).getUint32(at - USER_BASE, true);
  }

  /** Bytes of the attributes of a command. */
  attr(command: CommandName, fields: Fields): Uint8Array {
    const bytes = new Uint8Array(BPF_ATTR_SIZE + 64);
    const { decl } = bpf_attr_slices[command];
    const view = new DataView(bytes.buffer);
    for (const [name, value] of Object.entries(fields)) {
      const placed = this.kernel.layout.of(decl).fields.get(name);
      if (placed === undefined) throw new Error(`no ${name} in ${decl.name}`);
      if (typeof value === "string") bytes.set(utf8Encode(value), placed.offset);
      else if (placed.size === 8) {
        view.setUint32(placed.offset, value >>> 0, true);
        view.setUint32(placed.offset + 4, Math.floor(value / 2 ** 32), true);
      } else view.setUint32(placed.offset, value, true);
    }
    return bytes;
  }

  /** Where the attributes of the last call were: commands write back to them. */
  lastAttr: UAddr = 0;

  bpf(command: CommandName, fields: Fields, size: number = BPF_ATTR_SIZE): Result<number> {
    this.lastAttr = this.place(this.attr(command, fields));
    return bpf(this.engine, BPF_CMD[command], this.lastAttr, size);
  }

  /** A map's fd, or the errno. */
  map(
    type: keyof typeof BPF_MAP_TYPE,
    key_size: number,
    value_size: number,
    max_entries: number,
    more: Fields = {},
  ): Result<number> {
    return this.bpf("MAP_CREATE", {
      map_type: BPF_MAP_TYPE[type],
      key_size,
      value_size,
      max_entries,
      ...more,
    });
  }

  update(map_fd: number, key: ArrayLike<number>, value: ArrayLike<number>, flags = 0): Result<number> {
    return this.bpf("MAP_UPDATE_ELEM", { map_fd, key: this.#key(key), value: this.place(value), flags });
  }
  /** The value's bytes, or the errno. */
  lookup(
    map_fd: number,
    key: ArrayLike<number>,
    length: number,
    command: CommandName = "MAP_LOOKUP_ELEM",
  ): Result<number[]> {
    const value = this.place(new Uint8Array(length));
    const result = this.bpf(command, { map_fd, key: this.#key(key), value });
    return isErr(result) ? result : this.read(value, length);
  }
  delete(map_fd: number, key: ArrayLike<number>): Result<number> {
    return this.bpf("MAP_DELETE_ELEM", { map_fd, key: this.#key(key) });
  }
  /** All keys, in the order of MAP_GET_NEXT_KEY. */
  keys(map_fd: number, length: number): number[][] {
    const found: number[][] = [];
    const next_key = this.place(new Uint8Array(length));
    let key = 0;
    while (!isErr(this.bpf("MAP_GET_NEXT_KEY", { map_fd, key, next_key }))) {
      found.push(this.read(next_key, length));
      key = this.place(found.at(-1)!);
    }
    return found;
  }
  #key(key: ArrayLike<number>): UAddr {
    return key.length === 0 ? 0 : this.place(key);
  }

  /** The map behind an fd. */
  mapAt(fd: number): MapFile {
    const object = ok(this.kernel.objectOf(fd));
    if (object?.kind !== "map") throw new Error(`fd ${fd} is no map`);
    return object;
  }
  /** The program behind an fd. */
  programAt(fd: number): BpfProgram {
    const object = ok(this.kernel.objectOf(fd));
    if (object?.kind !== "program") throw new Error(`fd ${fd} is no program`);
    return object;
  }

  /** A program's fd, or the errno. */
  load(insns: readonly Insn[], more: Fields = {}): Result<number> {
    return this.bpf("PROG_LOAD", {
      prog_type: BPF_PROG_TYPE.KPROBE,
      insn_cnt: insns.length,
      insns: this.place(encode(insns)),
      license: this.text("GPL"),
      ...more,
    });
  }

  /** Attributes that say that functions start at these instructions, as callbacks must have it said. */
  functions(...starts: readonly number[]): Fields {
    return this.functionsWith("static", starts);
  }
  /** As `functions`; those after the first are verified each by itself where they are global. */
  functionsWith(others: "static" | "global", starts: readonly number[]): Fields {
    const proto: BtfType = { kind: "func_proto", name: "", type: 1, params: [] };
    const names = starts.map((at): BtfType => ({
      kind: "func",
      name: `at_${at}`,
      type: 2,
      linkage: at === 0 ? "static" : others,
    }));
    const btf = writeBtf([INT, proto, ...names]);
    const prog_btf_fd = ok(this.bpf("BTF_LOAD", { btf: this.place(btf), btf_size: btf.length }));
    const records = starts.flatMap((at, i) => [...le(at), ...le(3 + i)]);
    return {
      prog_btf_fd,
      func_info: this.place(records),
      func_info_cnt: starts.length,
      func_info_rec_size: 8,
    };
  }

  perf(fields: Readonly<Record<string, number>>, more: Partial<PerfEventOpenArguments> = {}): Result<number> {
    const bytes = new Uint8Array(256);
    const view = new DataView(bytes.buffer);
    const offsets: Readonly<Record<string, number>> = {
      type: 0,
      size: 4,
      config: 8,
      period: 16,
      sample_type: 24,
      read_format: 32,
      flags: 40,
      wakeup: 48,
      config1: 56,
      config2: 64,
      config2_hi: 68,
      tail: 136,
    };
    for (const [name, value] of Object.entries({ size: PERF_ATTR_SIZE.VER8, ...fields }))
      view.setUint32(offsets[name]!, value, true);
    const attr = this.place(bytes);
    return perfEventOpen(this.engine, { attr, pid: -1, cpu: 0, groupFd: -1, flags: 8, ...more });
  }

  /** Kernel memory for a context. */
  regs(): KAddr {
    return this.kernel.alloc(this.kernel.ptRegsBytes);
  }
}

/** A number's `size` low bytes, little endian. */
export function le(value: number, size = 4): number[] {
  return Array.from({ length: size }, (_, i) => Math.floor(value / 256 ** i) & 0xff);
}

/** The value of something that must have worked. */
export function ok<T>(result: Result<T>): T {
  if (isErr(result)) throw new Error(`failed with ${result.name}`);
  return result;
}
