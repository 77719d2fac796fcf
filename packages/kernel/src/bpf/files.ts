/**
 * BPF maps, programs, BTF and perf events as files: the operations that make an fd of one of bpf-basic's objects.
 * Linux: kernel/bpf/syscall.c (bpf_map_fops, bpf_prog_fops), kernel/bpf/btf.c (btf_fops), kernel/events/core.c (perf_fops).
 */
import { EINVAL, ENODEV, isErr, O, PAGE_SIZE, POLL, type Result } from "@alien-ts/abi";
import { type BpfObject, BpfProgram, BtfObject, MapFile, PerfEvent } from "@alien-ts/bpf-basic";
import type { Cx } from "../core/cx.ts";
import { KernelPages, type Mappable } from "../mm/mappable.ts";
import type { MapRequest } from "../mm/mmap.ts";
import { VM } from "../mm/vma.ts";
import { WaitQueue } from "../sched/wait.ts";
import { anon_inode_getfile } from "../vfs/anon-inodes.ts";
import type { File, FileOperations } from "../vfs/file.ts";

const objectOf = (file: File): BpfObject => file.private_data as BpfObject;

/** The object that a file holds, when it is one of ours. */
export function bpfObjectOf(file: File): BpfObject | undefined {
  const held = file.private_data;
  const isOurs =
    held instanceof MapFile ||
    held instanceof BpfProgram ||
    held instanceof BtfObject ||
    held instanceof PerfEvent;
  return isOurs ? held : undefined;
}

function show_fdinfo(_cx: Cx, file: File): string {
  const held = objectOf(file);
  return held.kind === "perf" ? "" : held.fdInfo();
}

/** As many counters as any read_format has. */
const counters = new Uint8Array(64);

const release = (_cx: Cx, _inode: unknown, file: File): void => objectOf(file).release();

const map_fops: FileOperations = {
  name: "bpf_map_fops",
  release,
  mmap: mapMmap,
  poll: () => POLL.ERR,
  show_fdinfo,
};

const prog_fops: FileOperations = {
  name: "bpf_prog_fops",
  release,
  show_fdinfo,
};

const btf_fops: FileOperations = {
  name: "btf_fops",
  release,
  show_fdinfo,
};

const perf_fops: FileOperations = {
  name: "perf_fops",
  release,
  mmap: perfMmap,
  read_iter: (_cx, iocb, to) => {
    const event = objectOf(iocb.file);
    if (event.kind !== "perf") return EINVAL;
    const length = event.readCounters(counters, to.count);
    return isErr(length) ? length : to.copyBytesTo(counters.subarray(0, length));
  },
  poll: (cx, file, register) => {
    const event = objectOf(file);
    if (event.kind !== "perf") return POLL.ERR;
    register?.(cx.kernel.bpf.queueOf(event));
    return event.poll();
  },
  unlocked_ioctl: (_cx, file, cmd, arg) => {
    const event = objectOf(file);
    return event.kind === "perf" ? event.ioctl(cmd, arg) : EINVAL;
  },
};

/** A file that owns `object`'s reference. ENFILE, ENOMEM: the object stays the caller's. */
export function fileOfBpfObject(cx: Cx, object: BpfObject): Result<File> {
  switch (object.kind) {
    case "map":
      return anon_inode_getfile(cx, "bpf-map", map_fops, object, accessMode(object));
    case "program":
      return anon_inode_getfile(cx, "bpf-prog", prog_fops, object, O.RDWR);
    case "btf":
      return anon_inode_getfile(cx, "btf", btf_fops, object, O.RDONLY);
    default:
      return anon_inode_getfile(cx, "[perf_event]", perf_fops, object, O.RDWR);
  }
}

function accessMode(map: MapFile): number {
  if (!map.canRead) return O.WRONLY;
  return map.canWrite ? O.RDWR : O.RDONLY;
}

function mapMmap(_cx: Cx, file: File, request: MapRequest): Result<Mappable> {
  const held = objectOf(file);
  if (held.kind !== "map") return ENODEV;
  const isWritable = (request.flags & VM.WRITE) !== 0;
  const pages = request.length / PAGE_SIZE;
  const addr = held.mmap({
    pages,
    pageOffset: request.pageOffset,
    isShared: (request.flags & VM.SHARED) !== 0,
    isWritable,
  });
  if (isErr(addr)) return addr;
  held.map.get();
  // As bpf_map_mmap and remap_vmalloc_range leave them.
  request.flags =
    (request.flags & ~(VM.MAYEXEC | (isWritable ? 0 : VM.MAYWRITE))) | VM.DONTEXPAND | VM.DONTDUMP;
  let mappings = 0;
  return new KernelPages({
    name: "anon_inode:bpf-map",
    addr: addr - request.pageOffset * PAGE_SIZE,
    pageCount: request.pageOffset + pages,
    onRetain: () => {
      mappings += 1;
      if (mappings > 1) held.mappingChanged(isWritable, 1);
    },
    onRelease: () => {
      mappings -= 1;
      held.mappingChanged(isWritable, -1);
      if (mappings === 0) held.map.put();
    },
  });
}

function perfMmap(_cx: Cx, file: File, request: MapRequest): Result<Mappable> {
  const event = objectOf(file);
  if (event.kind !== "perf") return ENODEV;
  const pages = request.length / PAGE_SIZE;
  const base = event.map({
    pages,
    pageOffset: request.pageOffset,
    isShared: (request.flags & VM.SHARED) !== 0,
    isWritable: (request.flags & VM.WRITE) !== 0,
  });
  if (isErr(base)) return base;
  request.flags |= VM.DONTCOPY | VM.DONTEXPAND | VM.DONTDUMP;
  event.get();
  let mappings = 0;
  return new KernelPages({
    name: "anon_inode:[perf_event]",
    addr: base,
    pageCount: pages,
    onRetain: () => {
      mappings += 1;
      if (mappings > 1) event.mapAgain();
    },
    onRelease: () => {
      mappings -= 1;
      event.unmap();
      if (mappings === 0) event.put();
    },
  });
}

/** Wait queues of events, for as long as the events live. */
export class EventQueues {
  readonly #queues = new WeakMap<PerfEvent, WaitQueue>();

  queueOf(event: PerfEvent): WaitQueue {
    let queue = this.#queues.get(event);
    if (queue === undefined) {
      queue = new WaitQueue();
      this.#queues.set(event, queue);
    }
    return queue;
  }
}
