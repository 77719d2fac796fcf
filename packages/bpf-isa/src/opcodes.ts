/**
 * Every instruction as a row: name, encoding, conformance group, version, and a `kind` with what that kind needs.
 *
 * `identify(insn)` finds the row of a slot. The opcode byte alone does not name an instruction: `when` holds the fields that
 * tell rows of one opcode apart (a division's signedness, an atomic's operation, whom a call calls), `operands` the fields
 * that the program chooses. Every other field is reserved and must be 0: `reservedField` names one that is not.
 */
import { CALL, CLASS, MODE, PSEUDO, REG, SIZE, SOURCE } from "./constants.ts";
import type { Insn } from "./instruction.ts";
import { ALU, ATOMIC, JUMP } from "./operations.ts";
import type { AluOp, AtomicOp, Bits, IsaVersion, JumpOp } from "./operations.ts";

/** RFC 9669 section 2.4; `kernel` for what Linux has and the RFC has not. */
export type ConformanceGroup =
  | "base32"
  | "base64"
  | "divmul32"
  | "divmul64"
  | "atomic32"
  | "atomic64"
  | "callx"
  | "packet"
  | "kernel";

export type Operand = "dst" | "src" | "off" | "imm";
export type SourceForm = "imm" | "reg";
/** Bytes of a memory access. */
export type AccessBytes = 1 | 2 | 4 | 8;
export type PseudoSource = keyof typeof PSEUDO;
export type CallTarget = "helper" | "local" | "kfunc" | "register";

interface RowBase {
  readonly name: string;
  readonly opcode: number;
  readonly group: ConformanceGroup;
  readonly version: IsaVersion;
  readonly operands: readonly Operand[];
  readonly when: { readonly src?: number; readonly off?: number; readonly imm?: number };
}

/** What an instruction is; engines and verifier switch on `kind`. */
export type Operation =
  | { readonly kind: "alu"; readonly op: AluOp; readonly bits: Bits; readonly source: SourceForm }
  | { readonly kind: "neg"; readonly bits: Bits }
  | { readonly kind: "movsx"; readonly bits: Bits; readonly from: 8 | 16 | 32 }
  | { readonly kind: "end"; readonly order: "le" | "be" | "swap"; readonly width: 16 | 32 | 64 }
  | { readonly kind: "jump"; readonly op: JumpOp; readonly bits: Bits; readonly source: SourceForm }
  | { readonly kind: "goto"; readonly field: "off" | "imm" }
  | { readonly kind: "may_goto" }
  | { readonly kind: "call"; readonly target: CallTarget }
  | { readonly kind: "exit" }
  | { readonly kind: "load"; readonly size: AccessBytes; readonly isSigned: boolean }
  | { readonly kind: "store"; readonly size: AccessBytes; readonly source: SourceForm }
  | { readonly kind: "atomic"; readonly op: AtomicOp; readonly size: 4 | 8 }
  | { readonly kind: "load_acquire"; readonly size: AccessBytes }
  | { readonly kind: "store_release"; readonly size: AccessBytes }
  | { readonly kind: "packet"; readonly mode: "abs" | "ind"; readonly size: 1 | 2 | 4 }
  | { readonly kind: "wide"; readonly pseudo: PseudoSource };

export type OpcodeRow = RowBase & Operation;

/** Immediates of load-acquire and store-release (include/uapi/linux/bpf.h). */
export const LOAD_ACQUIRE = 0x100;
export const STORE_RELEASE = 0x110;

const SIZES = [
  { suffix: "b", size: 1, code: SIZE.B },
  { suffix: "h", size: 2, code: SIZE.H },
  { suffix: "w", size: 4, code: SIZE.W },
  { suffix: "dw", size: 8, code: SIZE.DW },
] as const;

const WIDTHS = [32, 64] as const;
const FORMS = [
  { source: "imm", code: SOURCE.K },
  { source: "reg", code: SOURCE.X },
] as const;

/** All instructions, in the order of RFC 9669. */
export const OPCODES: readonly OpcodeRow[] = [
  ...aluRows(),
  ...moveRows(),
  ...endRows(),
  ...jumpRows(),
  ...controlRows(),
  ...memoryRows(),
  ...atomicRows(),
  ...packetRows(),
  ...wideRows(),
];

const rowsByOpcode: OpcodeRow[][] = Array.from({ length: 256 }, () => []);
for (const row of OPCODES) rowsByOpcode[row.opcode]!.push(row);

const rowsByName = new Map(OPCODES.map((row) => [row.name, row]));

/** The row of `insn`, or undefined where no instruction has these fields. */
export function identify(insn: Insn): OpcodeRow | undefined {
  const rows = rowsByOpcode[insn.opcode] ?? [];
  for (const row of rows) if (matches(row, insn)) return row;
  return undefined;
}

