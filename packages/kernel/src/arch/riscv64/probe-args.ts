/**
 * riscv64's trap frame as the probe library sees it: `ProbeArgs` over a register context in linear memory.
 *
 * One object serves a CPU: `at(context)` points it at the context whose exception is handled. A handler that is interrupted by
 * a nested hit needs its frame afterwards, so each nesting level has an object of its own.
 *
 * Arguments are a0 … a7, the result is a0, the return address is ra (RISC-V calling convention). epc is at the breakpoint.
 */
import type { KAddr, LinearMemory } from "@alien-ts/abi";
import type { ProbeArgs } from "@alien-ts/kprobe";
import { REG } from "./pt-regs.ts";

/** Integer arguments passed in registers. */
export const ARGUMENT_REGISTERS = 8;

export class Riscv64ProbeArgs implements ProbeArgs {
  /** The context, which starts with its `pt_regs`. */
  frame: KAddr = 0;
  readonly #words: Int32Array;
  readonly #baseHi: number;

  constructor(mem: LinearMemory) {
    this.#words = mem.i32;
    this.#baseHi = mem.baseHi | 0;
  }

  at(context: KAddr): this {
    this.frame = context;
    return this;
  }

  break_address(): KAddr {
    return this.pc();
  }
  debug_address(): KAddr {
    return this.pc();
  }
  pc(): KAddr {
    return this.#low(REG.epc) >>> 0;
  }
  pcHigh(): number {
    return this.#high(REG.epc);
  }
  update_pc(pc: KAddr): void {
    this.#set(REG.epc, pc, this.#baseHi);
  }
  setPcWords(low: number, high: number): void {
    this.#set(REG.epc, low, high);
  }

  registerLow(register: number): number {
    return register === 0 ? 0 : this.#low(register);
  }
  registerHigh(register: number): number {
    return register === 0 ? 0 : this.#high(register);
  }
  setRegister(register: number, low: number, high: number): void {
    if (register !== 0) this.#set(register, low, high);
  }

  argumentLow(n: number): number {
    return this.#low(argumentRegister(n));
  }
  argumentHigh(n: number): number {
    return this.#high(argumentRegister(n));
  }
  setArgument(n: number, low: number, high: number): void {
    this.#set(argumentRegister(n), low, high);
  }

  returnValueLow(): number {
    return this.#low(REG.a0);
  }
  returnValueHigh(): number {
    return this.#high(REG.a0);
  }
  setReturnValue(low: number, high: number): void {
    this.#set(REG.a0, low, high);
  }

  stackPointer(): KAddr {
    return this.#low(REG.sp) >>> 0;
  }
  returnAddress(): KAddr {
    return this.#low(REG.ra) >>> 0;
  }
  setReturnAddress(addr: KAddr): void {
    this.#set(REG.ra, addr, this.#baseHi);
  }

  set_single_step(): void {
    throw new Error("riscv64 has no single-step flag");
  }

  #low(word: number): number {
    return this.#words[(this.frame >>> 2) + 2 * word]!;
  }
  #high(word: number): number {
    return this.#words[(this.frame >>> 2) + 2 * word + 1]!;
  }
  #set(word: number, low: number, high: number): void {
    const at = (this.frame >>> 2) + 2 * word;
    this.#words[at] = low;
    this.#words[at + 1] = high;
  }
}

function argumentRegister(n: number): number {
  if (n < 0 || n >= ARGUMENT_REGISTERS) throw new RangeError(`argument ${n} is not passed in a register`);
  return REG.a0 + n;
}
