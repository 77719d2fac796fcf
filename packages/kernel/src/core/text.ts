/**
 * The kernel's text at run time: the linked image in linear memory, who owns which bytes of it, and how it may be written.
 *
 * `write` is the only way to change text. It keeps `armed` (a row is armed when some byte of its text differs from the linked
 * image, whoever wrote it), and tells the CPU to forget what it decoded. Executable pages outside the image (probe slots,
 * modules) are registered here. `exception` hands breakpoint and step traps to whoever registered for them; a trap that
 * nobody owns stops the kernel.
 */
import { type KAddr, type LinearMemory, PAGE_SIZE } from "@alien-ts/abi";
import { Kallsyms, type LinkedImage, type ModuleSymbolHit, SymbolTable } from "@alien-ts/ksym";
import type { Arch, TextCpu } from "../arch/arch.ts";
import type { Cx } from "./cx.ts";
import type { KernelImage, RowPlacement } from "./image.ts";
import { assert, KernelBug } from "./kernel.ts";
import { type FunctionRow, rowCount } from "./row.ts";

/** What a handler of text traps answers: the trap was its own; `hostCall` asks for a row's body. */
export interface TrapHandled {
  readonly hostCall: number | undefined;
}

export type TextTrapHandler = (cx: Cx, context: KAddr, cause: "break" | "debug") => TrapHandled | undefined;

export class KernelText {
  readonly arch: Arch;
  readonly cpu: TextCpu;
  readonly image: LinkedImage;
  /** The compressed kallsyms table that is linked into the image. */
  readonly table: Uint8Array;
  /** Names of everything in the image and in modules. */
  readonly symbols: SymbolTable;
  /** Shared by all contexts: see Cx.armed. */
  readonly armed: Uint8Array = new Uint8Array(rowCount());
  /** Runs for every breakpoint and step trap in text. */
  onTrap: TextTrapHandler | undefined;
  /** Whether a fault of text was caused by a probe and has been put right. */
  onFault: ((cx: Cx, context: KAddr) => boolean) | undefined;
  readonly #mem: LinearMemory;
  readonly #rows: readonly RowPlacement[];
  readonly #placementOfSlot: (RowPlacement | undefined)[] = [];
  readonly #addressOfSlot: Int32Array = new Int32Array(rowCount());
  readonly #returnOfSlot: Int32Array = new Int32Array(rowCount());
  /** Rows by address, for finding who owns a byte. */
  readonly #starts: readonly { readonly start: KAddr; readonly end: KAddr; readonly row: FunctionRow }[];
  readonly #start: KAddr;
  readonly #end: KAddr;
  readonly #trapReturn: KAddr;
  readonly #executablePages = new Set<number>();

  constructor(mem: LinearMemory, arch: Arch, linked: KernelImage) {
    this.#mem = mem;
    this.arch = arch;
    this.image = linked.image;
    this.table = linked.table;
    this.symbols = new SymbolTable(new Kallsyms(linked.table));
    this.#rows = linked.rows;
    const text = linked.image.section(".text");
    this.#start = text.address;
    this.#end = text.address + text.size;
    this.#trapReturn = linked.image.addressOf("ret_from_exception");
    mem.u8.set(linked.image.bytes, linked.image.base);
    this.#starts = linked.rows
      .map((placement) => {
        const start = linked.image.addressOf(placement.symbol);
        this.#placementOfSlot[placement.row.slot] = placement;
        this.#addressOfSlot[placement.row.slot] = start;
        this.#returnOfSlot[placement.row.slot] = start + placement.returnOffset;
        return {
          start,
          end: start + arch.rowText(placement.index, placement.symbol).bytes.length,
          row: placement.row,
        };
      })
      .sort((a, b) => a.start - b.start);
    this.cpu = arch.createTextCpu(mem, (addr, length) => this.isExecutable(addr, length));
  }

  /** Address of a row's first instruction. */
  addressOf(slot: number): KAddr {
    const addr = this.#addressOfSlot[slot] ?? 0;
    assert(addr !== 0, "a row that is not linked was called through its text: list its file in text.ts");
    return addr;
  }

