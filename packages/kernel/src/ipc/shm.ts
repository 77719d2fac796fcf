/**
 * System V shared memory (Linux: ipc/shm.c; shmget(2)). A segment is memory that mappings share; it lives until it was removed
 * (IPC_RMID) and nobody has it attached.
 */
import {
  CAP,
  EACCES,
  EEXIST,
  EIDRM,
  EINVAL,
  EIO,
  ENOENT,
  ENOMEM,
  ENOSPC,
  EPERM,
  isErr,
  type KAddr,
  MAP,
  PAGE_SIZE,
  PROT,
  type Result,
  type UAddr,
} from "@alien-ts/abi";
import { capable } from "../core/cred.ts";
import type { Cx } from "../core/cx.ts";
import type { Kernel } from "../core/kernel.ts";
import type { AddressSpace } from "../mm/address-space.ts";
import type { Mappable } from "../mm/mappable.ts";
import { do_mmap, do_munmap } from "../mm/mmap.ts";

declare module "../core/kernel.ts" {
  interface Kernel {
    shm: ShmTable;
  }
}

export const IPC = { PRIVATE: 0, CREAT: 0o1000, EXCL: 0o2000, RMID: 0, SET: 1, STAT: 2, INFO: 3 } as const;
export const SHM = {
  RDONLY: 0o10000,
  RND: 0o20000,
  REMAP: 0o40000,
  EXEC: 0o100000,
  LOCK: 11,
  UNLOCK: 12,
  STAT: 13,
  INFO: 14,
} as const;
const SHM_DEST = 0o1000;
/** kernel.shmmni; kernel.shmmax is without a limit. */
const SHMMNI = 4096;
/** Ids carry a sequence number above the index, so that a stale id is noticed (ipc_id). */
const SEQUENCE_STEP = 32_768;
const READ = 4;
const WRITE = 2;

export class ShmSegment implements Mappable {
  readonly name: string;
  readonly device = 1;
  readonly inode: number;
  readonly counted = true;
  readonly isShmem = true;
  readonly kernel: Kernel;
  readonly key: number;
  readonly bytes: number;
  readonly creator: { readonly pid: number; readonly uid: number; readonly gid: number };
  uid: number;
  gid: number;
  mode: number;
  attached = 0;
  lastPid = 0;
  attachSec = 0;
  detachSec = 0;
  changeSec: number;
  /** IPC_RMID: it goes with its last mapping. */
  isRemoved = false;
  readonly #frames = new Map<number, KAddr>();

  constructor(cx: Cx, id: number, key: number, bytes: number, mode: number) {
    const { cred, tgid } = cx.task;
    this.kernel = cx.kernel;
    this.inode = id;
    this.name = `/SYSV${(key >>> 0).toString(16).padStart(8, "0")} (deleted)`;
    this.key = key;
    this.bytes = bytes;
    this.mode = mode;
    this.creator = { pid: tgid, uid: cred.euid, gid: cred.egid };
    this.uid = cred.euid;
    this.gid = cred.egid;
    this.changeSec = cx.kernel.clock.realTime().sec;
  }

  get id(): number {
    return this.inode;
  }
  get pages(): number {
    return Math.ceil(this.bytes / PAGE_SIZE);
  }

  fault(index: number): Result<KAddr> {
    if (index < 0 || index >= this.pages) return EIO;
    const { pages } = this.kernel;
    let frame = this.#frames.get(index);
    if (frame === undefined) {
      frame = pages.alloc(1, "shmem");
      if (frame === 0) return ENOMEM;
      this.#frames.set(index, frame);
    }
    pages.get(frame);
    return frame;
  }

  retain(): void {
    this.attached += 1;
  }

  release(): void {
    this.attached -= 1;
    this.detachSec = this.kernel.clock.realTime().sec;
    this.freeIfUnused();
  }

  freeIfUnused(): void {
    if (!this.isRemoved || this.attached > 0) return;
    this.kernel.shm.forget(this);
    for (const frame of this.#frames.values()) this.kernel.pages.put(frame);
    this.#frames.clear();
  }

  /** Linux: ipcperms(). EACCES. */
  permits(cx: Cx, wanted: number): Result<0> {
    const { cred } = cx.task;
    const isOwner = cred.euid === this.uid || cred.euid === this.creator.uid;
    const isGroup = cred.inGroup(this.gid) || cred.inGroup(this.creator.gid);
    const granted = this.mode >> (isOwner ? 6 : isGroup ? 3 : 0);
    return (wanted & ~granted & 7) === 0 || capable(cx, CAP.IPC_OWNER) ? 0 : EACCES;
  }

  /** st_mode of IPC_STAT. */
  get shownMode(): number {
    return this.mode | (this.isRemoved ? SHM_DEST : 0);
  }
}

export class ShmTable {
  readonly segments = new Map<number, ShmSegment>();
  #sequence = 0;

  byKey(key: number): ShmSegment | undefined {
    return [...this.segments.values()].find((segment) => segment.key === key && !segment.isRemoved);
  }

