/**
 * BPF_BTF_LOAD: from bytes to a BTF fd, or to an errno and a log. Answers to `btf_new_fd` in kernel/bpf/btf.c.
 */
import {
  bpf_attr_btf_load,
  CAP,
  E2BIG,
  EBADF,
  EFAULT,
  EINVAL,
  EPERM,
  BPF_PROG_F,
  isErr,
  type Result,
} from "@alien-ts/abi";
import { type Btf, BtfError, checkBtf, parseBtf } from "@alien-ts/btf";
import { isLogRequestValid } from "@alien-ts/bpf-verifier";
import { BtfObject } from "../btf/btf-object.ts";
import { attributesOf, type BpfCall, withMemory, writeBack } from "./call.ts";
import { copyLog } from "./log.ts";

/** BTF_MAX_SIZE */
const MAX_BYTES = 16 << 20;

export function btfLoad(call: BpfCall): Result<number> {
  const { engine } = call;
  const { ports } = engine;
  const a = attributesOf(call, bpf_attr_btf_load);
  if ((a.btf_flags & ~BPF_PROG_F.TOKEN_FD) !== 0) return EINVAL;
  // There are no tokens.
  if ((a.btf_flags & BPF_PROG_F.TOKEN_FD) !== 0) return EBADF;
  if (!ports.capable(CAP.BPF) && !ports.capable(CAP.SYS_ADMIN)) return EPERM;
  if (a.btf_size > MAX_BYTES) return E2BIG;
  const request = { buffer: a.btf_log_buf, sizeBytes: a.btf_log_size, level: a.btf_log_level };
  if (!isLogRequestValid(request.level, request.buffer !== 0, request.sizeBytes)) return EINVAL;
  const bytes = copyBytes(call, a.btf, a.btf_size);
  if (isErr(bytes)) return bytes;
  const { errno, log } = checkBtf(bytes, request.level !== 0);
  const { trueSize, result } = copyLog(call, request, log);
  a.btf_log_true_size = trueSize;
  const at = ports.layout.offset(bpf_attr_btf_load, "btf_log_true_size");
  if (call.userSize >= at + 4 && isErr(writeBack(call, at, 4))) return EFAULT;
  if (isErr(result)) return result;
  if (errno !== undefined) return errno;
  const parsed = parseBtf(bytes);
  return parsed instanceof BtfError ? EINVAL : install(call, parsed);
}

function copyBytes({ engine: { ports, m } }: BpfCall, from: number, sizeBytes: number): Result<Uint8Array> {
  return withMemory<Uint8Array>(ports, sizeBytes, (scratch) =>
    ports.copyFromUser(scratch, from, sizeBytes) ? m.bytes(scratch, sizeBytes).slice() : EFAULT,
  );
}

function install({ engine }: BpfCall, btf: Btf): Result<number> {
  const object = new BtfObject(engine, btf);
  const fd = engine.ports.installFd(object, true);
  if (isErr(fd)) object.put();
  return fd;
}
