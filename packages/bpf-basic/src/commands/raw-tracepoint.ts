/**
 * BPF_RAW_TRACEPOINT_OPEN: what a loaded tracing program is attached with. Answers to `bpf_raw_tracepoint_open` in
 * kernel/bpf/syscall.c; as on a machine whose architecture has no trampolines, attaching is ENOTSUPP.
 */
import {
  BPF_PROG_TYPE,
  bpf_attr_raw_tracepoint,
  EBADF,
  EINVAL,
  ENOTSUPP,
  isErr,
  type Result,
} from "@alien-ts/abi";
import { attributesOf, type BpfCall } from "./call.ts";

export function rawTracepointOpen(call: BpfCall): Result<number> {
  const { engine } = call;
  const { name, prog_fd } = attributesOf(call, bpf_attr_raw_tracepoint);
  const program = engine.ports.objectOf(prog_fd | 0);
  if (isErr(program)) return EBADF;
  if (program?.kind !== "program" || program.type !== BPF_PROG_TYPE.TRACING) return EINVAL;
  // Where it goes was said when it was loaded.
  if (name !== 0) return EINVAL;
  const { id, object } = program.attach;
  const target = object?.btf.type(id)?.name ?? "nothing";
  engine.ports.printk(
    `bpf: program ${program.name || program.id} cannot be attached to ${target}: no trampolines`,
  );
  return ENOTSUPP;
}
