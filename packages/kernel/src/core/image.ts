/**
 * What the kernel image is made of, as the linker wants it: rows become text, in the order (listed file, symbol name), never
 * in the order of creation, so that bundles, minifiers and tests from source agree; then read-only data with the kallsyms
 * table, data, bss and the per-CPU template.
 *
 * Interface: `linkKernel`, `linkPass`, `listRows`. A symbol's contents do not depend on the kernel's layout or
 * configuration: one System.map serves all.
 */
import { type CType, PAGE_SIZE, ulong, utf8Encode } from "@alien-ts/abi";
import {
  checkKallsyms,
  encodeKallsyms,
  Kallsyms,
  link,
  linkUntilStable,
  type LinkedImage,
  type LinkOptions,
  type SectionSpec,
  type SymbolSpec,
} from "@alien-ts/ksym";
import type { Arch } from "../arch/arch.ts";
import type { FunctionRow } from "./row.ts";

/** Low word of the image's address. */
export const IMAGE_BASE = 0x20_0000;
/** Where the kernel's BTF begins and ends. */
export const BTF_START = "__start_BTF";
export const BTF_STOP = "__stop_BTF";
export const PER_CPU_SECTION = ".data..percpu";
/** Variables that each CPU has of its own. */
export const PER_CPU: readonly { readonly name: string; readonly type: CType<number> }[] = [
  { name: "kprobe_ctlblk", type: ulong },
];
/** The symbol whose contents are the compressed kallsyms table. */
export const TABLE_SYMBOL = "kallsyms_table";

/** A source file with rows, as text.ts lists it: its exports, some of which are gates or own one. */
export type RowModule = Readonly<Record<string, unknown>>;

export interface RowPlacement {
  readonly row: FunctionRow;
  readonly symbol: string;
  /** What the host call in the row's text asks for: its position in text order. */
  readonly index: number;
  readonly returnOffset: number;
}

export interface KernelImage {
  readonly image: LinkedImage;
  readonly table: Uint8Array;
  readonly rows: readonly RowPlacement[];
}

/** Rows exported by the listed files, in text order. Throws when two have one name. */
export function listRows(files: readonly RowModule[]): FunctionRow[] {
  const names = new Map<string, FunctionRow>();
  return files.flatMap((file) => {
    const rows = new Set<FunctionRow>();
    for (const value of Object.values(file)) {
      const row = rowOf(value);
      if (row !== undefined) rows.add(row);
    }
    return [...rows]
      .filter((row) => {
        const other = names.get(row.name);
        if (other !== undefined && other !== row) throw new Error(`two rows are called ${row.name}`);
        names.set(row.name, row);
        return other === undefined;
      })
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  });
}

function rowOf(value: unknown): FunctionRow | undefined {
  if (value === null || (typeof value !== "function" && typeof value !== "object")) return undefined;
  const row = (value as { row?: unknown }).row;
  return typeof row === "object" && row !== null && "slot" in row && "params" in row
    ? (row as FunctionRow)
    : undefined;
}

export const symbolOf = (row: FunctionRow, arch: Arch): string =>
  row.options.syscall === true ? arch.syscallPrefix + row.name : row.name;

export interface LinkRequest {
  readonly files: readonly RowModule[];
  readonly arch: Arch;
  readonly baseHi: number;
  /**
   * The kallsyms table of an earlier link: the image is linked once, and must agree with it (`InconsistentKallsyms`
   * otherwise). Without it the link repeats until the table is stable.
   */
  readonly table: Uint8Array | undefined;
  /** Bytes of the kernel's BTF, where no table tells. */
  btfBytes(): number;
}

/** Links the image of these rows. */
export function linkKernel({ table, ...request }: LinkRequest): KernelImage {
  const rows = placeRows(request.files, request.arch);
  if (table !== undefined) {
    const image = link(linkOptions(rows, request, table, btfBytesOf(table)));
    if (!seemsToFit(table, image)) checkKallsyms(table, image.symbols);
    return { image, table, rows };
  }
  const stable = linkUntilStable({
    ...linkOptions(rows, request, undefined, request.btfBytes()),
    tableSymbol: TABLE_SYMBOL,
    makeTable: (image, atLeast) =>
      encodeKallsyms(image.symbols, { baseHi: request.baseHi, end: image.base + image.size, atLeast }),
  });
  return { image: stable.image, table: stable.table, rows };
}

