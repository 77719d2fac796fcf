/**
 * malloc(3) and free(3) for TypeScript programs: what a system call reads or writes must lie in the task's memory.
 *
 * Blocks below `MMAP_THRESHOLD` come from the program break in size classes (powers of two); larger ones are mappings of
 * their own. The word before a block holds its size, the first word of a free block the address of the next one: the
 * lists are in user memory, and their heads here. Blocks are 16-byte aligned. Tasks that share an address space share
 * its heap.
 */
import { ENOMEM, MAP, NR, PROT, type UAddr } from "@alien-ts/abi";
import type { Task } from "../host/task.ts";
import { SystemError, check } from "./errors.ts";

const HEADER_BYTES = 16;
const SMALLEST_SHIFT = 5;
const BREAK_STEP = 0x1_0000;
const MMAP_THRESHOLD = 0x2_0000;
const PAGE = 4096;

export class Heap {
  readonly #heads: UAddr[] = [];
  /** First byte of the break that no block has used yet, and the end of the break. */
  #next: UAddr = 0;
  #end: UAddr = 0;

  /** A block of at least `size` bytes; throws ENOMEM. Its contents are undefined. */
  async allocate(task: Task, size: number): Promise<UAddr> {
    const total = size + HEADER_BYTES;
    if (total > MMAP_THRESHOLD) return this.#map(task, total);
    const shift = Math.max(SMALLEST_SHIFT, 32 - Math.clz32(total - 1));
    const head = this.#heads[shift] ?? 0;
    if (head !== 0) {
      this.#heads[shift] = task.memory.readU64(head);
      return head;
    }
    const bytes = 2 ** shift;
    while (this.#next + bytes > this.#end) await this.#grow(task);
    const block = this.#next + HEADER_BYTES;
    this.#next += bytes;
    task.memory.writeU64(block - HEADER_BYTES, bytes);
    return block;
  }

  /** Gives a block back; address 0 is no block, as in C. */
  release(task: Task, block: UAddr): void | Promise<void> {
    if (block === 0) return;
    const size = task.memory.readU64(block - HEADER_BYTES);
    if (size > MMAP_THRESHOLD) return this.#unmap(task, block - HEADER_BYTES, size);
    const shift = 31 - Math.clz32(size);
    task.memory.writeU64(block, this.#heads[shift] ?? 0);
    this.#heads[shift] = block;
  }

  async #grow(task: Task): Promise<void> {
    if (this.#end === 0) {
      const start = await task.trap(NR.brk, 0);
      if (this.#end === 0) {
        this.#next = Math.ceil(start / 16) * 16;
        this.#end = this.#next;
      }
    }
    const wanted = this.#end + BREAK_STEP;
    const end = await task.trap(NR.brk, wanted);
    if (end < wanted) throw new SystemError("brk", ENOMEM);
    this.#end = Math.max(this.#end, end);
  }

  async #map(task: Task, total: number): Promise<UAddr> {
    const size = Math.ceil(total / PAGE) * PAGE;
    const addr = await task.trap(
      NR.mmap,
      0,
      size,
      PROT.READ | PROT.WRITE,
      MAP.PRIVATE | MAP.ANONYMOUS,
      -1,
      0,
    );
    task.memory.writeU64(check(addr, "mmap"), size);
    return addr + HEADER_BYTES;
  }

  async #unmap(task: Task, addr: UAddr, size: number): Promise<void> {
    check(await task.trap(NR.munmap, addr, size), "munmap");
  }
}

/** The heap that the tasks of `task`'s address space share. */
export function heapOf(task: Task): Heap {
  const { space } = task;
  if (space.heap instanceof Heap) return space.heap;
  const heap = new Heap();
  space.heap = heap;
  return heap;
}