  nextId(): number | undefined {
    const used = new Set([...this.segments.keys()].map((id) => id % SEQUENCE_STEP));
    for (let index = 0; index < SHMMNI; index++)
      if (!used.has(index)) return (this.#sequence++ % (SEQUENCE_STEP * 2)) * SEQUENCE_STEP + index;
    return undefined;
  }

  forget(segment: ShmSegment): void {
    this.segments.delete(segment.id);
  }
}

export function initShm(kernel: Kernel): void {
  kernel.shm = new ShmTable();
}

/** shmget(2). ENOENT, EEXIST, EINVAL, EACCES, ENOSPC. */
export function ksys_shmget(cx: Cx, key: number, bytes: number, flags: number): Result<number> {
  const { shm } = cx.kernel;
  const known = key === IPC.PRIVATE ? undefined : shm.byKey(key);
  if (known !== undefined) {
    if ((flags & IPC.CREAT) !== 0 && (flags & IPC.EXCL) !== 0) return EEXIST;
    if (bytes > known.bytes) return EINVAL;
    const allowed = known.permits(cx, (flags >> 6) | (flags >> 3) | flags);
    return isErr(allowed) ? allowed : known.id;
  }
  if (key !== IPC.PRIVATE && (flags & IPC.CREAT) === 0) return ENOENT;
  if (bytes < 1) return EINVAL;
  if (bytes > cx.kernel.pages.totalPages * PAGE_SIZE) return ENOMEM;
  const id = shm.nextId();
  if (id === undefined) return ENOSPC;
  shm.segments.set(id, new ShmSegment(cx, id, key, bytes, flags & 0o777));
  return id;
}

/** EINVAL for an id that never was, EIDRM for a removed one that is still attached (shm_obtain_object_check). */
export function segmentOf(cx: Cx, id: number): Result<ShmSegment> {
  return cx.kernel.shm.segments.get(id) ?? EINVAL;
}

/** shmat(2): the address. EINVAL, EACCES, EIDRM, ENOMEM. */
export function do_shmat(cx: Cx, mm: AddressSpace, id: number, addr: UAddr, flags: number): Result<UAddr> {
  const segment = segmentOf(cx, id);
  if (isErr(segment)) return segment;
  const isReadOnly = (flags & SHM.RDONLY) !== 0;
  let at = addr;
  if (at % PAGE_SIZE !== 0) {
    if ((flags & SHM.RND) === 0) return EINVAL;
    at -= at % PAGE_SIZE;
    if (at === 0) return EINVAL;
  }
  if (addr === 0 && (flags & SHM.REMAP) !== 0) return EINVAL;
  const allowed = segment.permits(cx, isReadOnly ? READ : READ | WRITE);
  if (isErr(allowed)) return allowed;
  if (segment.isRemoved) return EIDRM;
  const isExec = (flags & SHM.EXEC) !== 0;
  const mapped = do_mmap(mm, {
    addr: at,
    length: segment.bytes,
    prot: PROT.READ | (isReadOnly ? 0 : PROT.WRITE) | (isExec ? PROT.EXEC : 0),
    flags: MAP.SHARED | (at === 0 ? 0 : (flags & SHM.REMAP) === 0 ? MAP.FIXED_NOREPLACE : MAP.FIXED),
    offset: 0,
    file: { readable: true, writable: !isReadOnly, appendOnly: false, noexec: false, mmap: () => segment },
  });
  if (isErr(mapped)) return mapped === EEXIST ? EINVAL : mapped;
  segment.attachSec = cx.kernel.clock.realTime().sec;
  segment.lastPid = cx.task.tgid;
  return mapped;
}

/** shmdt(2): unmaps the segment that is attached at `addr`. EINVAL. */
export function ksys_shmdt(cx: Cx, mm: AddressSpace, addr: UAddr): Result<0> {
  const first = mm.vmas.containing(addr);
  if (
    first === undefined ||
    first.start !== addr ||
    !(first.mappable instanceof ShmSegment) ||
    first.pageOffset !== 0
  )
    return EINVAL;
  const segment = first.mappable;
  segment.lastPid = cx.task.tgid;
  const end = addr + segment.pages * PAGE_SIZE;
  const parts = mm.vmas
    .overlapping(addr, end)
    .filter((vma) => vma.mappable === segment && vma.start - addr === vma.pageOffset * PAGE_SIZE)
    .map(({ start, end: stop }) => ({ start, length: stop - start }));
  for (const { start, length } of parts) do_munmap(mm, start, length);
  return 0;
}

/** IPC_RMID. EPERM unless owner, creator or CAP_SYS_ADMIN. */
export function removeSegment(cx: Cx, segment: ShmSegment): Result<0> {
  const allowed = mayControl(cx, segment);
  if (isErr(allowed)) return allowed;
  segment.isRemoved = true;
  segment.freeIfUnused();
  return 0;
}

export function mayControl(cx: Cx, segment: ShmSegment): Result<0> {
  const { euid } = cx.task.cred;
  return euid === segment.uid || euid === segment.creator.uid || capable(cx, CAP.SYS_ADMIN) ? 0 : EPERM;
}
