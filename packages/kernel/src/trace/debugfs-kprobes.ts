/**
 * /sys/kernel/debug/kprobes: the planted probes, the switch for all of them, and what refuses probes (Linux: kernel/kprobes.c).
 * Needs kernel.kprobes and kernel.debugfs.
 */
import { EINVAL, type KAddr, type Result } from "@alien-ts/abi";
import { disable_kprobe, enable_kprobe, formatKprobe, type Kprobe } from "@alien-ts/kprobe";
import type { Kernel } from "../core/kernel.ts";
import { debugfsFile } from "../fs/debugfs/debugfs.ts";
import { kallsyms_show_value } from "../fs/proc/kallsyms.ts";
import { file } from "../fs/simple.ts";
import type { File } from "../vfs/file.ts";

const HIDDEN = "0".repeat(16);

export function initDebugfsKprobes(kernel: Kernel): void {
  const switches = new KprobeSwitch(kernel);
  debugfsFile(
    kernel,
    "kprobes/list",
    file((_cx, opened) => showList(kernel, opened), { mode: 0o400 }),
  );
  debugfsFile(
    kernel,
    "kprobes/enabled",
    file(() => (switches.isOn ? "1\n" : "0\n"), { mode: 0o600, write: (_cx, text) => switches.write(text) }),
  );
  debugfsFile(
    kernel,
    "kprobes/blacklist",
    file((_cx, opened) => showBlacklist(kernel, opened), { mode: 0o400 }),
  );
}

/** Prints an address as the one who opened the file may see it. */
const addressFor = (kernel: Kernel, opened: File): ((addr: KAddr) => string) =>
  kallsyms_show_value(kernel, opened.cred) ? (addr) => kernel.mem.format(addr) : () => HIDDEN;

function showList(kernel: Kernel, opened: File): string {
  const address = addressFor(kernel, opened);
  return [...kernel.kprobes.kprobes()].map((entry) => formatKprobe(entry, address(entry.addr))).join("");
}

/** Functions in kernel text that cannot be probed: rows that say so, and what is written in assembly. */
function showBlacklist(kernel: Kernel, opened: File): string {
  const address = addressFor(kernel, opened);
  const { text } = kernel;
  let lines = "";
  let last = -1;
  for (const symbol of text.symbols) {
    if (symbol.address === last || !text.isKernelText(symbol.address)) continue;
    last = symbol.address;
    const row = text.rowAt(symbol.address);
    if (row !== undefined && row.options.noprobe !== true) continue;
    const size = text.lookup(symbol.address)?.size ?? 0;
    if (size > 0) lines += `0x${address(last)}-0x${address(last + size)}\t${symbol.name}\n`;
  }
  return lines;
}

/**
 * The switch `enabled`: off takes every breakpoint out of the text, on puts back those that it took.
 *
 * Differs from Linux: a probe that the switch took out is listed as [DISABLED], and one that is planted meanwhile is armed.
 */
class KprobeSwitch {
  readonly #kernel: Kernel;
  /** What switching off disabled; undefined while it is on. */
  #taken: Kprobe[] | undefined;

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  get isOn(): boolean {
    return this.#taken === undefined;
  }

  /** "1", "y", "on" and "0", "n", "off", by their first letters (kstrtobool). */
  write(text: string): Result<0> {
    const isOn = parseBool(text);
    if (isOn === undefined) return EINVAL;
    if (isOn) this.#armAll();
    else this.#disarmAll();
    return 0;
  }

  #disarmAll(): void {
    if (this.#taken !== undefined) return;
    const { kprobes } = this.#kernel;
    this.#taken = [...kprobes.kprobes()]
      .map(({ probe }) => probe)
      .filter((probe) => probe.isEnabled && !probe.isGone);
    for (const probe of this.#taken) disable_kprobe(kprobes, probe);
    this.#kernel.log.info("Kprobes globally disabled");
  }

  #armAll(): void {
    const taken = this.#taken;
    if (taken === undefined) return;
    this.#taken = undefined;
    for (const probe of taken)
      if (probe.isRegistered && !probe.isGone) enable_kprobe(this.#kernel.kprobes, probe);
    this.#kernel.log.info("Kprobes globally enabled");
  }
}

/** Linux: kstrtobool(). */
function parseBool(text: string): boolean | undefined {
  if (/^([yYtT1]|[oO][nN])/.test(text)) return true;
  return /^([nNfF0]|[oO][fF])/.test(text) ? false : undefined;
}
