/** `BtfObject`: a loaded BTF blob, and what a BTF fd holds. Programs and maps whose types it has hold it too. */
import type { Btf } from "@alien-ts/btf";
import type { BpfEngine } from "../engine.ts";

export class BtfObject {
  readonly kind = "btf";
  readonly id: number;
  readonly btf: Btf;
  readonly #engine: BpfEngine;
  #references = 1;

  constructor(engine: BpfEngine, btf: Btf) {
    this.#engine = engine;
    this.id = engine.nextBtfId();
    this.btf = btf;
    engine.btfs.add(this);
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