/** The instructions that have this opcode byte. */
export function rowsOfOpcode(opcode: number): readonly OpcodeRow[] {
  return rowsByOpcode[opcode] ?? [];
}

/** Whether some instruction has this opcode byte. */
export function isKnownOpcode(opcode: number): boolean {
  return rowsOfOpcode(opcode).length > 0;
}

export function opcodeByName(name: string): OpcodeRow | undefined {
  return rowsByName.get(name);
}

/** A field of `insn` that its row does not use and that is not 0. */
export function reservedField(row: OpcodeRow, insn: Insn): Operand | undefined {
  const { when, operands } = row;
  if (insn.dst !== 0 && !operands.includes("dst")) return "dst";
  if (insn.src !== 0 && !operands.includes("src") && when.src === undefined) return "src";
  if (insn.off !== 0 && !operands.includes("off") && when.off === undefined) return "off";
  if (insn.imm !== 0 && !operands.includes("imm") && when.imm === undefined) return "imm";
  return undefined;
}

/** The register that `insn` sets; undefined where it sets none. What a function that it calls sets is not its own. */
export function writtenRegister(row: OpcodeRow, { dst, src }: Insn): number | undefined {
  switch (row.kind) {
    case "alu":
    case "neg":
    case "movsx":
    case "end":
    case "load":
    case "load_acquire":
    case "wide":
      return dst;
    case "atomic":
      if (!ATOMIC[row.op].fetches) return undefined;
      return row.op === "cmpxchg" ? REG.R0 : src;
    case "packet":
      return REG.R0;
    default:
      return undefined;
  }
}

function matches({ when }: OpcodeRow, insn: Insn): boolean {
  return (
    (when.src === undefined || when.src === insn.src) &&
    (when.off === undefined || when.off === insn.off) &&
    (when.imm === undefined || when.imm === insn.imm)
  );
}

function aluRows(): OpcodeRow[] {
  const rows: OpcodeRow[] = [];
  for (const op of Object.keys(ALU) as AluOp[]) {
    const { code, off, version, isDivMul } = ALU[op];
    const isTold = isDivMul && op !== "mul" ? true : op === "mov";
    for (const bits of WIDTHS) {
      for (const form of FORMS) {
        rows.push({
          kind: "alu",
          name: `${op}${bits}_${form.source}`,
          opcode: aluClass(bits) | code | form.code,
          group: isDivMul ? `divmul${bits}` : `base${bits}`,
          version,
          operands: ["dst", form.source === "imm" ? "imm" : "src"],
          when: isTold && !(op === "mov" && form.source === "imm") ? { off } : {},
          op,
          bits,
          source: form.source,
        });
      }
    }
  }
  return rows;
}

function moveRows(): OpcodeRow[] {
  const rows: OpcodeRow[] = [];
  for (const bits of WIDTHS) {
    const opcode = aluClass(bits);
    const group = `base${bits}` as const;
    rows.push({
      kind: "neg",
      name: `neg${bits}`,
      opcode: opcode | 0x80,
      group,
      version: 1,
      operands: ["dst"],
      when: {},
      bits,
    });
    for (const from of [8, 16, 32] as const) {
      if (from >= bits) continue;
      const name = `movsx${from}_${bits}`;
      const operands = ["dst", "src"] as const;
      rows.push({
        kind: "movsx",
        name,
        opcode: opcode | 0xb8,
        group,
        version: 4,
        operands,
        when: { off: from },
        bits,
        from,
      });
    }
  }
  return rows;
}

function endRows(): OpcodeRow[] {
  const orders = [
    { order: "le", opcode: 0xd4, version: 1 },
    { order: "be", opcode: 0xdc, version: 1 },
    { order: "swap", opcode: 0xd7, version: 4 },
  ] as const;
  return orders.flatMap(({ order, opcode, version }) =>
    ([16, 32, 64] as const).map((width): OpcodeRow => {
      const name = order === "swap" ? `bswap${width}` : `${order}${width}`;
      const group = width === 64 ? "base64" : "base32";
      return {
        kind: "end",
        name,
        opcode,
        group,
        version,
        operands: ["dst"],
        when: { imm: width },
        order,
        width,
      };
    }),
  );
}

function jumpRows(): OpcodeRow[] {
  const rows: OpcodeRow[] = [];
  for (const op of Object.keys(JUMP) as JumpOp[]) {
    for (const bits of WIDTHS) {
      for (const form of FORMS) {
        rows.push({
          kind: "jump",
          name: `${op}${bits}_${form.source}`,
          opcode: (bits === 64 ? CLASS.JMP : CLASS.JMP32) | JUMP[op].code | form.code,
          group: `base${bits}`,
          version: bits === 32 ? 3 : JUMP[op].version,
          operands: ["dst", form.source === "imm" ? "imm" : "src", "off"],
          when: {},
          op,
          bits,
          source: form.source,
        });
      }
    }
  }
  return rows;
}

