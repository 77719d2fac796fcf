/**
 * The kernel's System.map: what `nm -n` prints of its image. A build lists it after each pass of its link.
 *
 * Interface: `systemMap`.
 */
import { DIRECT_MAP_HI } from "@alien-ts/abi";
import { formatSystemMap } from "@alien-ts/ksym";
import type { Arch } from "./arch/arch.ts";
import { riscv64 } from "./arch/riscv64/arch.ts";
import { linkKernel, linkPass } from "./core/image.ts";
import { TEXT } from "./text.ts";

/**
 * @param table the kallsyms table to link in, of which nothing is checked. Without one the image is linked until its own
 *   table is stable.
 */
export function systemMap(table?: Uint8Array, arch: Arch = riscv64): string {
  const baseHi = DIRECT_MAP_HI.riscv64;
  const image =
    table === undefined
      ? linkKernel(TEXT, arch, baseHi, undefined).image
      : linkPass(TEXT, arch, baseHi, table);
  return formatSystemMap(image.symbols, baseHi);
}
