/** The text of `/proc/kallsyms` and of System.map: one line per symbol. */
import type { KernelSymbol } from "./symbol.ts";

export interface KallsymsLine extends KernelSymbol {
  /** Module that the symbol belongs to; undefined for the kernel itself. */
  readonly module?: string | undefined;
}

export interface KallsymsFormat {
  /** Whether the reader may see addresses (kptr_restrict and its privilege decide); zeros otherwise. */
  readonly showAddress: boolean;
  /** High word of the addresses. */
  readonly baseHi: number;
}

/**
 * One line of `/proc/kallsyms`: `ffffffd600200000 T vfs_read\n`, with `\t[module]` for a module's symbol.
 *
 * Linux: kernel/kallsyms.c, s_show().
 */
export function formatKallsymsLine(line: KallsymsLine, format: KallsymsFormat): string {
  const address = format.showAddress ? formatAddress(line.address, format.baseHi) : "0000000000000000";
  const module = line.module === undefined ? "" : `\t[${line.module}]`;
  return `${address} ${line.type} ${line.name}${module}\n`;
}

/** What `nm -n` prints: the System.map of `symbols`, which are in order. */
export function formatSystemMap(symbols: Iterable<KernelSymbol>, baseHi: number): string {
  let text = "";
  for (const { address, type, name } of symbols)
    text += `${formatAddress(address, baseHi)} ${type} ${name}\n`;
  return text;
}

/** 16 hexadecimal digits. */
export const formatAddress = (low: number, high: number): string => hexWord(high) + hexWord(low);

const hexWord = (word: number): string => (word >>> 0).toString(16).padStart(8, "0");
