/** Calls of kernel functions. Linux: check_kfunc_call(). None is known yet, so that every call is refused. */
import { EACCES, EINVAL } from "@alien-ts/abi";
import type { Insn } from "@alien-ts/bpf-isa";
import type { Analysis } from "../analysis.ts";
import { reject } from "../verdict.ts";
import type { Check } from "../verdict.ts";

export function checkKfuncCall(analysis: Analysis, insn: Insn): Check {
  if (insn.imm === 0) return reject(EINVAL, "invalid kernel function call not eliminated in verifier pass");
  const name = analysis.env.kfunc?.(insn.imm, insn.off);
  return name === undefined
    ? reject(EINVAL, `kernel btf_id ${insn.imm} is not a function`)
    : reject(EACCES, `calling kernel function ${name} is not allowed`);
}
