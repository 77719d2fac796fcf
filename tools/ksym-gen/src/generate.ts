/** From a symbol listing to the table, as blob and as source. */
import { encodeKallsyms, toAssembly, toModuleSource } from "@alien-ts/ksym";
import { parseNm } from "./nm.ts";

export interface Generated {
  readonly blob: Uint8Array;
  /** ES module that exports the blob as `kallsyms`. */
  readonly moduleSource: string;
  /** Listing in GNU as format. */
  readonly assembly: string;
}

export interface GenerateOptions {
  /** Bytes that the blob must have at least; a repeated link gives the length of its last table. */
  readonly atLeast?: number;
}

/** Makes the table of what `nm -n` printed. Throws NmError for a bad line. */
export function generate(nmText: string, options: GenerateOptions = {}): Generated {
  const blob = generateBlob(nmText, options);
  return { blob, moduleSource: toModuleSource(blob), assembly: toAssembly(blob) };
}

/** As `generate`, without the sources. */
export function generateBlob(nmText: string, options: GenerateOptions = {}): Uint8Array {
  const { symbols, baseHi } = parseNm(nmText);
  return encodeKallsyms(symbols, { ...options, baseHi });
}
