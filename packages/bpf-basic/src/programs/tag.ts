/**
 * Program tags: eight bytes that name a program by its instructions. Answers to `bpf_prog_calc_tag`: since Linux 6.18 the start
 * of SHA-256 (SHA-1 before) over the instructions as loaded, with the fds of map references zeroed.
 */
import { BPF_TAG_SIZE } from "@alien-ts/abi";
import { encode, type Insn, PSEUDO } from "@alien-ts/bpf-isa";
import { sha256 } from "./sha256.ts";

const WIDE_LOAD = 0x18;

/** 16 hexadecimal digits. */
export function programTag(insns: readonly Insn[]): string {
  const isMapLoad = (insn: Insn | undefined): boolean =>
    insn?.opcode === WIDE_LOAD && (insn.src === PSEUDO.MAP_FD || insn.src === PSEUDO.MAP_VALUE);
  const hashed = insns.map((insn, i) =>
    isMapLoad(insn) || isMapLoad(insns[i - 1]) ? { ...insn, imm: 0 } : insn,
  );
  const digest = sha256(encode(hashed)).subarray(0, BPF_TAG_SIZE);
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
