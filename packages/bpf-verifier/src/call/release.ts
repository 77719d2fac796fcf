/** What a call takes away: objects that were given back, packets that moved. */
import type { Analysis } from "../analysis.ts";
import { FLAG } from "../state/register.ts";

/** Every copy of the object becomes unknown. Linux: release_reference() */
export function releaseReference(analysis: Analysis, refId: number): boolean {
  const { state } = analysis;
  if (!state.references.some(({ id, kind }) => id === refId && kind === "object")) return false;
  state.references = state.references.filter(({ id, kind }) => !(id === refId && kind === "object"));
  state.replaceAll((register) => (register.refId === refId ? analysis.gone : register));
  return true;
}

/** Linux: clear_all_pkt_pointers() */
export function forgetPackets(analysis: Analysis): void {
  analysis.state.replaceAll((register) => {
    const isSlice = register.kind === "mem" && register.has(FLAG.DYNPTR_SKB | FLAG.DYNPTR_XDP);
    const isPacket = register.isPacket || register.kind === "pkt_end";
    return isSlice || isPacket ? analysis.gone : register;
  });
}