/** Making the BTF only to know its size would take longer than the rest of a boot. */
function btfBytesOf(table: Uint8Array): number {
  const names = new Kallsyms(table);
  return (names.lookupName(BTF_STOP) ?? 0) - (names.lookupName(BTF_START) ?? 0);
}

/**
 * Whether the table can be this image's: as many symbols, from the first address to the last. A build has compared every symbol;
 * to do so again at each boot would take a tenth of its time.
 */
function seemsToFit(table: Uint8Array, image: LinkedImage): boolean {
  const names = new Kallsyms(table);
  const last = image.symbols.length - 1;
  if (names.size !== image.symbols.length) return false;
  return [0, last].every((index) => {
    const [listed, linked] = [names.symbolAt(index), image.symbols[index]];
    return listed?.name === linked?.name && listed?.address === linked?.address;
  });
}

/** The image with this table in it, whether or not they agree: a pass of a build, whose symbols make the next table. */
export function linkPass(request: LinkRequest): LinkedImage {
  const rows = placeRows(request.files, request.arch);
  return link(linkOptions(rows, request, request.table, request.btfBytes()));
}

interface PlacedRow extends RowPlacement {
  readonly bytes: Uint8Array;
}

function placeRows(files: readonly RowModule[], arch: Arch): PlacedRow[] {
  return listRows(files).map((row, index) => {
    const symbol = symbolOf(row, arch);
    const text = arch.rowText(index, symbol);
    return { row, symbol, index, returnOffset: text.returnOffset, bytes: text.bytes };
  });
}

function linkOptions(
  rows: readonly PlacedRow[],
  { arch, baseHi }: Pick<LinkRequest, "arch" | "baseHi">,
  table: Uint8Array | undefined,
  btfBytes: number,
): LinkOptions {
  const text = rows.map(({ row, symbol, bytes }): SymbolSpec => ({
    name: symbol,
    type: row.options.local === true ? "t" : "T",
    align: 4,
    bytes,
    ...(row.options.aliases === undefined ? {} : { aliases: row.options.aliases }),
  }));
  return { base: IMAGE_BASE, baseHi, sections: sections([...entryText(arch), ...text], table, btfBytes) };
}

/** Entry points that Linux writes in assembly (arch/riscv/kernel/entry.S). */
function entryText(arch: Arch): SymbolSpec[] {
  return [
    "_start",
    "handle_exception",
    "ret_from_exception",
    "ret_from_fork_kernel",
    "ret_from_fork_user",
  ].map((name) => ({
    name,
    type: "T",
    align: 4,
    bytes: arch.trapText(),
  }));
}

const BANNER = "Linux version %s (%s)\n\0";

function sections(
  text: readonly SymbolSpec[],
  table: Uint8Array | undefined,
  btfBytes: number,
): SectionSpec[] {
  const tableBytes = table ?? new Uint8Array(0);
  return [
    { name: ".text", align: 4096, types: "Tt", symbols: text },
    {
      name: ".rodata",
      align: 4096,
      types: "Rr",
      symbols: [
        { name: "linux_proc_banner", type: "R", align: 8, bytes: utf8Encode(BANNER) },
        { name: TABLE_SYMBOL, type: "R", align: 8, bytes: tableBytes },
        // Last, at a page of its own, so that user space may map it.
        { name: BTF_START, type: "R", align: PAGE_SIZE, size: btfBytes },
        { name: BTF_STOP, type: "R", size: 0 },
      ],
    },
    {
      name: ".data",
      align: 4096,
      types: "Dd",
      symbols: [
        { name: "kptr_restrict", type: "D", align: 4, bytes: new Uint8Array(4) },
        { name: "sysctl_unprivileged_bpf_disabled", type: "D", align: 4, bytes: Uint8Array.of(2, 0, 0, 0) },
        { name: "sysctl_perf_event_paranoid", type: "D", align: 4, bytes: Uint8Array.of(2, 0, 0, 0) },
        { name: "panic_on_oops", type: "D", align: 4, bytes: new Uint8Array(4) },
      ],
    },
    {
      name: ".bss",
      align: 4096,
      types: "Bb",
      isZeroed: true,
      symbols: [{ name: "saved_command_line_len", type: "B", align: 4, size: 4 }],
    },
    {
      name: PER_CPU_SECTION,
      align: 4096,
      types: "Dd",
      symbols: PER_CPU.map(({ name, type }) => ({
        name,
        type: "D",
        align: type.align,
        bytes: new Uint8Array(type.size),
      })),
    },
  ];
}
