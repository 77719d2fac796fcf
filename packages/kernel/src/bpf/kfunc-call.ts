/**
 * How a program's call reaches a row: registers become arguments as its types say, the gate is passed (so that probes of the
 * function are hit), the result becomes r0. The verifier has proved the arguments.
 */
import { type CType, Errno, type KAddr } from "@alien-ts/abi";
import type { CallRegisters, KernelFunction } from "@alien-ts/bpf-basic";
import type { Kernel } from "../core/kernel.ts";
import type { Owned, OwnerType } from "../core/owner.ts";
import { callRow, type FunctionRow, type ParamType } from "../core/row.ts";

/** Functions of this kernel that programs may call, by name. */
export function kernelFunctions(kernel: Kernel): Map<string, KernelFunction> {
  const found = new Map<string, KernelFunction>();
  for (const { row } of kernel.text.rows) {
    const flags = row.options.kfunc;
    if (flags !== undefined) found.set(row.name, { flags, call: callerOf(kernel, row) });
  }
  return found;
}

function callerOf(kernel: Kernel, row: FunctionRow): KernelFunction["call"] {
  const gate = callRow(row);
  const types = row.params.map(([, type]) => type);
  return (registers) => {
    const args: unknown[] = [];
    for (let i = 0; i < types.length; i++) {
      const value = argumentOf(kernel, types[i]!, registers.argLow(i + 1), registers.argHigh(i + 1));
      args.push(value);
    }
    giveResult(kernel, registers, row.ret, gate(kernel.current, ...args));
  };
}

const isOwner = (type: ParamType): type is OwnerType<unknown> => type.kind === "owner";

/** An object that is gone is as good as none: a program may hold its address for as long as it runs. */
function argumentOf({ mem, ownerOf }: Kernel, type: ParamType, low: number, high: number): unknown {
  if (isOwner(type)) return ownerOf(low >>> 0) ?? null;
  return (type as CType).fromReg(low, high, mem);
}

function giveResult({ mem }: Kernel, registers: CallRegisters, type: ParamType, value: unknown): void {
  if (value instanceof Errno) return registers.setR0(-value.number, -1);
  if (type.c === "void" || value === null || value === undefined) return registers.setR0(0, 0);
  if (isOwner(type)) return givePointer(registers, (value as Owned).addr, mem.baseHi);
  const scalar = type as CType<unknown>;
  const low = scalar.lo(value) | 0;
  if (scalar.kind === "ptr" && typeof value === "number") return givePointer(registers, value, mem.baseHi);
  // Numbers below 64 bits fill the register as BPF's instructions do, not as the machine's calling convention.
  const isWide = scalar.size === 8;
  registers.setR0(low, isWide ? scalar.hi(value) | 0 : scalar.signed ? low >> 31 : 0);
}

function givePointer(registers: CallRegisters, address: KAddr, high: number): void {
  registers.setR0(address | 0, address === 0 ? 0 : high | 0);
}
