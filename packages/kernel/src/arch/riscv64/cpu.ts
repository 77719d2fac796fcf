/**
 * A riscv64 hart for kernel text: fetches, decodes and executes RV64IMC from linear memory.
 *
 * `run(context, stop, budget)` executes from the context's epc until something happens, and says what: a `CpuEvent`. The
 * context (pt-regs.ts) is the caller's, in linear memory; the Cpu keeps nothing of it between runs and never calls a body, so
 * calls nest and a sleeper may resume on another Cpu. The event object is reused: read it before the next `run`.
 *
 * What the context holds when `run` returns:
 *   hostCall    epc after the host call
 *   stopped     epc and sp are those of `stop` (looked at before each instruction is fetched, so a breakpoint there waits)
 *   budget      epc at the next instruction
 *   the others  an exception: epc at the instruction, `cause` and `badaddr` as scause and stval of the Privileged ISA
 *
 * Instructions are predecoded per page and kept until `invalidate`, which whoever writes code must call: it is fence.i. The
 * high word of pc is always that of the direct map while instructions run. Misaligned loads and stores work. No BigInt.
 *
 * Growth to user programs: decode.ts, alu.ts and the switch below do not know addresses; loads, stores and fetches go through
 * `AddressSpace`. A user hart passes another address space, keeps pc's high word, and adds A, F, D and Zicsr as kinds.
 */
import type { KAddr, LinearMemory } from "@alien-ts/abi";
import { add64 } from "./arithmetic.ts";
import { type AddressSpace, FAULT } from "./address-space.ts";
import { alu, isTaken, multiply, setPair, setWord } from "./alu.ts";
import { decode, instructionLength } from "./decode.ts";
import { type Instruction, Kind, Op } from "./instruction.ts";
import { CAUSE, REG, ZERO_WORD } from "./pt-regs.ts";

export type CpuEventKind =
  | "hostCall"
  | "breakpoint"
  | "stopped"
  | "illegal"
  | "misaligned"
  | "loadFault"
  | "storeFault"
  | "fetchFault"
  | "ecall"
  | "budget";

export interface CpuEvent {
  readonly kind: CpuEventKind;
  /** Of a host call; 0 otherwise. */
  readonly index: number;
}

/** Where a run ends: both must be equal, so that a recursive call of the same function does not end it. */
export interface StopPoint {
  readonly pc: KAddr;
  readonly sp: KAddr;
}

const PAGE_SHIFT = 12;
const SLOTS_PER_PAGE = 1 << (PAGE_SHIFT - 1);

/** Predecoded instructions of one page, by halfword. */
type CodePage = (Instruction | undefined)[];

export class Riscv64Cpu {
  readonly #mem: LinearMemory;
  readonly #regs: Int32Array;
  readonly #space: AddressSpace;
  readonly #baseHi: number;
  readonly #pages = new Map<number, CodePage>();
  #lastPageNumber = -1;
  #lastPage: CodePage = [];
  readonly #divider = new Int32Array(4);
  readonly #event: { kind: CpuEventKind; index: number } = { kind: "stopped", index: 0 };

  constructor(mem: LinearMemory, space: AddressSpace) {
    this.#mem = mem;
    this.#regs = mem.i32;
    this.#space = space;
    this.#baseHi = mem.baseHi | 0;
  }

  /** Forgets what was predecoded from [addr, addr + length): to be called after code was written there. */
  invalidate(addr: KAddr, length: number): void {
    // A 4-byte instruction that starts 2 bytes before `addr` has its upper half in the range.
    for (let at = (addr & ~1) - 2; at < addr + length; at += 2) {
      const page = this.#pages.get(at >>> PAGE_SHIFT);
      if (page !== undefined) page[(at >>> 1) & (SLOTS_PER_PAGE - 1)] = undefined;
    }
  }

