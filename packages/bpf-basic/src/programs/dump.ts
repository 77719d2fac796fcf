/** Instructions as `bpftool prog dump xlated` reads them: maps by id instead of address. Linux: bpf_insn_prepare_dump(). */
import { type Insn, PSEUDO } from "@alien-ts/bpf-isa";
import type { BpfProgram } from "./program.ts";

const WIDE_LOAD = 0x18;

export function dumpInsns({ listed: { insns, origin }, mapLoads }: BpfProgram): Insn[] {
  return insns.map((insn, index) => {
    const load = mapLoads.get(origin[index]!);
    if (load !== undefined && insn.opcode === WIDE_LOAD) {
      const src = load.offset === undefined ? PSEUDO.MAP_FD : PSEUDO.MAP_VALUE;
      return { ...insn, src, imm: load.map.t.id };
    }
    const before = insns[index - 1]?.opcode === WIDE_LOAD ? mapLoads.get(origin[index - 1]!) : undefined;
    return before === undefined ? insn : { ...insn, imm: before.offset ?? 0 };
  });
}
