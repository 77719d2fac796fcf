/**
 * Calls of kernel functions. Linux: check_kfunc_call(). One row per function that is known; all others are refused, which is never
 * wrong but for programs that need them.
 */
import { EACCES, EINVAL } from "@alien-ts/abi";
import { REG } from "@alien-ts/bpf-isa";
import type { Insn } from "@alien-ts/bpf-isa";
import { checkContextPointer } from "../access/memory.ts";
import type { Analysis } from "../analysis.ts";
import { FLAG, NOT_INIT, UNKNOWN, kindName, pointer } from "../state/register.ts";
import { reject } from "../verdict.ts";
import type { Check } from "../verdict.ts";
import { destroyIterator, newIterator, nextNumber } from "./iterator.ts";

type Row = (analysis: Analysis, name: string) => Check;

/** Beginning and end of a region, counted in the state; an end without a beginning is refused. */
const KFUNCS: Record<string, Row> = {
  bpf_preempt_disable: ({ state }) => {
    state.activePreemptLocks += 1;
    return undefined;
  },
  bpf_preempt_enable: ({ state }, name) => {
    if (state.activePreemptLocks === 0)
      return reject(EINVAL, `unmatched attempt to enable preemption (kernel function ${name})`);
    state.activePreemptLocks -= 1;
    return undefined;
  },
  bpf_rcu_read_lock: ({ state }, name) => {
    if (state.activeRcuLocks > 0) return reject(EINVAL, `nested rcu read lock (kernel function ${name})`);
    state.activeRcuLocks = 1;
    return undefined;
  },
  bpf_rcu_read_unlock: ({ state }, name) => {
    if (state.activeRcuLocks === 0)
      return reject(EINVAL, `unmatched rcu read unlock (kernel function ${name})`);
    state.activeRcuLocks = 0;
    return undefined;
  },
  bpf_cast_to_kern_ctx: (analysis) => castContext(analysis),
  bpf_iter_num_new: (analysis) => scalarArguments(analysis, 2, 3) ?? newIterator(analysis, "num"),
  bpf_iter_num_next: (analysis) => nextNumber(analysis),
  bpf_iter_num_destroy: (analysis) => destroyIterator(analysis, "num"),
};

/** Functions that give nothing; r0 is not readable behind them. */
const VOID = new Set([
  "bpf_preempt_disable",
  "bpf_preempt_enable",
  "bpf_rcu_read_lock",
  "bpf_rcu_read_unlock",
  "bpf_iter_num_destroy",
]);

const CAST = "bpf_cast_to_kern_ctx";
export const ITERATOR_NEXT = "bpf_iter_num_next";

export function checkKfuncCall(analysis: Analysis, insn: Insn): Check {
  if (insn.imm === 0) return reject(EINVAL, "invalid kernel function call not eliminated in verifier pass");
  const name = analysis.env.kfunc?.(insn.imm, insn.off);
  if (name === undefined) return reject(EINVAL, `kernel btf_id ${insn.imm} is not a function`);
  const row = insn.off === 0 ? KFUNCS[name] : undefined;
  if (row === undefined) return reject(EACCES, `calling kernel function ${name} is not allowed`);
  const bad = row(analysis, name);
  if (bad !== undefined) return bad;
  if (name === ITERATOR_NEXT || name === CAST) return undefined;
  analysis.clearCallerSaved();
  analysis.set(REG.R0, VOID.has(name) ? NOT_INIT : UNKNOWN);
  return undefined;
}

/** The kernel's structure behind a context. Linux: find_kern_ctx_type_id() */
const KERNEL_CONTEXTS: Record<string, string> = {
  __sk_buff: "sk_buff",
  xdp_md: "xdp_buff",
  bpf_sock: "sock",
  bpf_sock_addr: "bpf_sock_addr_kern",
  bpf_sock_ops: "bpf_sock_ops_kern",
  bpf_sockopt: "bpf_sockopt_kern",
  bpf_sysctl: "bpf_sysctl_kern",
  bpf_perf_event_data: "bpf_perf_event_data_kern",
  sk_msg_md: "sk_msg",
  sk_reuseport_md: "sk_reuseport_kern",
  bpf_sk_lookup: "bpf_sk_lookup_kern",
  bpf_nf_ctx: "bpf_nf_ctx",
};

function castContext(analysis: Analysis): Check {
  const bad = analysis.read(REG.R1);
  if (bad !== undefined) return bad;
  const register = analysis.register(REG.R1);
  if (register.kind !== "ctx")
    return reject(EINVAL, `arg#0 expected pointer to ctx, but got ${kindName(register)}`);
  const moved = checkContextPointer(register, REG.R1);
  if (moved !== undefined) return moved;
  const { kernelBtf: btf, programType } = analysis.env;
  const id = btf?.find(KERNEL_CONTEXTS[programType.context?.name ?? ""] ?? "", "struct");
  if (btf === undefined || id === undefined) return reject(EINVAL, "kernel context type not found");
  analysis.clearCallerSaved();
  analysis.set(REG.R0, pointer("ptr_", { flags: FLAG.TRUSTED, btf, btfId: id }));
  return undefined;
}

function scalarArguments(analysis: Analysis, first: number, last: number): Check {
  for (let number = first; number <= last; number++) {
    const bad = analysis.read(number);
    if (bad !== undefined) return bad;
    if (!analysis.register(number).isScalar) return reject(EINVAL, `R${number} is not a scalar`);
  }
  return undefined;
}
