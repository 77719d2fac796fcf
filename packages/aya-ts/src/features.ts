/**
 * What the running kernel can do, found out by trying: Aya's feature probes (aya `feature_probe.rs`). Each is made when it is
 * first asked for, once per system.
 */
import { BPF_MAP_TYPE, BPF_PROG_TYPE, E2BIG, EBADF, EINVAL } from "@alien-ts/abi";
import type { Insn } from "@alien-ts/bpf-isa";
import { PSEUDO } from "@alien-ts/bpf-isa";
import { writeBtf } from "@alien-ts/btf";
import type { BtfType } from "@alien-ts/btf";
import type { BtfFeature } from "./obj/btf-fixup.ts";
import { btfLoad, linkCreatePerf, mapCreate, progLoad } from "./sys/bpf.ts";
import { closeFd } from "./sys/files.ts";
import { failedWith } from "./sys/sys.ts";
import type { Sys } from "./sys/sys.ts";

const HELPER_LOG = { level: 1, sizeBytes: 4096 };
const NO_FD = -1;

const insn = (opcode: number, fields: Partial<Insn> = {}): Insn => ({
  opcode,
  dst: 0,
  src: 0,
  off: 0,
  imm: 0,
  ...fields,
});
const EXIT = insn(0x95);
const RETURN_0: readonly Insn[] = [insn(0xb7), EXIT];

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
const VARIABLE: BtfType = { kind: "var", name: "foo", type: 1, linkage: "static" };
const functionTypes = (linkage: "static" | "global"): BtfType[] => [
  INT,
  {
    kind: "func_proto",
    name: "",
    type: 1,
    params: [
      { name: "a", type: 1 },
      { name: "b", type: 1 },
    ],
  },
  { kind: "func", name: "inc", type: 2, linkage },
];

/** A blob that needs one feature. */
const BTF_PROBES: Record<BtfFeature, readonly BtfType[]> = {
  datasec: [
    INT,
    VARIABLE,
    { kind: "datasec", name: ".data", size: 4, vars: [{ type: 2, offset: 0, size: 4 }] },
  ],
  func: functionTypes("static"),
  func_global: functionTypes("global"),
  float: [{ kind: "float", name: "float", size: 16 }],
  decl_tag: [INT, VARIABLE, { kind: "decl_tag", name: "decl_tag", type: 2, component: -1 }],
  type_tag: [INT, { kind: "type_tag", name: "ty", type: 1 }, { kind: "ptr", name: "", type: 2 }],
  enum64: [{ kind: "enum64", name: "enum64", size: 8, isSigned: false, values: [{ name: "a", value: 0n }] }],
};

/** Words in the verifier's log that say that a helper is not there. */
const HELPER_UNKNOWN = ["invalid func ", "unknown func ", "program of this type cannot use helper "];

const known = new WeakMap<Sys, Features>();

export class Features {
  readonly #sys: Sys;
  readonly #answers = new Map<string, Promise<boolean>>();

  private constructor(sys: Sys) {
    this.#sys = sys;
  }

  static of(sys: Sys): Features {
    let features = known.get(sys);
    if (features === undefined) known.set(sys, (features = new Features(sys)));
    return features;
  }

  /** BPF_BTF_LOAD. */
  hasBtf(): Promise<boolean> {
    return this.#once("btf", () => this.#loadsBtf([INT]));
  }

  hasBtfFeature(feature: BtfFeature): Promise<boolean> {
    return this.#once(`btf ${feature}`, () => this.#loadsBtf(BTF_PROBES[feature]));
  }

  /** Names of programs and maps. */
  hasNames(): Promise<boolean> {
    return this.#once("names", async () => {
      const { result } = await progLoad(this.#sys, {
        type: BPF_PROG_TYPE.SOCKET_FILTER,
        insns: RETURN_0,
        name: "aya_name_check",
      });
      return this.#succeeded(result);
    });
  }

  /** Maps for `.data`, `.rodata`, `.bss`: direct access to map values. */
  hasGlobalData(): Promise<boolean> {
    return this.#once("global data", async () => {
      const map = await mapCreate(this.#sys, {
        type: BPF_MAP_TYPE.ARRAY,
        keySize: 4,
        valueSize: 32,
        maxEntries: 1,
        name: "aya_global",
      });
      if (map < 0) return false;
      const { result } = await progLoad(this.#sys, {
        type: BPF_PROG_TYPE.SOCKET_FILTER,
        insns: [
          insn(0x18, { dst: 1, src: PSEUDO.MAP_VALUE, imm: map }),
          insn(0),
          insn(0x7a, { dst: 1, imm: 42 }),
          ...RETURN_0,
        ],
      });
      const isSupported = await this.#succeeded(result);
      await closeFd(this.#sys, map);
      return isSupported;
    });
  }

  /** Links between programs and perf events. */
  hasPerfLink(): Promise<boolean> {
    return this.#once("perf link", async () => {
      const { result } = await progLoad(this.#sys, { type: BPF_PROG_TYPE.TRACEPOINT, insns: RETURN_0 });
      if (result < 0) return false;
      // A kernel that knows these links looks at the descriptor: EBADF. Another refuses the attach type: EINVAL.
      const link = await linkCreatePerf(this.#sys, result, NO_FD);
      await closeFd(this.#sys, result);
      return failedWith(link, EBADF);
    });
  }

  /**
   * A helper, in programs of a type. Differs from Aya: the program's own type is asked, not a tracepoint's, since a kernel may
   * give helpers to some types only.
   */
  hasHelper(type: number, helper: number, kernelVersion: number): Promise<boolean> {
    return this.#once(`helper ${type} ${helper}`, async () => {
      const insns = [insn(0x85, { imm: helper }), EXIT];
      const { result, log } = await progLoad(this.#sys, { type, insns, kernelVersion }, HELPER_LOG);
      if (result >= 0) return this.#succeeded(result);
      if (HELPER_UNKNOWN.some((words) => log.includes(words))) return false;
      return !(log === "" && failedWith(result, EINVAL, E2BIG));
    });
  }

  async #loadsBtf(types: readonly BtfType[]): Promise<boolean> {
    const { result } = await btfLoad(this.#sys, writeBtf(types));
    return this.#succeeded(result);
  }

  async #succeeded(fd: number): Promise<boolean> {
    if (fd >= 0) await closeFd(this.#sys, fd);
    return fd >= 0;
  }

  #once(name: string, probe: () => Promise<boolean>): Promise<boolean> {
    let answer = this.#answers.get(name);
    if (answer === undefined) this.#answers.set(name, (answer = probe()));
    return answer;
  }
}
