/**
 * bpf(2): the entry of all commands. Attributes are copied in and checked by the rules of `union bpf_attr`, then the command's
 * row runs. A command that this kernel does not have answers EINVAL. Nothing a caller passes throws.
 */
import { BPF_ATTR_SIZE, bpf_attr_slices, EINVAL, isErr, type Result, type UAddr } from "@alien-ts/abi";
import type { BpfEngine } from "../engine.ts";
import { copyAttributesIn, tailIsZero, withMemory } from "./call.ts";
import { commandName, commands } from "./table.ts";

/** @param size bytes at `attr` that the caller gave. */
export function bpf(engine: BpfEngine, cmd: number, attr: UAddr, size: number): Result<number> {
  return withMemory(engine.ports, BPF_ATTR_SIZE, (copy) => {
    const copied = copyAttributesIn(engine, attr, size >>> 0, copy);
    if (isErr(copied)) return copied;
    const name = commandName(cmd);
    if (name === undefined) return EINVAL;
    const row = commands[name];
    if (!row.supported || !tailIsZero(engine, copy, bpf_attr_slices[name])) return EINVAL;
    return row.run({ engine, attr: copy, userAttr: attr, userSize: size >>> 0 });
  });
}
