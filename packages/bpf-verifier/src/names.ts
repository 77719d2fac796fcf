/** How instructions are printed in logs: with opcode, and the names of what they call. */
import type { DisassembleOptions } from "@alien-ts/bpf-isa";
import type { VerifierEnv } from "./env.ts";

const cache = new WeakMap<VerifierEnv, DisassembleOptions>();

export function instructionNames(env: VerifierEnv): DisassembleOptions {
  let names = cache.get(env);
  if (names === undefined) {
    names = {
      withOpcode: true,
      helperName: (id) => env.helper(id)?.name,
      kfuncName: (btfId, moduleOffset) => (btfId === 0 ? "" : env.kfunc?.(btfId, moduleOffset)),
    };
    cache.set(env, names);
  }
  return names;
}
