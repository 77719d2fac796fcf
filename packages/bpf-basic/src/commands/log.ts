/** The log that a loader asked for: whether it may be, and copying it out. Linux: bpf_vlog_init(), bpf_vlog_finalize(). */
import { EFAULT, ENOSPC, type Result, type UAddr } from "@alien-ts/abi";
import { fitLog, type LogExtent } from "@alien-ts/bpf-verifier";
import { type BpfCall, withMemory } from "./call.ts";

export interface LogRequest {
  readonly buffer: UAddr;
  readonly sizeBytes: number;
  readonly level: number;
}

/** Copies the log out; what `log_true_size` becomes, and whether something failed: ENOSPC for a log that was cut, EFAULT. */
export function copyLog(
  { engine: { ports, m } }: BpfCall,
  { buffer, sizeBytes, level }: LogRequest,
  log: string,
  extent?: LogExtent,
): { readonly trueSize: number; readonly result: Result<0> } {
  const { bytes, trueSize, isTruncated } = fitLog(log, sizeBytes, level, extent);
  if (bytes.length === 0) return { trueSize, result: 0 };
  const copied = withMemory<0>(ports, bytes.length, (scratch) => {
    m.u8.set(bytes, scratch);
    return ports.copyToUser(buffer, scratch, bytes.length) ? 0 : EFAULT;
  });
  return { trueSize, result: copied === 0 && isTruncated ? ENOSPC : copied };
}
