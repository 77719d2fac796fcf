/**
 * A task's memory as its own TypeScript program sees it: `UserMemory` of the trap gate over an address space.
 *
 * Faults are resolved at once. One that cannot be is told to `onFault`, which delivers the signal; then
 * `UserFault` unwinds the program, unless memory was freed for another try. A write that crosses into a bad page writes what comes before, as a CPU would.
 */
import { PAGE_SIZE, type UAddr, UserFault, type UserMemory } from "@alien-ts/abi";
import type { AddressSpace } from "./address-space.ts";
import { ACCESS } from "./fault.ts";
import { pageAlign } from "./mmap.ts";

/** Told of a fault: the address and a negative `FAULT` code. Returns whether to try again; else `UserFault` is thrown. */
export type FaultListener = (addr: UAddr, code: number) => boolean;

const TWO_32 = 0x1_0000_0000;

export class TaskMemory implements UserMemory {
  /** Replaced by exec. */
  mm: AddressSpace;
  readonly #onFault: FaultListener;

  constructor(mm: AddressSpace, onFault: FaultListener) {
    this.mm = mm;
    this.#onFault = onFault;
  }

  read(addr: UAddr, length: number): Uint8Array {
    const { u8 } = this.mm.manager.pages.memory;
    const parts: Uint8Array[] = [];
    for (let done = 0; done < length;) {
      const at = this.#translate(addr + done, ACCESS.READ);
      const chunk = Math.min(PAGE_SIZE - (at & (PAGE_SIZE - 1)), length - done);
      parts.push(u8.subarray(at, at + chunk));
      done += chunk;
    }
    return join(parts, length);
  }

  write(addr: UAddr, bytes: Uint8Array): void {
    const { u8 } = this.mm.manager.pages.memory;
    for (let done = 0; done < bytes.length;) {
      const at = this.#translate(addr + done, ACCESS.WRITE);
      const chunk = Math.min(PAGE_SIZE - (at & (PAGE_SIZE - 1)), bytes.length - done);
      u8.set(chunk === bytes.length ? bytes : bytes.subarray(done, done + chunk), at);
      done += chunk;
    }
  }

  readU8(addr: UAddr): number {
    return this.mm.manager.pages.memory.u8[this.#translate(addr, ACCESS.READ)]!;
  }

  readU32(addr: UAddr): number {
    const at = this.#translate(addr, ACCESS.READ);
    if ((at & (PAGE_SIZE - 1)) <= PAGE_SIZE - 4) return this.mm.manager.pages.memory.dv.getUint32(at, true);
    let word = 0;
    for (let i = 0; i < 4; i++) word += this.readU8(addr + i) * 2 ** (8 * i);
    return word;
  }

  writeU32(addr: UAddr, value: number): void {
    const at = this.#translate(addr, ACCESS.WRITE);
    const { dv, u8 } = this.mm.manager.pages.memory;
    if ((at & (PAGE_SIZE - 1)) <= PAGE_SIZE - 4) dv.setUint32(at, value, true);
    else for (let i = 0; i < 4; i++) u8[this.#translate(addr + i, ACCESS.WRITE)] = value >> (8 * i);
  }

  readU64(addr: UAddr): number {
    return this.readU32(addr) + this.readU32(addr + 4) * TWO_32;
  }

  writeU64(addr: UAddr, value: number): void {
    this.writeU32(addr, value % TWO_32);
    this.writeU32(addr + 4, Math.floor(value / TWO_32));
  }

  readCString(addr: UAddr): Uint8Array {
    const { u8 } = this.mm.manager.pages.memory;
    const parts: Uint8Array[] = [];
    let length = 0;
    for (;;) {
      const at = this.#translate(addr + length, ACCESS.READ);
      const end = pageAlign(at + 1);
      const nul = u8.subarray(at, end).indexOf(0);
      const size = nul < 0 ? end - at : nul;
      parts.push(u8.subarray(at, at + size));
      length += size;
      if (nul >= 0) return join(parts, length);
    }
  }

  /** Writable pages are faulted in for writing, so that the view is the pages that stores go to. */
  view(addr: UAddr, length: number): DataView | undefined {
    if (length <= 0) return undefined;
    const base = this.#translate(addr, this.#viewAccess(addr));
    for (let at = Math.floor(addr / PAGE_SIZE) * PAGE_SIZE + PAGE_SIZE; at < addr + length; at += PAGE_SIZE)
      if (this.#translate(at, this.#viewAccess(at)) !== base + (at - addr)) return undefined;
    return new DataView(this.mm.manager.pages.memory.buffer, base, length);
  }

  #viewAccess(addr: UAddr): number {
    const vma = this.mm.vmas.containing(addr);
    return vma !== undefined && vma.permissions[1] === "w" ? ACCESS.WRITE : ACCESS.READ;
  }

  #translate(addr: UAddr, access: number): number {
    for (;;) {
      const at = this.mm.translate(addr, access);
      if (at >= 0) return at;
      if (!this.#onFault(addr, at)) throw new UserFault(addr);
    }
  }
}

function join(parts: readonly Uint8Array[], length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