  /** @param budget instructions to execute at most. */
  run(context: KAddr, stop: StopPoint, budget: number): CpuEvent {
    const regs = this.#regs;
    const base = context >>> 2;
    const { pc: stopPc, sp: stopSp } = stop;
    setPair(regs, base + 2 * ZERO_WORD, 0, 0);
    let pc = regs[base]! >>> 0;
    if ((pc & 1) !== 0)
      return this.#raise(base, pc, "misaligned", CAUSE.fetchMisaligned, pc, regs[base + 1]!);
    if (regs[base + 1] !== this.#baseHi)
      return this.#raise(base, pc, "fetchFault", CAUSE.fetchPageFault, pc, regs[base + 1]!);
    for (let left = budget; ; left--) {
      if (
        pc === stopPc &&
        regs[base + 2 * REG.sp]! >>> 0 === stopSp &&
        regs[base + 2 * REG.sp + 1] === this.#baseHi
      )
        return this.#leave(base, pc, "stopped", 0);
      if (left <= 0) return this.#leave(base, pc, "budget", 0);
      const insn = this.#lookUp(pc);
      if (insn === undefined) return this.#fetchFault(base, pc);
      switch (insn.kind) {
        case Kind.alu:
          alu(regs, base, insn, regs[base + insn.rs2]!, regs[base + insn.rs2 + 1]!);
          break;
        case Kind.aluImm:
          alu(regs, base, insn, insn.imm, insn.imm >> 31);
          break;
        case Kind.mul:
          multiply(regs, base, insn, this.#divider);
          break;
        case Kind.load:
          if (!this.#load(base, insn))
            return this.#dataFault(base, pc, insn, "loadFault", CAUSE.loadPageFault);
          break;
        case Kind.store:
          if (!this.#store(base, insn))
            return this.#dataFault(base, pc, insn, "storeFault", CAUSE.storePageFault);
          break;
        case Kind.lui:
          setWord(regs, base + insn.rd, insn.imm);
          break;
        case Kind.auipc:
          add64(regs, base + insn.rd, pc, this.#baseHi, insn.imm, insn.imm >> 31);
          break;
        case Kind.fence:
          break;
        case Kind.fenceI:
          this.#forgetAll();
          break;
        case Kind.branch:
        case Kind.jal:
        case Kind.jalr:
          pc = this.#jump(base, pc, insn);
          if (pc < 0) return this.#wildJump(base);
          continue;
        default:
          return this.#trap(base, pc, insn);
      }
      pc += insn.length;
    }
  }

  /** The instruction at `pc`, predecoded; undefined if it may not be fetched. */
  #lookUp(pc: number): Instruction | undefined {
    const pageNumber = pc >>> PAGE_SHIFT;
    if (pageNumber !== this.#lastPageNumber) {
      this.#lastPage = this.#pageOf(pageNumber);
      this.#lastPageNumber = pageNumber;
    }
    return this.#lastPage[(pc >>> 1) & (SLOTS_PER_PAGE - 1)] ?? this.#decodeAt(pc);
  }

  #pageOf(pageNumber: number): CodePage {
    let page = this.#pages.get(pageNumber);
    if (page === undefined) {
      page = Array.from<Instruction | undefined>({ length: SLOTS_PER_PAGE });
      this.#pages.set(pageNumber, page);
    }
    return page;
  }

  #decodeAt(pc: number): Instruction | undefined {
    const at = this.#space.fetch(this.#baseHi, pc);
    if (at === FAULT) return undefined;
    let bits = this.#mem.dv.getUint16(at, true);
    if (instructionLength(bits) === 4) {
      const upperAt = this.#space.fetch(this.#baseHi, pc + 2);
      if (upperAt === FAULT) return undefined;
      bits |= this.#mem.dv.getUint16(upperAt, true) << 16;
    }
    const insn = decode(bits);
    this.#lastPage[(pc >>> 1) & (SLOTS_PER_PAGE - 1)] = insn;
    return insn;
  }

  #forgetAll(): void {
    this.#pages.clear();
    this.#lastPageNumber = -1;
  }

  #load(base: number, insn: Instruction): boolean {
    const regs = this.#regs;
    const { dv } = this.#mem;
    const rd = base + insn.rd;
    const at = this.#address(base, insn, false);
    if (at === FAULT) return false;
    switch (insn.op) {
      case Op.lb:
        setWord(regs, rd, dv.getInt8(at));
        return true;
      case Op.lh:
        setWord(regs, rd, dv.getInt16(at, true));
        return true;
      case Op.lw:
        setWord(regs, rd, dv.getInt32(at, true));
        return true;
      case Op.ld:
        setPair(regs, rd, dv.getInt32(at, true), dv.getInt32(at + 4, true));
        return true;
      case Op.lbu:
        setPair(regs, rd, dv.getUint8(at), 0);
        return true;
      case Op.lhu:
        setPair(regs, rd, dv.getUint16(at, true), 0);
        return true;
      case Op.lwu:
        setPair(regs, rd, dv.getInt32(at, true), 0);
        return true;
      default:
        throw new Error(`operation ${insn.op} is not a load`);
    }
  }