  /** The row's symbol, as kallsyms has it. */
  symbolOf(slot: number): string {
    return this.#placementOfSlot[slot]?.symbol ?? `<slot ${slot}>`;
  }

  /** Where a call made by the row in `slot` returns to; by the trap entry when undefined. */
  returnAddress(slot: number | undefined): KAddr {
    const addr = slot === undefined ? this.#trapReturn : this.#returnOfSlot[slot];
    return addr === undefined || addr === 0 ? this.#trapReturn : addr;
  }

  rowOfHostCall(index: number): FunctionRow {
    const placement = this.#rows[index];
    if (placement === undefined)
      throw new KernelBug(`host call ${index}: the image has ${this.#rows.length} rows`);
    return placement.row;
  }

  get rows(): readonly RowPlacement[] {
    return this.#rows;
  }

  /** The row whose text contains `addr`. */
  rowAt(addr: KAddr): FunctionRow | undefined {
    let low = 0;
    let high = this.#starts.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#starts[middle]!.end <= addr) low = middle + 1;
      else high = middle;
    }
    const found = this.#starts[low];
    return found !== undefined && addr >= found.start ? found.row : undefined;
  }

  lookup(addr: KAddr): ModuleSymbolHit | undefined {
    return this.symbols.lookupAddress(addr);
  }

  /** "vfs_read+0x8/0x1c", as %pS prints. */
  describe(addr: KAddr): string {
    const hit = this.lookup(addr);
    if (hit === undefined) return `0x${this.#mem.format(addr)}`;
    const module = hit.module === undefined ? "" : ` [${hit.module}]`;
    return `${hit.name}+0x${hit.offset.toString(16)}/0x${hit.size.toString(16)}${module}`;
  }

  /** Linux: core_kernel_text(). */
  isKernelText(addr: KAddr): boolean {
    return addr >= this.#start && addr < this.#end;
  }

  isExecutable(addr: KAddr, length: number): boolean {
    if (addr >= this.#start && addr + length <= this.#end) return true;
    return (
      this.#executablePages.has(Math.floor(addr / PAGE_SIZE)) &&
      this.#executablePages.has(Math.floor((addr + length - 1) / PAGE_SIZE))
    );
  }

  /** Makes a page outside the image executable (set_memory_x), or not any more. */
  setExecutable(page: KAddr, isOn: boolean): void {
    if (isOn) this.#executablePages.add(page / PAGE_SIZE);
    else this.#executablePages.delete(page / PAGE_SIZE);
    this.cpu.invalidate(page, PAGE_SIZE);
  }

  /** Writes text through `change`, and brings `armed` and the instruction cache up to date. */
  write(addr: KAddr, length: number, change: (bytes: Uint8Array) => void): void {
    assert(this.isExecutable(addr, length), `text write outside text: ${this.#mem.format(addr)}`);
    change(this.#mem.bytes(addr, length));
    this.cpu.invalidate(addr, length);
    const first = this.rowAt(addr);
    if (first !== undefined) this.#updateArmed(first);
    const last = this.rowAt(addr + length - 1);
    if (last !== undefined && last !== first) this.#updateArmed(last);
  }

  #updateArmed(row: FunctionRow): void {
    const start = this.addressOf(row.slot);
    const { end } = this.#starts.find((entry) => entry.row === row)!;
    const { base, bytes } = this.image;
    let differs = 0;
    for (let at = start; at < end; at++) if (this.#mem.u8[at] !== bytes[at - base]) differs = 1;
    this.armed[row.slot] = differs;
  }

  /** A trap in text. The answer is the index of a host call to run, or undefined: the text goes on at the frame's pc. */
  exception(cx: Cx, context: KAddr, cause: "break" | "debug"): number | undefined {
    const pc = this.#mem.dv.getUint32(context + this.arch.roles.pc, true);
    cx.kernel.observer.textTrap(cx, pc, cause);
    const handled = this.onTrap?.(cx, context, cause);
    if (handled === undefined)
      throw new KernelBug(`kernel BUG: unexpected ${cause} trap at ${this.describe(pc)}`);
    return handled.hostCall;
  }
}
