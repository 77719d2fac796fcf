/**
 * The function that runs when the program throws: a tag of the main function names it. Linux:
 * bpf_find_exception_callback_insn_off().
 */
import { EEXIST, EINVAL, ENOENT } from "@alien-ts/abi";
import type { ProgramBtf } from "../env.ts";
import { reject } from "../verdict.ts";
import type { Reject } from "../verdict.ts";

const PREFIX = "exception_callback:";
/** Of a tag on the function itself, not on one of its parameters. */
const WHOLE = -1;

/** Its first instruction; 0 where the program has none. */
export function exceptionCallbackStart(program: ProgramBtf | undefined): number | Reject {
  const main = program?.functions[0];
  if (program === undefined || main === undefined) return 0;
  const { btf, functions } = program;
  const names: string[] = [];
  for (const [, tag] of btf.types()) {
    if (tag.kind !== "decl_tag" || tag.type !== main.type || tag.component !== WHOLE) continue;
    if (tag.name.startsWith(PREFIX)) names.push(tag.name.slice(PREFIX.length));
  }
  const [name] = names;
  if (name === undefined) return 0;
  if (names.length > 1) return reject(EEXIST, "multiple exception callback tags for main subprog");
  const id = btf.find(name, "func");
  const func = id === undefined ? undefined : btf.type(id);
  if (func?.kind !== "func") return reject(ENOENT, `exception callback '${name}' could not be found in BTF`);
  if (func.linkage !== "global")
    return reject(EINVAL, `exception callback '${name}' must have global linkage`);
  const record = functions.findLast(({ type }) => type === id);
  if (record?.insn === 0) return reject(EINVAL, "invalid exception callback insn_off in func_info: 0");
  return record?.insn ?? reject(EINVAL, "exception callback type id not found in func_info");
}