  #store(base: number, insn: Instruction): boolean {
    const low = this.#regs[base + insn.rs2]!;
    const { dv } = this.#mem;
    const at = this.#address(base, insn, true);
    if (at === FAULT) return false;
    switch (insn.op) {
      case Op.sb:
        dv.setInt8(at, low);
        return true;
      case Op.sh:
        dv.setInt16(at, low, true);
        return true;
      case Op.sw:
        dv.setInt32(at, low, true);
        return true;
      case Op.sd: {
        const high = this.#regs[base + insn.rs2 + 1]!;
        dv.setInt32(at, low, true);
        dv.setInt32(at + 4, high, true);
        return true;
      }
      default:
        throw new Error(`operation ${insn.op} is not a store`);
    }
  }

  /** Where rs1 + imm lies in linear memory, or FAULT. */
  #address(base: number, insn: Instruction, isStore: boolean): number {
    const al = this.#regs[base + insn.rs1]!;
    const low = (al + insn.imm) | 0;
    const high = (this.#regs[base + insn.rs1 + 1]! + (insn.imm >> 31) + (low >>> 0 < al >>> 0 ? 1 : 0)) | 0;
    const sizeBytes = ACCESS_BYTES[insn.op]!;
    return isStore ? this.#space.store(high, low, sizeBytes) : this.#space.load(high, low, sizeBytes);
  }

  /** The next pc of a jump or branch, rd written; -1 after writing epc if it is outside the direct map. */
  #jump(base: number, pc: number, insn: Instruction): number {
    const regs = this.#regs;
    if (insn.kind === Kind.branch && !isTaken(regs, base, insn)) return pc + insn.length;
    if (insn.kind === Kind.jalr)
      add64(regs, base, regs[base + insn.rs1]!, regs[base + insn.rs1 + 1]!, insn.imm, insn.imm >> 31);
    else add64(regs, base, pc, this.#baseHi, insn.imm, insn.imm >> 31);
    regs[base]! &= ~1;
    if (insn.kind !== Kind.branch) setPair(regs, base + insn.rd, pc + insn.length, this.#baseHi);
    return regs[base + 1] === this.#baseHi ? regs[base]! >>> 0 : -1;
  }

  /** A jump left the direct map: epc is there already. */
  #wildJump(base: number): CpuEvent {
    const pc = this.#regs[base]! >>> 0;
    return this.#raise(base, pc, "fetchFault", CAUSE.fetchPageFault, pc, this.#regs[base + 1]!);
  }

  #trap(base: number, pc: number, insn: Instruction): CpuEvent {
    switch (insn.kind) {
      case Kind.hostCall:
        return this.#leave(base, pc + insn.length, "hostCall", insn.imm);
      case Kind.ebreak:
        return this.#raiseAt(base, pc, "breakpoint", CAUSE.breakpoint, pc, this.#baseHi);
      case Kind.ecall:
        return this.#raiseAt(base, pc, "ecall", CAUSE.ecallFromSupervisor, 0, 0);
      default:
        return this.#raiseAt(base, pc, "illegal", CAUSE.illegalInstruction, insn.bits, 0);
    }
  }

  /** An instruction whose second half cannot be fetched faults there. */
  #fetchFault(base: number, pc: number): CpuEvent {
    const isSecondHalf = this.#space.fetch(this.#baseHi, pc) !== FAULT;
    return this.#raiseAt(
      base,
      pc,
      "fetchFault",
      CAUSE.fetchPageFault,
      isSecondHalf ? pc + 2 : pc,
      this.#baseHi,
    );
  }

  #dataFault(base: number, pc: number, insn: Instruction, kind: CpuEventKind, cause: number): CpuEvent {
    const at = base + insn.rs1;
    add64(this.#regs, base + 2 * REG.badaddr, this.#regs[at]!, this.#regs[at + 1]!, insn.imm, insn.imm >> 31);
    setPair(this.#regs, base + 2 * REG.cause, cause, 0);
    return this.#leave(base, pc, kind, 0);
  }

  #raiseAt(base: number, pc: number, kind: CpuEventKind, cause: number, low: number, high: number): CpuEvent {
    setPair(this.#regs, base, pc, this.#baseHi);
    return this.#raise(base, pc, kind, cause, low, high);
  }

  /** An exception whose epc is in the context, low word `pc`. */
  #raise(base: number, pc: number, kind: CpuEventKind, cause: number, low: number, high: number): CpuEvent {
    this.#regs[base] = pc;
    setPair(this.#regs, base + 2 * REG.badaddr, low, high);
    setPair(this.#regs, base + 2 * REG.cause, cause, 0);
    this.#event.kind = kind;
    this.#event.index = 0;
    return this.#event;
  }

  #leave(base: number, pc: number, kind: CpuEventKind, index: number): CpuEvent {
    setPair(this.#regs, base, pc, this.#baseHi);
    this.#event.kind = kind;
    this.#event.index = index;
    return this.#event;
  }
}

/** Bytes that each load and store touches, by operation. */
const ACCESS_BYTES: readonly number[] = (() => {
  const bytes = Array.from<number>({ length: Op.sd + 1 }).fill(0);
  for (const op of [Op.lb, Op.lbu, Op.sb]) bytes[op] = 1;
  for (const op of [Op.lh, Op.lhu, Op.sh]) bytes[op] = 2;
  for (const op of [Op.lw, Op.lwu, Op.sw]) bytes[op] = 4;
  for (const op of [Op.ld, Op.sd]) bytes[op] = 8;
  return bytes;
})();
