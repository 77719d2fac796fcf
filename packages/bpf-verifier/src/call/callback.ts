/** Helpers that call functions of the program: with what arguments, and what these may return. Linux: set_*_callback_state(). */
import { EFAULT, ENOTSUPP } from "@alien-ts/abi";
import { REG } from "@alien-ts/bpf-isa";
import type { Analysis } from "../analysis.ts";
import { assert } from "../assert.ts";
import { markPrecise } from "../prune/precision.ts";
import { UNKNOWN, pointer } from "../state/register.ts";
import { reject } from "../verdict.ts";
import type { Check } from "../verdict.ts";
import type { CallFacts } from "./arguments.ts";
import { HELPER } from "./callback-kinds.ts";
import { pushCallback } from "./subprogram.ts";

const BOOL = { min: 0n, max: 1n };
/** Arrays and hash tables, of which all elements can be visited. */
const WITH_CALLBACKS: readonly number[] = [1, 2, 5, 6, 9, 10];
const ZERO = { min: 0n, max: 0n };

export function runCallback(analysis: Analysis, facts: CallFacts): Check {
  const { subprogram, map } = facts;
  const at = (number: number): ReturnType<Analysis["register"]> => analysis.register(number);
  const call = { subprogram, isAsync: false, returns: BOOL } as const;
  switch (facts.id) {
    case HELPER.loop: {
      // Any argument will do for the prototype, but only a number can be how often; Linux finds it out here.
      const bad = at(REG.R4).isNull ? markPrecise(analysis, REG.R4) : undefined;
      if (bad !== undefined) return bad;
      if (!at(REG.R1).isScalar) return reject(EFAULT, "verifier bug: backtracking misuse");
      const imprecise = markPrecise(analysis, REG.R1);
      if (imprecise !== undefined) return imprecise;
      if (BigInt(analysis.frame.callbackDepth) < at(REG.R1).scalar.umax)
        return pushCallback(analysis, { ...call, arguments: [UNKNOWN, at(REG.R3)] });
      analysis.frame.callbackDepth = 0;
      if (analysis.log.isVerbose)
        analysis.log.line(`frame${analysis.frame.index} bpf_loop iteration limit reached`);
      return undefined;
    }
    case HELPER.for_each_map_elem:
      if (map === undefined || !WITH_CALLBACKS.includes(map.type))
        return reject(ENOTSUPP, "callback function not allowed for map");
      return pushCallback(analysis, {
        ...call,
        arguments: [at(REG.R1), pointer("map_key", { map }), pointer("map_value", { map }), at(REG.R3)],
      });
    case HELPER.find_vma: {
      const btf = analysis.env.kernelBtf;
      const id = btf?.find("vm_area_struct", "struct");
      assert(btf !== undefined && id !== undefined, "a kernel with tasks has mappings");
      return pushCallback(analysis, {
        ...call,
        arguments: [at(REG.R1), pointer("ptr_", { btf, btfId: id }), at(REG.R4)],
      });
    }
    case HELPER.timer_set_callback:
      return pushCallback(analysis, {
        ...call,
        isAsync: true,
        returns: ZERO,
        arguments: [
          pointer("map_ptr", { map, mapUid: facts.mapUid }),
          pointer("map_key", { map }),
          pointer("map_value", { map, mapUid: facts.mapUid }),
        ],
      });
    default:
      return pushCallback(analysis, {
        ...call,
        arguments: [
          pointer("dynptr_ptr", { dynptr: "local", isFirstSlot: true, id: analysis.newId() }),
          at(REG.R3),
        ],
      });
  }
}
