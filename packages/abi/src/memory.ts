/**
 * The linear memory of one kernel, and kernel addresses.
 *
 * A kernel address is 64 bits wide, but its low word is an index into the linear memory and its high word is the same for
 * every address (`baseHi`), so code handles it as the small integer `KAddr`. Address 0 is NULL; the first 64 KiB are never
 * allocated, so that a small index is caught. The memory has a fixed size: no view of it is ever detached.
 */

/** Index into the linear memory = low word of the kernel address. 0 is NULL. */
export type KAddr = number;

/** User virtual address: a non-negative integer below 2^47. */
export type UAddr = number;

/** Bytes at the start of the linear memory that are never allocated. */
export const NULL_GUARD_BYTES = 0x1_0000;

export const PAGE_SHIFT = 12;
export const PAGE_SIZE = 4096;

/** High word of the direct map's base, per architecture (Documentation/arch/riscv/vm-layout.rst: 0xffffffd6_00000000). */
export const DIRECT_MAP_HI = { riscv64: 0xffff_ffd6, x86_64: 0xffff_8880 } as const;

/** What `WebAssembly.Memory` gives; an app passes its buffer in. */
export type MemoryBuffer = ArrayBuffer;

export class LinearMemory {
  readonly buffer: MemoryBuffer;
  readonly size: number;
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly i32: Int32Array;
  readonly u32: Uint32Array;
  readonly dv: DataView;
  /** High word of every kernel address, as an unsigned 32-bit number. */
  readonly baseHi: number;

  /** @param buffer zeroed, a multiple of 64 KiB long, at most 1 GiB. */
  constructor(buffer: MemoryBuffer, baseHi: number = DIRECT_MAP_HI.riscv64) {
    this.buffer = buffer;
    this.size = buffer.byteLength;
    this.u8 = new Uint8Array(buffer);
    this.u16 = new Uint16Array(buffer);
    this.i32 = new Int32Array(buffer);
    this.u32 = new Uint32Array(buffer);
    this.dv = new DataView(buffer);
    this.baseHi = baseHi >>> 0;
  }

  /** Bytes [addr, addr + length) as a view that stays valid as long as the memory. */
  bytes(addr: KAddr, length: number): Uint8Array {
    return this.u8.subarray(addr, addr + length);
  }

  /** The 64-bit address as guests see it. */
  toU64(addr: KAddr): bigint {
    return addr === 0 ? 0n : (BigInt(this.baseHi) << 32n) | BigInt(addr);
  }

  /** "ffffffd600123450", as kallsyms and oopses print addresses. */
  format(addr: KAddr): string {
    return addr === 0
      ? "0000000000000000"
      : this.baseHi.toString(16).padStart(8, "0") + (addr >>> 0).toString(16).padStart(8, "0");
  }
}
