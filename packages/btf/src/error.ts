/** What a malformed BTF blob gives: a value with the kernel's message (kernel/bpf/btf.c) and the offset. Never thrown here. */

export class BtfError extends Error {
  /** Byte offset in the blob. */
  readonly offset: number;
  /** The kernel's words, e.g. "Invalid magic". */
  readonly reason: string;
  /** The type that was being checked, 0 outside the type section. */
  readonly typeId: number;

  constructor(reason: string, offset: number, typeId = 0) {
    super(
      typeId === 0
        ? `btf: ${reason} (at offset ${offset})`
        : `btf: [${typeId}] ${reason} (at offset ${offset})`,
    );
    this.name = "BtfError";
    this.offset = offset;
    this.reason = reason;
    this.typeId = typeId;
  }
}

export const isBtfError = (value: unknown): value is BtfError => value instanceof BtfError;
