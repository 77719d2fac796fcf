/**
 * What becomes of an accepted program: `rewrite` gives what runs, and where each of its instructions comes from. Linux: what
 * bpf_check() does after the walk.
 *
 * Differs from Linux: a lookup in a map stays a call, also in what is listed. The JIT inlines it, and those in hash maps too, from
 * where the map's memory is (bpf-vm's jit/maps.ts); instructions that do the same would say less to it.
 */
import { type Insn, PSEUDO } from "@alien-ts/bpf-isa";
import type { Analysis } from "../analysis.ts";
import { withBarriers } from "./barriers.ts";
import { convertContext } from "./context.ts";
import { removeDeadCode, trapDeadCode } from "./dead-code.ts";
import { Draft } from "./draft.ts";

export interface Xlated {
  readonly insns: readonly Insn[];
  /** For each instruction, the index of the one in the program given that it stands for. */
  readonly origin: readonly number[];
  /** Slots of loads through pointers that nobody vouches for: at a bad address they give 0. (Linux: BPF_PROBE_MEM) */
  readonly untrusted: ReadonlySet<number>;
  /** As Linux shows the program and runs it, where that has barriers and masks (`barriers.ts`). */
  readonly listed: Pick<Xlated, "insns" | "origin"> | undefined;
}

const WIDE_LOAD = 0x18;

/** @param insns the program, with the addresses of its maps. */
export function rewrite(analysis: Analysis, insns: readonly Insn[]): Xlated {
  const { notes, env } = analysis;
  const draft = new Draft(insns.map(withoutSymbol));
  const isSeen = (index: number): boolean =>
    notes[index]!.isSeen || (insns[index - 1]?.opcode === WIDE_LOAD && notes[index - 1]!.isSeen);
  if (env.privileges.isCapable) removeDeadCode(draft, isSeen);
  else trapDeadCode(draft, isSeen);
  const noteAt = (index: number): Analysis["notes"][number] => notes[draft.origin[index]!]!;
  convertContext(draft, env.programType.context?.rows ?? [], (index) => noteAt(index).pointerKind === "ctx");
  const untrusted = new Set<number>();
  draft.insns.forEach((insn, index) => {
    if ((insn.opcode & 7) === LDX && noteAt(index).isUntrusted) untrusted.add(index);
  });
  const { insns: plain, origin } = draft;
  if (env.privileges.bypassesSpecV1 && !notes.some(({ isIndexMasked }) => isIndexMasked))
    return { insns: plain, origin, untrusted, listed: undefined };
  withBarriers(draft, noteAt);
  return { insns: plain, origin, untrusted, listed: { insns: draft.insns, origin: draft.origin } };
}

const LDX = 1;

/** The load of a kernel symbol's address, which is in it, as that of a number. Linux: convert_pseudo_ld_imm64() */
const withoutSymbol = (insn: Insn): Insn =>
  insn.opcode === WIDE_LOAD && insn.src === PSEUDO.BTF_ID ? { ...insn, src: PSEUDO.NONE } : insn;

/** A record about an instruction, as line records are. */
interface Located {
  readonly insn: number;
}

/**
 * Records of the program given, for the program that runs: what was removed hands its record on to what follows, unless that has
 * its own. Linux: bpf_adj_linfo_after_remove()
 */
export function relocate<T extends Located>(records: readonly T[], { origin }: Pick<Xlated, "origin">): T[] {
  const found: T[] = [];
  let next = 0;
  origin.forEach((from, index) => {
    let last: T | undefined;
    while (next < records.length && records[next]!.insn <= from) last = records[next++]!;
    if (last !== undefined) found.push({ ...last, insn: index });
  });
  return found;
}
