/** Helpers about text. Answers to kernel/bpf/helpers.c. */
import type { LinearMemory, KAddr } from "@alien-ts/abi";
import { type HelperRow, numeric } from "./row.ts";

export const textHelpers = {
  strncmp: numeric({
    since: "5.17",
    doc: "Compares at most *s1_sz* bytes of *s1* with the string *s2*: less than 0, 0, or more.",
    params: ["u32", "u32", "u32"],
    result: "s32",
    make:
      ({ m }) =>
      (left, size, right) =>
        compare(m, left!, right!, size!),
  }),
} as const satisfies Record<string, HelperRow>;

function compare({ u8 }: LinearMemory, left: KAddr, right: KAddr, sizeBytes: number): number {
  for (let i = 0; i < sizeBytes; i++) {
    const [a, b] = [u8[left + i]!, u8[right + i]!];
    if (a !== b) return a < b ? -1 : 1;
    if (a === 0) return 0;
  }
  return 0;
}
