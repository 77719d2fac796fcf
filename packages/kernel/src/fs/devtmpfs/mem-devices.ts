/** /dev/null, zero, full, random, urandom (Linux: drivers/char/mem.c, random.c; null(4), full(4), random(4)). */
import {
  EFAULT,
  ENOIOCTLCMD,
  ENOSPC,
  type Errno,
  POLL,
  PAGE_SIZE,
  type Result,
  ssize_t,
  type UAddr,
} from "@alien-ts/abi";
import type { Cx } from "../../core/cx.ts";
import { kernelFn, sleepingFn } from "../../core/row.ts";
import type { IovIter } from "../../mm/iov-iter.ts";
import { put_user_u32 } from "../../mm/uaccess.ts";
import { condResched } from "../../sched/wait.ts";
import { type File, type FileOperations, iov_iterp } from "../../vfs/file.ts";
import { kiocbp } from "../../vfs/kiocb.ts";
import { userMm } from "../../vfs/user.ts";

const IOCB_AND_ITER = [
  ["iocb", kiocbp],
  ["iter", iov_iterp],
] as const;

/** Every position is the start (null_lseek). */
function nullSeek(_cx: Cx, file: File): Result<number> {
  file.pos = 0;
  return 0;
}

export const read_iter_null = kernelFn("read_iter_null", IOCB_AND_ITER, ssize_t, () => 0, { local: true });

export const write_iter_null = kernelFn(
  "write_iter_null",
  IOCB_AND_ITER,
  ssize_t,
  (_cx, _iocb, iter) => {
    const { count } = iter;
    iter.advance(count);
    return count;
  },
  { local: true, doc: "Swallows what is written." },
);

export const read_iter_zero = sleepingFn(
  "read_iter_zero",
  IOCB_AND_ITER,
  ssize_t,
  function* (cx, _iocb, iter) {
    let done = 0;
    while (iter.count > 0) {
      const chunk = Math.min(iter.count, PAGE_SIZE);
      const cleared = iter.iov_iter_zero(chunk);
      done += cleared;
      if (cleared < chunk) return done > 0 ? done : EFAULT;
      if (cx.task.hasPendingSignal) break;
      yield* condResched(cx);
    }
    return done;
  },
  { local: true, doc: "Reads zero bytes without end." },
);

export const write_full = kernelFn("write_full", IOCB_AND_ITER, ssize_t, (): Errno => ENOSPC, {
  local: true,
  doc: "The device is always full.",
  fidelity: { simplified: "takes a kiocb and an iterator" },
});

function fillRandom(cx: Cx, iter: IovIter): Result<number> {
  const block = new Uint8Array(256);
  let done = 0;
  while (iter.count > 0) {
    const part = block.subarray(0, Math.min(block.length, iter.count));
    cx.kernel.prng.fill(part);
    const copied = iter.copyBytesTo(part);
    done += copied;
    if (copied < part.length) return done > 0 ? done : EFAULT;
    if (done % PAGE_SIZE === 0 && cx.task.hasPendingSignal) break;
  }
  return done;
}

export const urandom_read_iter = kernelFn(
  "urandom_read_iter",
  [
    ["kiocb", kiocbp],
    ["iter", iov_iterp],
  ],
  ssize_t,
  (cx, _iocb, iter) => fillRandom(cx, iter),
  { local: true, fidelity: { simplified: "the bytes follow from the kernel's seed" } },
);

export const random_read_iter = kernelFn(
  "random_read_iter",
  [
    ["kiocb", kiocbp],
    ["iter", iov_iterp],
  ],
  ssize_t,
  (cx, _iocb, iter) => fillRandom(cx, iter),
  { local: true, fidelity: { simplified: "the bytes follow from the kernel's seed" } },
);

/** What is written is mixed in by Linux; here the seed alone decides. */
export const random_write_iter = kernelFn(
  "random_write_iter",
  IOCB_AND_ITER,
  ssize_t,
  (_cx, _iocb, iter) => {
    const { count } = iter;
    const taken = iter.take(count);
    return taken.length === 0 && count > 0 ? EFAULT : taken.length;
  },
  { local: true, fidelity: { simplified: "what is written changes nothing: runs repeat from their seed" } },
);

const RNDGETENTCNT = 0x8004_5200;
const POOL_BITS = 256;

function randomIoctl(cx: Cx, _file: File, cmd: number, arg: UAddr): Result<number> {
  return cmd === RNDGETENTCNT ? put_user_u32(userMm(cx), arg, POOL_BITS) : ENOIOCTLCMD;
}

export const null_fops: FileOperations = {
  name: "null_fops",
  llseek: nullSeek,
  read_iter: (cx, iocb, to) => read_iter_null(cx, iocb, to),
  write_iter: (cx, iocb, from) => write_iter_null(cx, iocb, from),
};

export const zero_fops: FileOperations = {
  name: "zero_fops",
  llseek: nullSeek,
  read_iter: (cx, iocb, to) => read_iter_zero(cx, iocb, to),
  write_iter: (cx, iocb, from) => write_iter_null(cx, iocb, from),
  mmap: (cx) => cx.kernel.memoryManager.sharedAnonymous(),
};

export const full_fops: FileOperations = {
  name: "full_fops",
  llseek: nullSeek,
  read_iter: (cx, iocb, to) => read_iter_zero(cx, iocb, to),
  write_iter: (cx, iocb, from) => write_full(cx, iocb, from),
};

const randomCommon: Omit<FileOperations, "name" | "read_iter"> = {
  llseek: (_cx, file, offset) => {
    file.pos = Math.max(0, offset);
    return file.pos;
  },
  write_iter: (cx, iocb, from) => random_write_iter(cx, iocb, from),
  unlocked_ioctl: randomIoctl,
};

export const random_fops: FileOperations = {
  ...randomCommon,
  name: "random_fops",
  read_iter: (cx, iocb, to) => random_read_iter(cx, iocb, to),
  poll: () => POLL.IN | POLL.RDNORM | POLL.OUT | POLL.WRNORM,
};

export const urandom_fops: FileOperations = {
  ...randomCommon,
  name: "urandom_fops",
  read_iter: (cx, iocb, to) => urandom_read_iter(cx, iocb, to),
};
