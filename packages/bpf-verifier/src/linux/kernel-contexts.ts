/** The structures of contexts: as programs name them and as the kernel does. Linux: bpf_ctx_convert in kernel/bpf/btf.c. */
import { EINVAL } from "@alien-ts/abi";
import type { Btf, BtfType } from "@alien-ts/btf";
import type { ProgramEnv } from "../env.ts";
import { reject } from "../verdict.ts";
import type { Check } from "../verdict.ts";

/** By name of the program type; [what programs see, the kernel's]. Types without structures are missing. */
const CONTEXTS: Record<string, readonly [string, string]> = {
  socket_filter: ["__sk_buff", "sk_buff"],
  sched_cls: ["__sk_buff", "sk_buff"],
  sched_act: ["__sk_buff", "sk_buff"],
  xdp: ["xdp_md", "xdp_buff"],
  cgroup_skb: ["__sk_buff", "sk_buff"],
  cgroup_sock: ["bpf_sock", "sock"],
  cgroup_sock_addr: ["bpf_sock_addr", "bpf_sock_addr_kern"],
  lwt_in: ["__sk_buff", "sk_buff"],
  lwt_out: ["__sk_buff", "sk_buff"],
  lwt_xmit: ["__sk_buff", "sk_buff"],
  lwt_seg6local: ["__sk_buff", "sk_buff"],
  sock_ops: ["bpf_sock_ops", "bpf_sock_ops_kern"],
  sk_skb: ["__sk_buff", "sk_buff"],
  sk_msg: ["sk_msg_md", "sk_msg"],
  flow_dissector: ["__sk_buff", "bpf_flow_dissector"],
  kprobe: ["pt_regs", "pt_regs"],
  perf_event: ["bpf_perf_event_data", "bpf_perf_event_data_kern"],
  raw_tracepoint: ["bpf_raw_tracepoint_args", ""],
  raw_tracepoint_writable: ["bpf_raw_tracepoint_args", ""],
  cgroup_device: ["bpf_cgroup_dev_ctx", "bpf_cgroup_dev_ctx"],
  cgroup_sysctl: ["bpf_sysctl", "bpf_sysctl_kern"],
  cgroup_sockopt: ["bpf_sockopt", "bpf_sockopt_kern"],
  sk_reuseport: ["sk_reuseport_md", "sk_reuseport_kern"],
  sk_lookup: ["bpf_sk_lookup", "bpf_sk_lookup_kern"],
  netfilter: ["bpf_nf_ctx", "bpf_nf_ctx"],
};

const PROJECTIONS: Record<string, string> = { __sk_buff: "sk_buff", xdp_md: "xdp_buff" };

/** Whether programs see `view` of a structure that the kernel calls `structure`. Linux: btf_is_projection_of() */
export const isProjection = (view: string, structure: string): boolean => PROJECTIONS[view] === structure;

/** Name of the context's structure as programs see it; undefined where it has none. */
export const contextName = (env: ProgramEnv): string | undefined => CONTEXTS[env.programType.name]?.[0];

/** Whether the type that a pointer points to is the program's context. Linux: btf_is_prog_ctx_type() */
export function isContextType(env: ProgramEnv, btf: Btf, target: number): boolean {
  const context = contextName(env);
  if (context === undefined) return false;
  let type = btf.type(target);
  while (type !== undefined && isModifier(type)) {
    if (type.kind === "typedef" && type.name === "bpf_user_pt_regs_t" && env.programType.name === "kprobe")
      return true;
    type = btf.type(type.type);
  }
  if (type?.kind !== "struct" && type?.kind !== "union") return false;
  // A structure by the name of the typedef is an old way around its being a typedef.
  if (type.name === "bpf_user_pt_regs_t" && env.programType.name === "kprobe") return true;
  return type.name === context || isProjection(context, type.name);
}

/** Id of the kernel's structure behind the context, or of what is there instead. Linux: get_kern_ctx_btf_id() */
export function kernelContext(env: ProgramEnv): { readonly id: number; readonly isStruct: boolean } {
  const btf = env.kernelBtf;
  const { name } = env.programType;
  const convert = btf?.find("bpf_ctx_convert", "struct");
  const wanted = `BPF_PROG_TYPE_${name.toUpperCase()}_kern`;
  const member = btf?.members(convert ?? 0)?.find((entry) => entry.name === wanted);
  const id = member?.type ?? btf?.find(CONTEXTS[name]?.[1] ?? "", "struct") ?? 0;
  return { id, isStruct: btf?.type(id)?.kind === "struct" };
}

/** Program types whose contexts may be anything, or arrays of 64-bit arguments. */
const ANYTHING: readonly string[] = ["tracepoint", "syscall", "ext"];
const ARRAYS: readonly string[] = ["raw_tracepoint", "raw_tracepoint_writable", "lsm", "struct_ops"];
/** Attach types of tracing programs: tp_btf, fentry, fexit, fmod_ret; iterators. */
const ARRAY_ATTACH: readonly number[] = [23, 24, 25, 26];
const RAW_TRACEPOINT = 23;
const ITERATOR = 28;

/** Whether a type may be said to be the program's context. Linux: btf_validate_prog_ctx_type() */
export function checkKernelContext(env: ProgramEnv, btf: Btf, target: number, index: number): Check {
  const { name, attachType } = env.programType;
  let type = btf.type(target);
  while (type !== undefined && isModifier(type)) {
    const isRegisters = type.kind === "typedef" && type.name === "bpf_user_pt_regs_t";
    if (isRegisters && (name === "kprobe" || name === "perf_event")) return undefined;
    type = btf.type(type.type);
  }
  if (type === undefined || type.kind === "void") return undefined;
  if (type.name === "") return reject(EINVAL, `arg#${index} type doesn't have a name`);
  if (ANYTHING.includes(name)) return undefined;
  const isStruct = type.kind === "struct" || type.kind === "union";
  const isArray = type.kind === "int" && type.size === 8;
  if (isStruct && type.name === "pt_regs" && (name === "kprobe" || name === "perf_event")) return undefined;
  if (isArray && ARRAYS.includes(name)) return undefined;
  if (name === "tracing") {
    if (isArray && ARRAY_ATTACH.includes(attachType)) return undefined;
    if (isStruct && attachType === RAW_TRACEPOINT && type.name === "bpf_raw_tracepoint_args")
      return undefined;
    if (isStruct && attachType === ITERATOR && type.name.startsWith("bpf_iter__")) return undefined;
  }
  const context = contextName(env);
  if (context === undefined) return reject(EINVAL, `arg#${index} should be void pointer`);
  return isStruct && type.name === context
    ? undefined
    : reject(EINVAL, `arg#${index} should be \`struct ${context} *\``);
}

const isModifier = (type: BtfType): type is BtfType & { readonly type: number } =>
  ["const", "volatile", "restrict", "typedef", "type_tag"].includes(type.kind);
