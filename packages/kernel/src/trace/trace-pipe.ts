/**
 * trace_pipe: takes records off the trace buffer; a read sleeps until there is one. Linux: kernel/trace/trace.c
 * (tracing_open_pipe, tracing_read_pipe).
 *
 * Only one file is open at a time (EBUSY): two readers would each see half of the records. When recording is off, a reader that
 * has had something sees the end of the file; one that has had nothing still waits.
 */
import { EAGAIN, EBUSY, EFAULT, ESPIPE, isErr, POLL, ssize_t } from "@alien-ts/abi";
import type { Kernel } from "../core/kernel.ts";
import { sleepingFn } from "../core/row.ts";
import { waitEvent } from "../sched/wait.ts";
import { bytesOf } from "../vfs/dentry.ts";
import { type File, type FileOperations, iov_iterp } from "../vfs/file.ts";
import { kiocbp } from "../vfs/kiocb.ts";

declare module "../core/kernel.ts" {
  interface Kernel {
    /** The open trace_pipe. */
    tracePipe: File | undefined;
  }
}

/** What an open trace_pipe remembers. */
class PipeReader {
  /** The rest of a record that did not fit. */
  rest: Uint8Array = new Uint8Array(0);
  hasRead = false;
}

const readerOf = (file: File): PipeReader => file.private_data as PipeReader;

const hasData = (kernel: Kernel, reader: PipeReader): boolean =>
  reader.rest.length > 0 || !kernel.traceBuffer.isEmpty;

/** Whether a read has something to say: records, or the end. */
const isReady = (kernel: Kernel, reader: PipeReader): boolean =>
  hasData(kernel, reader) || (!kernel.traceBuffer.isOn && reader.hasRead);

export const tracing_pipe_fops: FileOperations = {
  name: "tracing_pipe_fops",
  open(cx, _inode, file) {
    const { kernel } = cx;
    if (kernel.tracePipe !== undefined) return EBUSY;
    kernel.tracePipe = file;
    file.private_data = new PipeReader();
    return 0;
  },
  release(cx, _inode, file) {
    if (cx.kernel.tracePipe === file) cx.kernel.tracePipe = undefined;
  },
  llseek: () => ESPIPE,
  read_iter: (cx, iocb, to) => tracing_read_pipe(cx, iocb, to),
  poll(cx, file, register) {
    register?.(cx.kernel.traceBuffer.readers);
    return isReady(cx.kernel, readerOf(file)) ? POLL.IN | POLL.RDNORM : 0;
  },
};

export const tracing_read_pipe = sleepingFn(
  "tracing_read_pipe",
  [
    ["iocb", kiocbp],
    ["to", iov_iterp],
  ],
  ssize_t,
  function* (cx, iocb, to) {
    const { kernel } = cx;
    if (to.count === 0) return 0;
    const reader = readerOf(iocb.file);
    if (!isReady(kernel, reader)) {
      if (iocb.isNonBlocking) return EAGAIN;
      const woken = yield* waitEvent(cx, kernel.traceBuffer.readers, () => isReady(kernel, reader));
      if (isErr(woken)) return woken;
    }
    if (!hasData(kernel, reader)) return 0;
    const bytes = takeWhole(kernel, reader, to.count);
    reader.hasRead = true;
    const copied = to.copyBytesTo(bytes);
    return copied < bytes.length ? EFAULT : copied;
  },
  {
    local: true,
    doc: "Takes records off the trace buffer; sleeps while there is none.",
    fidelity: { simplified: "takes a kiocb and an iterator" },
  },
);

/** As many whole records as fit in `limit` bytes; a part of one that is longer than that. */
function takeWhole({ traceBuffer }: Kernel, reader: PipeReader, limit: number): Uint8Array {
  let text = reader.rest;
  if (text.length === 0) text = bytesOf(traceBuffer.take() ?? "");
  if (text.length > limit) {
    reader.rest = text.subarray(limit);
    return text.subarray(0, limit);
  }
  reader.rest = new Uint8Array(0);
  const parts = [text];
  let total = text.length;
  for (
    let next = traceBuffer.oldest;
    next !== undefined && total + next.length <= limit;
    next = traceBuffer.oldest
  ) {
    traceBuffer.take();
    parts.push(bytesOf(next));
    total += next.length;
  }
  const all = new Uint8Array(total);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
