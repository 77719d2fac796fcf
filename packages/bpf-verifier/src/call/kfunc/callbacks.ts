/** Functions of the program that kernel functions call: what they are given, and what they may return. */
import { REG } from "@alien-ts/bpf-isa";
import type { Analysis } from "../../analysis.ts";
import type { MapInfo, ReturnRange } from "../../env.ts";
import { pointer } from "../../state/register.ts";
import type { Register } from "../../state/register.ts";
import { reject } from "../../verdict.ts";
import type { Check } from "../../verdict.ts";
import { pushCallback } from "../subprogram.ts";
import type { Callback } from "../subprogram.ts";
import type { Kfunc, KfuncFacts } from "./facts.ts";
import { graphNode, notOwning } from "./graph.ts";

const BOOL: ReturnRange = { min: 0n, max: 1n };
const ZERO: ReturnRange = { min: 0n, max: 0n };
const INT: ReturnRange = { min: -(1n << 31n), max: (1n << 31n) - 1n };

export function runKfuncCallback(analysis: Analysis, kfunc: Kfunc, facts: KfuncFacts): Check {
  const callback = callbackOf(analysis, kfunc, facts);
  if (callback === undefined) return undefined;
  const bad = pushCallback(analysis, callback);
  if (bad === undefined) return undefined;
  const before = bad.message === "" ? "" : `${bad.message}\n`;
  return reject(bad.errno, `${before}kfunc ${kfunc.name}#${kfunc.id} failed callback verification`);
}

function callbackOf(analysis: Analysis, { name }: Kfunc, facts: KfuncFacts): Callback | undefined {
  const { subprogram } = facts;
  switch (name) {
    case "bpf_rbtree_add_impl": {
      if (facts.tree?.graph === undefined) return undefined;
      const node = notOwning(graphNode(facts.tree));
      return { subprogram, isAsync: false, returns: BOOL, arguments: [node, node] };
    }
    case "bpf_wq_set_callback_impl": {
      const { map, mapUid } = analysis.register(REG.R1);
      return { subprogram, ...later(map, mapUid), returns: ZERO };
    }
    case "bpf_task_work_schedule_signal_impl":
    case "bpf_task_work_schedule_resume_impl": {
      const { map, mapUid } = analysis.register(REG.R3);
      return { subprogram, ...later(map, mapUid), returns: INT };
    }
    default:
      return undefined;
  }
}

/** Called with the map, the key and the value, where sleeping is allowed. */
function later(
  map: MapInfo | undefined,
  mapUid: number,
): Pick<Callback, "isAsync" | "isSleepable" | "arguments"> {
  const args: Register[] = [
    pointer("map_ptr", { map, mapUid }),
    pointer("map_key", { map }),
    pointer("map_value", { map, mapUid }),
  ];
  return { isAsync: true, isSleepable: true, arguments: args };
}
