/**
 * Pages that the kernel writes while we read: a perf ring or a BPF ring buffer, mapped into this task.
 *
 * Where the pages are contiguous, reads go through one view of them; else each is copied.
 */
import { MAP, NR, PROT } from "@alien-ts/abi";
import type { UAddr } from "@alien-ts/abi";
import type { Sys } from "../sys/sys.ts";

const TWO_32 = 0x1_0000_0000;

export interface Mapping {
  readonly fd: number;
  readonly sizeBytes: number;
  /** Offset in the file. */
  readonly offset: number;
  readonly writable: boolean;
}

export class SharedPages {
  readonly #sys: Sys;
  readonly #base: UAddr;
  readonly #sizeBytes: number;
  readonly #view: DataView | undefined;

  private constructor(sys: Sys, base: UAddr, sizeBytes: number) {
    this.#sys = sys;
    this.#base = base;
    this.#sizeBytes = sizeBytes;
    this.#view = sys.memory.view(base, sizeBytes);
  }

  /** The pages, or a negated errno. */
  static async map(sys: Sys, mapping: Mapping): Promise<SharedPages | number> {
    const protection = mapping.writable ? PROT.READ | PROT.WRITE : PROT.READ;
    const base = await sys.trap(
      NR.mmap,
      0,
      mapping.sizeBytes,
      protection,
      MAP.SHARED,
      mapping.fd,
      mapping.offset,
    );
    return base < 0 && base > -4096 ? base : new SharedPages(sys, base, mapping.sizeBytes);
  }

  async unmap(): Promise<void> {
    await this.#sys.trap(NR.munmap, this.#base, this.#sizeBytes);
  }

  u16(at: number): number {
    return this.#view === undefined ? this.u32(at) & 0xffff : this.#view.getUint16(at, true);
  }

  u32(at: number): number {
    return this.#view === undefined
      ? this.#sys.memory.readU32(this.#base + at)
      : this.#view.getUint32(at, true);
  }

  u64(at: number): number {
    return this.u32(at + 4) * TWO_32 + this.u32(at);
  }

  writeU64(at: number, value: number): void {
    this.#sys.memory.writeU64(this.#base + at, value);
  }

  copy(at: number, length: number): Uint8Array {
    return this.#view === undefined
      ? this.#sys.memory.read(this.#base + at, length)
      : new Uint8Array(this.#view.buffer, this.#view.byteOffset + at, length).slice();
  }
}
