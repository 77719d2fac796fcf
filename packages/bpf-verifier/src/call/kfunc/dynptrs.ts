/** Dynptrs as arguments and results of kernel functions. */
import { EINVAL } from "@alien-ts/abi";
import { mayWritePacket } from "../../access/region.ts";
import type { Analysis } from "../../analysis.ts";
import { DYNPTR_FLAG, FLAG, pointer } from "../../state/register.ts";
import type { DynptrKind, Register } from "../../state/register.ts";
import { reject } from "../../verdict.ts";
import type { Check } from "../../verdict.ts";
import type { DynptrArgument } from "../dynptr.ts";
import type { Kfunc, KfuncFacts } from "./facts.ts";
import { hasSuffix } from "./parameters.ts";

const MADE: Record<string, DynptrKind> = {
  bpf_dynptr_from_skb: "skb",
  bpf_dynptr_from_xdp: "xdp",
  bpf_dynptr_from_skb_meta: "skb_meta",
};

export function dynptrParameter(
  { name, prototype }: Kfunc,
  index: number,
  facts: KfuncFacts,
): DynptrArgument {
  const isUninitialised = hasSuffix(prototype.params[index]!, "__uninit");
  const isClone = name === "bpf_dynptr_clone" && isUninitialised;
  return {
    isUninitialised,
    releases: false,
    dynptr: isClone ? facts.dynptr?.kind : MADE[name],
    clonedRef: isClone ? (facts.dynptr?.refId ?? 0) : 0,
  };
}

/** The part of a dynptr that a slice points to. */
export function slice(analysis: Analysis, { name }: Kfunc, facts: KfuncFacts): Register | NonNullable<Check> {
  const { dynptr, constant } = facts;
  let flags = DYNPTR_FLAG[dynptr?.kind ?? "local"];
  if (name === "bpf_dynptr_slice") flags |= FLAG.RDONLY;
  else if (!mayWritePacket(analysis)) return reject(EINVAL, "the prog does not allow writes to packet data");
  return pointer("mem", {
    flags,
    memSize: Number(BigInt.asUintN(32, constant ?? 0n)),
    dynptrId: dynptr?.id ?? 0,
  });
}