function controlRows(): OpcodeRow[] {
  const call = { opcode: 0x85, group: "base32", version: 1, kind: "call" } as const;
  return [
    {
      kind: "goto",
      name: "goto",
      opcode: 0x05,
      group: "base32",
      version: 1,
      operands: ["off"],
      when: {},
      field: "off",
    },
    {
      kind: "goto",
      name: "gotol",
      opcode: 0x06,
      group: "base32",
      version: 4,
      operands: ["imm"],
      when: {},
      field: "imm",
    },
    {
      kind: "may_goto",
      name: "may_goto",
      opcode: 0xe5,
      group: "kernel",
      version: 4,
      operands: ["off"],
      when: {},
    },
    { ...call, name: "call_helper", operands: ["imm"], when: { src: CALL.HELPER }, target: "helper" },
    {
      ...call,
      name: "call_local",
      operands: ["imm"],
      when: { src: CALL.LOCAL },
      target: "local",
      version: 3,
    },
    { ...call, name: "call_kfunc", operands: ["imm", "off"], when: { src: CALL.KFUNC }, target: "kfunc" },
    { ...call, name: "callx", opcode: 0x8d, group: "callx", operands: ["dst"], when: {}, target: "register" },
    { kind: "exit", name: "exit", opcode: 0x95, group: "base32", version: 1, operands: [], when: {} },
  ];
}

function memoryRows(): OpcodeRow[] {
  const rows: OpcodeRow[] = [];
  for (const { suffix, size, code } of SIZES) {
    const base = { group: size === 8 ? "base64" : "base32", version: 1, when: {}, size } as const;
    const mode = MODE.MEM | code;
    const loads = ["dst", "src", "off"] as const;
    rows.push(
      {
        ...base,
        kind: "load",
        name: `ldx${suffix}`,
        opcode: CLASS.LDX | mode,
        operands: loads,
        isSigned: false,
      },
      {
        ...base,
        kind: "store",
        name: `st${suffix}`,
        opcode: CLASS.ST | mode,
        operands: ["dst", "imm", "off"],
        source: "imm",
      },
      {
        ...base,
        kind: "store",
        name: `stx${suffix}`,
        opcode: CLASS.STX | mode,
        operands: loads,
        source: "reg",
      },
    );
    if (size === 8) continue;
    const opcode = CLASS.LDX | MODE.MEMSX | code;
    rows.push({
      ...base,
      kind: "load",
      name: `ldxs${suffix}`,
      opcode,
      group: "base64",
      version: 4,
      operands: loads,
      isSigned: true,
    });
  }
  return rows;
}

function atomicRows(): OpcodeRow[] {
  const rows: OpcodeRow[] = [];
  const operands = ["dst", "src", "off"] as const;
  for (const { suffix, size, code } of SIZES) {
    const opcode = CLASS.STX | MODE.ATOMIC | code;
    const group = size === 8 ? "atomic64" : "atomic32";
    if (size === 4 || size === 8) {
      for (const op of Object.keys(ATOMIC) as AtomicOp[]) {
        const { imm, version } = ATOMIC[op];
        const name = `atomic_${op}${size * 8}`;
        rows.push({ kind: "atomic", name, opcode, group, version, operands, when: { imm }, op, size });
      }
    }
    const base = { opcode, group: "kernel", version: 4, operands, size } as const;
    rows.push(
      { ...base, kind: "load_acquire", name: `load_acquire_${suffix}`, when: { imm: LOAD_ACQUIRE } },
      { ...base, kind: "store_release", name: `store_release_${suffix}`, when: { imm: STORE_RELEASE } },
    );
  }
  return rows;
}

function packetRows(): OpcodeRow[] {
  const rows: OpcodeRow[] = [];
  for (const { suffix, size, code } of SIZES) {
    if (size === 8) continue;
    const base = { kind: "packet", group: "packet", version: 1, when: {}, size } as const;
    rows.push(
      { ...base, name: `ldabs${suffix}`, opcode: MODE.ABS | code, operands: ["imm"], mode: "abs" },
      { ...base, name: `ldind${suffix}`, opcode: MODE.IND | code, operands: ["src", "imm"], mode: "ind" },
    );
  }
  return rows;
}

function wideRows(): OpcodeRow[] {
  return (Object.keys(PSEUDO) as PseudoSource[]).map((pseudo) => ({
    kind: "wide",
    name: pseudo === "NONE" ? "lddw" : `lddw_${pseudo.toLowerCase()}`,
    opcode: 0x18,
    group: "base64",
    version: 1,
    operands: ["dst", "imm"],
    when: { src: PSEUDO[pseudo] },
    pseudo,
  }));
}

/** A hoisted function: the tables above are made while the module loads. */
function aluClass(bits: Bits): number {
  return bits === 64 ? CLASS.ALU64 : CLASS.ALU;
}
