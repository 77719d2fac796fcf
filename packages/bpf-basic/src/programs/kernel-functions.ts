/** Calls of kernel functions by programs: which function an instruction calls, and how a program of any engine calls it. */
import { CALL, type Insn } from "@alien-ts/bpf-isa";
import { linuxKfunc } from "@alien-ts/bpf-verifier";
import type { BpfEngine } from "../engine.ts";
import type { KernelFunction } from "../ports.ts";

/** The function whose type has this id, where programs may call it. */
export function kernelFunctionOf({ kernelBtf, ports }: BpfEngine, id: number): KernelFunction | undefined {
  const type = kernelBtf?.btf.type(id);
  return type?.kind === "func" ? ports.kernelFunction(type.name) : undefined;
}

/** Whether a program has loops that iterators bound: to millions of turns each, one in the other. */
export function hasIteratorLoops({ kernelBtf }: BpfEngine, insns: readonly Insn[]): boolean {
  return insns.some(({ opcode, src, imm }) => {
    if (opcode !== CALL_OPCODE || src !== CALL.KFUNC) return false;
    const type = kernelBtf?.btf.type(imm);
    return type?.kind === "func" && linuxKfunc(type.name)?.flags.has("iter_next") === true;
  });
}

const CALL_OPCODE = 0x85;
