/**
 * What is told of the kernel without booting it. `systemMap`: what `nm -n` prints of its image, which a build lists after each pass
 * of its link. `kernelBtf`: its types.
 */
import { DIRECT_MAP_HI, Layout } from "@alien-ts/abi";
import { formatSystemMap } from "@alien-ts/ksym";
import type { Arch } from "./arch/arch.ts";
import { riscv64 } from "./arch/riscv64/arch.ts";
import { describeKernel } from "./core/btf.ts";
import { linkKernel, linkPass, type RowModule } from "./core/image.ts";
import { TEXT } from "./text.ts";
import { TYPES } from "./types.ts";

/**
 * @param table the kallsyms table to link in, of which nothing is checked. Without one the image is linked until its own
 *   table is stable.
 */
export function systemMap(table?: Uint8Array, arch: Arch = riscv64): string {
  const baseHi = DIRECT_MAP_HI.riscv64;
  const request = { files: TEXT, arch, baseHi, table, btfBytes: () => btfBytesOf(TEXT, arch) };
  const image = table === undefined ? linkKernel(request).image : linkPass(request);
  return formatSystemMap(image.symbols, baseHi);
}

/** Sizes of the BTF of lists of files that were asked for: both are constants. */
const sizes = new WeakMap<readonly RowModule[], number>();

/** Bytes of the BTF of a kernel with this text, in any layout. */
export function btfBytesOf(text: readonly RowModule[], arch: Arch): number {
  const known = sizes.get(text) ?? kernelBtf(text, arch).length;
  sizes.set(text, known);
  return known;
}

/** The BTF of a kernel as /sys/kernel/btf/vmlinux gives it. */
export const kernelBtf = (
  text: readonly RowModule[] = TEXT,
  arch: Arch = riscv64,
  layout: Layout = Layout.natural(),
): Uint8Array => describeKernel({ text, types: TYPES, arch, layout });
