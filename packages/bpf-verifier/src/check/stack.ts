/** Accesses relative to the frame pointer. Linux: check_ptr_alignment(), check_stack_access_within_bounds(). */
import { EACCES, EINVAL } from "@alien-ts/abi";
import { CLASS, FRAME_BYTES, REG } from "@alien-ts/bpf-isa";
import type { Insn } from "@alien-ts/bpf-isa";
import type { Subprogram } from "../state.ts";
import { reject } from "../verdict.ts";
import type { Check } from "../verdict.ts";

const BYTES = [4, 2, 1, 8] as const;

const accessBytes = (opcode: number): number => BYTES[(opcode >> 3) & 3]!;

/** The access of `insn` through register `base`; only the frame pointer itself is known to point to the stack. */
export function checkStackAccess(insn: Insn, base: number, kind: "read" | "write"): Check {
  if (base !== REG.R10) return undefined;
  const { off } = insn;
  const size = accessBytes(insn.opcode);
  if (off % size !== 0) return reject(EACCES, `misaligned stack access off 0+0+${off} size ${size}`);
  const message = `invalid ${kind === "read" ? "read from" : "write to"} stack R${base} off=${off} size=${size}`;
  if (off < -FRAME_BYTES || off > -1) return reject(EACCES, message);
  return off + size > 0 ? reject(EINVAL, message) : undefined;
}

/** Bytes of stack that the function addresses through r10. */
export function stackDepth(insns: readonly Insn[], { start, end }: Subprogram): number {
  let depth = 0;
  for (let index = start; index < end; index++) {
    const { opcode, dst, src, off } = insns[index]!;
    const kind = opcode & 7;
    const isAccess = kind === CLASS.LDX || kind === CLASS.ST || kind === CLASS.STX;
    if (isAccess && (kind === CLASS.LDX ? src : dst) === REG.R10) depth = Math.max(depth, -off);
  }
  return depth;
}
