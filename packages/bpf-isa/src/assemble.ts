/**
 * Programs from text: what `disassemble` prints, or mnemonics (mnemonics.ts), with labels.
 *
 * One instruction per line; `name:` is a label, `;` starts a comment, an opcode in front (`(b7)`) or an index (`3:`) is ignored.
 * Jump targets are `pc+3`, `+3` or a label; calls are `call bpf_x#1`, `call 1`, `call pc+3` or a label. `r1 = 0x…` is a wide
 * load and `r1 = 16` a move, as in the kernel's text. A line that is no instruction is a value, `AssembleError`, not a throw.
 */
import { asm } from "./build.ts";
import type { Insn } from "./instruction.ts";
import { MNEMONICS, NUMBER, TARGET, fits, toImm, wideForm } from "./mnemonics.ts";
import type { Distance, Form } from "./mnemonics.ts";
import type { AccessBytes, PseudoSource } from "./opcodes.ts";
import { ALU, ATOMIC, JUMP } from "./operations.ts";
import type { AluOp, AtomicOp, Bits, JumpOp } from "./operations.ts";

export class AssembleError {
  /** Counted from 1. */
  readonly line: number;
  readonly message: string;
  constructor(line: number, message: string) {
    this.line = line;
    this.message = message;
  }
}

/** The program that `text` spells. */
export function assemble(text: string): Insn[] | AssembleError {
  const lines = text.split("\n").map(parseLine);
  const labels = new Map<string, number>();
  let slot = 0;
  for (const [index, { label, body }] of lines.entries()) {
    if (label !== undefined) {
      if (labels.has(label)) return new AssembleError(index + 1, `label ${label} is defined twice`);
      labels.set(label, slot);
    }
    if (body !== "") slot += assembleLine(body, () => 0)?.length ?? 0;
  }
  const insns: Insn[] = [];
  for (const [index, { body }] of lines.entries()) {
    if (body === "") continue;
    let missing: string | undefined;
    const parts = assembleLine(body, (target) => {
      const distance = distanceTo(target, labels, insns.length + 1);
      if (distance === undefined) missing = target;
      return distance;
    });
    const problem =
      parts !== undefined
        ? parts.map(misfit).find((found) => found !== undefined)
        : missing === undefined
          ? `not an instruction: ${body}`
          : `label ${missing} is not defined`;
    if (problem !== undefined) return new AssembleError(index + 1, problem);
    insns.push(...parts!);
  }
  return insns;
}

interface Line {
  readonly label: string | undefined;
  /** The instruction; "" where there is none. */
  readonly body: string;
}

/** Symbols of compiled Rust have dollars in them. */
const LABEL = /^([A-Za-z_.$][\w.$]*): *(.*)$/u;

function parseLine(line: string): Line {
  const text = line
    .replace(/;.*/u, "")
    .trim()
    .replace(/^\d+: */u, "");
  const [, label, rest] = LABEL.exec(text) ?? [];
  return { label, body: (rest ?? text).replace(/^\([0-9a-f]{2}\) */u, "") };
}

function distanceTo(target: string, labels: ReadonlyMap<string, number>, next: number): number | undefined {
  if (/^(?:pc)?[+-]\d+$/u.test(target)) return Number(target.replace("pc", ""));
  const slot = labels.get(target);
  return slot === undefined ? undefined : slot - next;
}

/** What is wrong with a field that its bits cannot hold: encoded, it would be another instruction. */
function misfit({ off, imm }: Insn): string | undefined {
  if (off < -0x8000 || off > 0x7fff) return `offset ${off} is not in -32768..32767`;
  if (imm !== (imm | 0)) return `immediate ${imm} does not fit 32 bits`;
  return undefined;
}

function assembleLine(line: string, distance: Distance): readonly Insn[] | undefined {
  for (const { pattern, make } of [...FORMS, ...MNEMONICS]) {
    const match = pattern.exec(line);
    if (match === null) continue;
    const made = make(match.slice(1), distance);
    if (made === undefined) return undefined;
    return Array.isArray(made) ? made : [made as Insn];
  }
  return undefined;
}

const bitsOf = (letter: string): Bits => (letter === "w" ? 32 : 64);
const bytesOf = (bits: string): AccessBytes => (Number(bits) / 8) as AccessBytes;
const escape = (symbol: string): string => symbol.replace(/[|+*^]/gu, String.raw`\$&`);
const symbols = (table: Readonly<Record<string, { readonly symbol: string }>>): string =>
  Object.values(table)
    .map(({ symbol }) => escape(symbol))
    .join("|");

function operation<Name extends string>(
  table: Readonly<Record<Name, { readonly symbol: string }>>,
  symbol: string,
): Name {
  return (Object.keys(table) as Name[]).find((name) => table[name].symbol === symbol) as Name;
}

/** Patterns are written with short names: R a register, N a number, P a pointer expression, T a jump target. */
function form(pattern: string, make: Form["make"]): Form {
  const source = pattern
    .replaceAll("R", "([rw])(10|[0-9])")
    .replaceAll("N", NUMBER)
    .replaceAll("P", String.raw`\(u(8|16|32|64) \*\)\(r(10|[0-9]) ([+-][0-9]+)\)`)
    .replaceAll("T", TARGET)
    .replaceAll(" ", " *");
  return { pattern: new RegExp(`^${source}$`, "u"), make };
}

const jumps = symbols(JUMP);
const alus = symbols(ALU);
const n = Number;

