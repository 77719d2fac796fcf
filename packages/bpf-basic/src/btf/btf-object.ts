/**
 * `BtfObject`: a loaded BTF blob, and what a BTF fd holds. Programs and maps whose types it has hold it too. The first of an engine
 * is the kernel's own, which is parsed when something first asks for its types and lives as long as the kernel.
 */
import type { Btf } from "@alien-ts/btf";
import type { BpfEngine } from "../engine.ts";

export class BtfObject {
  readonly kind = "btf";
  readonly id: number;
  /** "vmlinux"; objects of users have no name. */
  readonly name: string;
  /** Whether the types are the kernel's own. */
  readonly isKernel: boolean;
  readonly #engine: BpfEngine;
  readonly #btf: () => Btf;
  #references = 1;

  constructor(engine: BpfEngine, btf: Btf | (() => Btf), kernelName?: string) {
    this.#engine = engine;
    this.id = engine.nextBtfId();
    this.#btf = typeof btf === "function" ? btf : () => btf;
    this.name = kernelName ?? "";
    this.isKernel = kernelName !== undefined;
    engine.btfs.add(this);
  }

  get btf(): Btf {
    return this.#btf();
  }

  get(): void {
    this.#references += 1;
  }
  put(): void {
    this.#references -= 1;
    if (this.#references === 0) this.#engine.btfs.delete(this);
  }
  /** `bpf_btf_show_fdinfo` */
  fdInfo(): string {
    return `btf_id:\t${this.id}\n`;
  }
  /** The file was closed. */
  release(): void {
    this.put();
  }
}
