/** /sys/kernel/btf/vmlinux: the kernel's own types, which user space reads or maps. Linux: kernel/bpf/sysfs_btf.c, fs/kernfs/file.c. */
import { EACCES, EFAULT, EINVAL, PAGE_SIZE, type Result } from "@alien-ts/abi";
import type { Kernel } from "../../core/kernel.ts";
import { KernelPages, type Mappable } from "../../mm/mappable.ts";
import type { MapRequest } from "../../mm/mmap.ts";
import { VM } from "../../mm/vma.ts";
import type { FileOperations } from "../../vfs/file.ts";
import { generic_file_llseek } from "../../vfs/read-write.ts";
import { type SimpleSpecial, special } from "../simple.ts";

const kernfs_file_fops: FileOperations = {
  name: "kernfs_file_fops",
  llseek: (cx, file, offset, whence) => generic_file_llseek(file, offset, whence, cx.kernel.btf.size),
  /** A page at most per call, as of all of sysfs. */
  read_iter: ({ kernel }, iocb, to) => {
    const { pos } = iocb;
    const end = Math.min(kernel.btf.size, pos + Math.min(to.count, PAGE_SIZE));
    if (pos >= end) return 0;
    const copied = to.copyBytesTo(kernel.btf.bytes().subarray(pos, end));
    if (copied === 0) return EFAULT;
    iocb.pos = pos + copied;
    return copied;
  },
  mmap: ({ kernel }, _file, request) => mapBtf(kernel, request),
};

function mapBtf({ btf }: Kernel, request: MapRequest): Result<Mappable> {
  const pageCount = Math.ceil(btf.size / PAGE_SIZE);
  if (request.pageOffset !== 0) return EINVAL;
  if ((request.flags & (VM.WRITE | VM.EXEC | VM.MAYSHARE)) !== 0) return EACCES;
  if (request.length / PAGE_SIZE > pageCount) return EINVAL;
  btf.bytes();
  request.flags = (request.flags & ~(VM.MAYEXEC | VM.MAYWRITE)) | VM.IO | VM.DONTEXPAND | VM.DONTDUMP;
  return new KernelPages({ name: "/sys/kernel/btf/vmlinux", addr: btf.start, pageCount });
}

/** The node; its size is known before anything made the types. */
export const btfNode = ({ btf }: Kernel): SimpleSpecial =>
  special(kernfs_file_fops, { mode: 0o444, size: btf.size });
