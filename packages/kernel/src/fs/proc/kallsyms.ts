/**
 * /proc/kallsyms: every symbol of the kernel and its modules (Linux: kernel/kallsyms.c). Whether addresses are shown is decided
 * when the file is opened. The text is made in pieces as it is read, so that a reader that stops early costs little; any
 * offset can be read again.
 */
import { CAP, EFAULT, EINVAL, SEEK } from "@alien-ts/abi";
import { formatKallsymsLine, type ModuleSymbol } from "@alien-ts/ksym";
import type { Cred } from "../../core/cred.ts";
import type { Kernel } from "../../core/kernel.ts";
import { bytesOf } from "../../vfs/dentry.ts";
import type { File, FileOperations } from "../../vfs/file.ts";
import { bytesText } from "./format.ts";
import { symbolInt } from "./sysctl.ts";

/** Lines that are made at a time: about a page of text. */
const CHUNK_LINES = 96;

/**
 * Whether a reader with `cred` sees kernel addresses. kptr_restrict 0: everybody where profiling the kernel is allowed
 * (perf_event_paranoid below 2), else CAP_SYSLOG; 1: CAP_SYSLOG; 2: nobody. Linux: kallsyms_show_value().
 */
export function kallsyms_show_value(kernel: Kernel, cred: Cred): boolean {
  const restrict = symbolInt(kernel, "kptr_restrict").get();
  if (restrict === 0 && symbolInt(kernel, "sysctl_perf_event_paranoid").get() <= 1) return true;
  return (restrict === 0 || restrict === 1) && cred.has(CAP.SYSLOG);
}

/** The text of a symbol table from some offset on. */
class KallsymsReader {
  readonly #kernel: Kernel;
  readonly #showAddress: boolean;
  #symbols: Iterator<ModuleSymbol>;
  #chunk: Uint8Array = new Uint8Array(0);
  /** Offset of the chunk's first byte. */
  #start = 0;

  constructor(kernel: Kernel, showAddress: boolean) {
    this.#kernel = kernel;
    this.#showAddress = showAddress;
    this.#symbols = kernel.text.symbols[Symbol.iterator]();
  }

  /** Bytes at `pos`, some at least; none at the end. */
  at(pos: number): Uint8Array {
    if (pos < this.#start || pos === 0) this.#restart();
    while (pos >= this.#start + this.#chunk.length) if (!this.#advance()) return new Uint8Array(0);
    return this.#chunk.subarray(pos - this.#start);
  }

  #restart(): void {
    this.#symbols = this.#kernel.text.symbols[Symbol.iterator]();
    this.#chunk = new Uint8Array(0);
    this.#start = 0;
  }

  #advance(): boolean {
    const format = { showAddress: this.#showAddress, baseHi: this.#kernel.mem.baseHi };
    let text = "";
    for (let line = 0; line < CHUNK_LINES; line++) {
      const next = this.#symbols.next();
      if (next.done === true) break;
      text += formatKallsymsLine(next.value, format);
    }
    this.#start += this.#chunk.length;
    this.#chunk = bytesOf(bytesText(text));
    return text !== "";
  }
}

export const kallsyms_operations: FileOperations = {
  name: "kallsyms_proc_ops",
  open(cx, _inode, opened: File) {
    opened.private_data = new KallsymsReader(cx.kernel, kallsyms_show_value(cx.kernel, opened.cred));
    return 0;
  },
  llseek(_cx, opened, offset, whence) {
    const base = whence === SEEK.SET ? 0 : whence === SEEK.CUR ? opened.pos : undefined;
    if (base === undefined || base + offset < 0) return EINVAL;
    opened.pos = base + offset;
    return opened.pos;
  },
  read_iter(_cx, iocb, to) {
    const reader = iocb.file.private_data;
    if (!(reader instanceof KallsymsReader)) return EINVAL;
    const start = iocb.pos;
    let done = 0;
    while (to.count > 0) {
      const bytes = reader.at(start + done);
      if (bytes.length === 0) break;
      const wanted = Math.min(bytes.length, to.count);
      const copied = to.copyBytesTo(bytes.subarray(0, wanted));
      done += copied;
      if (copied < wanted) {
        if (done === 0) return EFAULT;
        break;
      }
    }
    iocb.pos = start + done;
    return done;
  },
};
