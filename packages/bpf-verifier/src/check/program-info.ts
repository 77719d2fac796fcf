/**
 * What a program's BTF says of it: functions where functions begin, of types that are functions; lines in order, inside the program.
 * Linux: check_btf_func_early(), check_btf_func(), check_btf_line(), check_abnormal_return().
 */
import { EINVAL } from "@alien-ts/abi";
import { CALL, CLASS, MODE } from "@alien-ts/bpf-isa";
import type { Insn } from "@alien-ts/bpf-isa";
import type { Btf } from "@alien-ts/btf";
import { functionPrototype } from "../call/kfunc/facts.ts";
import { isScalarType, typeOf } from "../call/kfunc/parameters.ts";
import { HELPER } from "../call/callback-kinds.ts";
import type { ProgramBtf, ProgramEnv } from "../env.ts";
import type { Subprogram } from "../state.ts";
import { Reject, reject } from "../verdict.ts";
import type { Check } from "../verdict.ts";

const refuse = (message: string): Reject => new Reject(EINVAL, message, false);

/** Before the functions of the program are known. */
export function checkFunctionRecords({ program }: ProgramEnv): Check {
  if (program === undefined) return undefined;
  let previous = 0;
  for (const [i, { insn, type }] of program.functions.entries()) {
    if (i === 0 && insn !== 0) return refuse(`nonzero insn_off ${insn} for the first func info record`);
    if (i > 0 && insn <= previous)
      return refuse(`same or smaller insn offset (${insn}) than previous func info record (${previous})`);
    previous = insn;
    if (program.btf.type(type)?.kind !== "func") return refuse(`invalid type id ${type} in func info`);
  }
  return undefined;
}

/** Functions are as their types say; those without types are plain. Then the lines. */
export function checkProgramInfo({ insns, program }: ProgramEnv, subprograms: readonly Subprogram[]): Check {
  if (program === undefined || program.functions.length === 0)
    return checkBodies(
      insns,
      subprograms,
      (what) => `${what} is not allowed in subprogs without BTF`,
      () => false,
    );
  const { btf, functions } = program;
  if (functions.length !== subprograms.length)
    return reject(EINVAL, "number of funcs in func_info doesn't match number of subprogs");
  for (const [i, { start }] of subprograms.entries()) {
    if (functions[i]!.insn !== start)
      return reject(EINVAL, "func_info BTF section doesn't match subprog layout in BPF program");
    if (functionPrototype(btf, functions[i]!.type) === undefined) return reject(EINVAL, "");
  }
  return (
    checkBodies(
      insns,
      subprograms,
      (what) => `${what} is only allowed in functions that return 'int'.`,
      (i) => returnsNumber(btf, functions[i]!.type),
    ) ?? checkLines(insns, program, subprograms)
  );
}

/** Packet loads and tail calls leave a function with a number as result. */
function checkBodies(
  insns: readonly Insn[],
  subprograms: readonly Subprogram[],
  message: (what: string) => string,
  isAllowed: (subprogram: number) => boolean,
): Check {
  for (const [i, { start, end }] of subprograms.entries()) {
    if (i === 0 || isAllowed(i)) continue;
    const body = insns.slice(start, end);
    if (body.some(isPacketLoad)) return reject(EINVAL, message("LD_ABS"));
    if (body.some(isTailCall)) return reject(EINVAL, message("tail_call"));
  }
  return undefined;
}

const isPacketLoad = ({ opcode }: Insn): boolean =>
  (opcode & 7) === CLASS.LD && ((opcode & 0xe0) === MODE.ABS || (opcode & 0xe0) === MODE.IND);
const isTailCall = ({ opcode, src, imm }: Insn): boolean =>
  opcode === 0x85 && src === CALL.HELPER && imm === HELPER.tail_call;

function returnsNumber(btf: Btf, id: number): boolean {
  const prototype = functionPrototype(btf, id);
  return prototype !== undefined && isScalarType(typeOf(btf, prototype.type));
}

/** Every function begins with a line. */
function checkLines(
  insns: readonly Insn[],
  { lines }: ProgramBtf,
  subprograms: readonly Subprogram[],
): Check {
  let next = 0;
  let previous = 0;
  for (const [i, { insn }] of lines.entries()) {
    if ((i > 0 && insn <= previous) || insn >= insns.length) {
      return reject(
        EINVAL,
        `Invalid line_info[${i}].insn_off:${insn} (prev_offset:${previous} prog->len:${insns.length})`,
      );
    }
    if (insns[insn]!.opcode === 0) return reject(EINVAL, `Invalid insn code at line_info[${i}].insn_off`);
    const start = subprograms[next]?.start;
    if (start !== undefined && insn === start) next += 1;
    else if (start !== undefined && start < insn)
      return reject(EINVAL, `missing bpf_line_info for func#${next}`);
    previous = insn;
  }
  if (lines.length === 0 || next === subprograms.length) return undefined;
  const missing = subprograms.length - next;
  return reject(EINVAL, `missing bpf_line_info for ${missing} funcs starting from func#${next}`);
}
