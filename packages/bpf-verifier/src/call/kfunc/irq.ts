/** Interrupt flags that are saved on the stack, and restored in the opposite order. Linux: process_irq_flag(). */
import { EACCES, EINVAL } from "@alien-ts/abi";
import { checkMemory } from "../../access/memory.ts";
import type { Analysis } from "../../analysis.ts";
import { pointer } from "../../state/register.ts";
import { EMPTY_SLOT } from "../../state/stack.ts";
import { reject } from "../../verdict.ts";
import type { Check } from "../../verdict.ts";
import { stackPlace } from "../stack-place.ts";
import type { Kfunc } from "./facts.ts";

const FLAG_BYTES = "ffffffff";

export function checkIrqFlag(analysis: Analysis, { name }: Kfunc, number: number): Check {
  const savedBy = name.startsWith("bpf_res_spin") ? "lock" : "native";
  return name.includes("save") ? save(analysis, number, savedBy) : restore(analysis, number, savedBy);
}

function save(analysis: Analysis, number: number, savedBy: "native" | "lock"): Check {
  const place = stackPlace(analysis, number, "irq_flag", 1);
  const refuse = (before: string): Check =>
    reject(EINVAL, `${before}expected uninitialized irq flag as arg#${number - 1}`);
  if ("errno" in place) return refuse(`${place.message}\n`);
  const frame = analysis.state.frames[place.frame]!;
  if (frame.stack[place.slot]?.types.includes("f") === true) return refuse("");
  const write = { number, off: 0, size: 8, kind: "write", into: -1, stored: undefined } as const;
  const bad = checkMemory(analysis, { ...write, isStrict: false, isSigned: false });
  if (bad !== undefined) return bad;
  const { state } = analysis;
  const id = analysis.newId();
  state.hold({ kind: "irq", id, insn: analysis.index, object: undefined });
  state.activeIrqId = id;
  analysis.liveStack.wrote(place.frame, place.slot);
  frame.stack[place.slot] = { types: FLAG_BYTES, spilled: pointer("fp", { refId: id, savedBy }) };
  analysis.touchSlot(place.slot);
  return undefined;
}

function restore(analysis: Analysis, number: number, savedBy: "native" | "lock"): Check {
  const place = stackPlace(analysis, number, "irq_flag", 1);
  const refuse = (before: string): Check =>
    reject(EINVAL, `${before}expected an initialized irq flag as arg#${number - 1}`);
  if ("errno" in place) return refuse(`${place.message}\n`);
  const { state } = analysis;
  const frame = state.frames[place.frame]!;
  const slot = frame.stack[place.slot];
  if (slot === undefined || place.isAtTop || slot.types !== FLAG_BYTES) return refuse("");
  analysis.liveStack.read(place.frame, place.slot);
  const { refId, savedBy: before } = slot.spilled;
  if (before !== savedBy) {
    return reject(EINVAL, `irq flag acquired by ${before} kfuncs cannot be restored with ${savedBy} kfuncs`);
  }
  if (refId !== state.activeIrqId) {
    const active = state.references.find(({ id }) => id === state.activeIrqId);
    return reject(
      EACCES,
      `cannot restore irq state out of order, expected id=${state.activeIrqId} acquired at insn_idx=${active?.insn ?? 0}`,
    );
  }
  const at = state.references.findIndex(({ id, kind }) => kind === "irq" && id === refId);
  state.activeIrqId = state.references.slice(0, at).findLast(({ kind }) => kind === "irq")?.id ?? 0;
  state.references = state.references.filter((_, i) => i !== at);
  frame.stack[place.slot] = EMPTY_SLOT;
  analysis.liveStack.wrote(place.frame, place.slot);
  analysis.touchSlot(place.slot);
  return undefined;
}