const FORMS: readonly Form[] = [
  form("exit", () => asm.exit()),
  form("R = -R", ([letter, dst, , same]) => (dst === same ? asm.neg(n(dst), bitsOf(letter!)) : undefined)),
  form(String.raw`R = \(s(8|16|32)\) R`, ([letter, dst, from, , src]) =>
    from === "32" && letter === "w" ? undefined : asm.movsx(n(from) as 8, n(dst), n(src), bitsOf(letter!)),
  ),
  form("R = (le|be|bswap)(16|32|64) R", ([, dst, order, width]) =>
    asm[order as "le"](n(width) as 16, n(dst)),
  ),
  form("r(10|[0-9]) = (0x[0-9a-fA-F]+)", ([dst, value]) => wideForm(n(dst), value!)),
  form(`R (${alus}) R`, ([letter, dst, symbol, other, src]) =>
    letter === other
      ? asm.aluReg(operation<AluOp>(ALU, symbol!), n(dst), n(src), bitsOf(letter!))
      : undefined,
  ),
  form(`R (${alus}) N`, ([letter, dst, symbol, imm]) =>
    asm.aluImm(operation<AluOp>(ALU, symbol!), n(dst), toImm(imm!), bitsOf(letter!)),
  ),
  form(String.raw`r(10|[0-9]) = \*P`, ([dst, bits, src, off]) =>
    asm.load(bytesOf(bits!), n(dst), n(src), n(off)),
  ),
  form(String.raw`r(10|[0-9]) = \*\(s(8|16|32) \*\)\(r(10|[0-9]) ([+-][0-9]+)\)`, ([dst, bits, src, off]) =>
    asm.loadSigned(bytesOf(bits!) as 1, n(dst), n(src), n(off)),
  ),
  form(String.raw`\*P = r(10|[0-9])`, ([bits, dst, off, src]) =>
    asm.storeReg(bytesOf(bits!), n(dst), n(off), n(src)),
  ),
  form(String.raw`\*P = N`, ([bits, dst, off, imm]) =>
    asm.storeImm(bytesOf(bits!), n(dst), n(off), toImm(imm!)),
  ),
  form(String.raw`lock \*P ([+|&^]=) r(10|[0-9])`, ([bits, dst, off, symbol, src]) =>
    atomicForm(operation<AtomicOp>(ATOMIC, symbol!), bits!, dst!, off!, src!),
  ),
  form(
    String.raw`r(?:10|[0-9]) = atomic(?:64)?_(fetch_\w+|xchg)\(P, r(10|[0-9])\)`,
    ([name, bits, dst, off, src]) =>
      name! in ATOMIC ? atomicForm(name as AtomicOp, bits!, dst!, off!, src!) : undefined,
  ),
  form(String.raw`r0 = atomic(?:64)?_cmpxchg\(P, r0, r(10|[0-9])\)`, ([bits, dst, off, src]) =>
    atomicForm("cmpxchg", bits!, dst!, off!, src!),
  ),
  form(String.raw`r(10|[0-9]) = load_acquire\(P\)`, ([dst, bits, src, off]) =>
    asm.loadAcquire(bytesOf(bits!), n(dst), n(src), n(off)),
  ),
  form(String.raw`store_release\(P, r(10|[0-9])\)`, ([bits, dst, off, src]) =>
    asm.storeRelease(bytesOf(bits!), n(dst), n(off), n(src)),
  ),
  form(String.raw`r0 = \*\(u(8|16|32) \*\)skb\[N\]`, ([bits, imm]) =>
    asm.packetAbs(bytesOf(bits!) as 1, toImm(imm!)),
  ),
  form(String.raw`r0 = \*\(u(8|16|32) \*\)skb\[r(10|[0-9]) \+ N\]`, ([bits, src, imm]) =>
    asm.packetInd(bytesOf(bits!) as 1, n(src), toImm(imm!)),
  ),
  form(`if R (${jumps}) R goto T`, ([letter, dst, symbol, , src, target], distance) =>
    withDistance(distance(target!), (off) =>
      asm.jumpReg(operation<JumpOp>(JUMP, symbol!), n(dst), n(src), off, bitsOf(letter!)),
    ),
  ),
  form(`if R (${jumps}) N goto T`, ([letter, dst, symbol, imm, target], distance) =>
    withDistance(distance(target!), (off) =>
      asm.jumpImm(operation<JumpOp>(JUMP, symbol!), n(dst), toImm(imm!), off, bitsOf(letter!)),
    ),
  ),
  form("goto T", ([target], distance) => withDistance(distance(target!), asm.goto)),
  form("gotol T", ([target], distance) => withDistance(distance(target!), asm.gotol)),
  form("may_goto T", ([target], distance) => withDistance(distance(target!), asm.mayGoto)),
  form("callx r(10|[0-9])", ([dst]) => asm.callRegister(n(dst))),
  form(String.raw`call kernel-function#N(?:@(-?\d+))?`, ([id, off]) =>
    asm.callKfunc(toImm(id!), n(off ?? 0)),
  ),
  form(
    String.raw`r(10|[0-9]) = (map_fd|map_value|btf_id|func|map_idx|map_idx_value)\[N\](?:\[N\])?`,
    ([dst, pseudo, low, high]) =>
      fits(low!, 32) && fits(high ?? "0", 32)
        ? asm.wide(n(dst), toImm(low!), toImm(high ?? "0"), pseudo!.toUpperCase() as PseudoSource)
        : undefined,
  ),
  form(String.raw`call (?:\w+#)?N`, ([id]) => asm.call(toImm(id!))),
  form("call T", ([target], distance) => withDistance(distance(target!), asm.callLocal)),
];

function atomicForm(op: AtomicOp, bits: string, dst: string, off: string, src: string): Insn | undefined {
  const size = bytesOf(bits);
  return size === 4 || size === 8 ? asm.atomic(op, size, n(dst), n(off), n(src)) : undefined;
}

function withDistance(distance: number | undefined, make: (distance: number) => Insn): Insn | undefined {
  return distance === undefined ? undefined : make(distance);
}
