/**
 * The ranges of linear memory that checked programs may touch: map values, read-only data, rings.
 *
 * Ranges are half open, never overlap and are kept sorted; a lookup costs one comparison when it hits the range of the lookup
 * before, else a binary search. The stack and the context of a run are not regions: the machine knows them itself.
 */
import type { KAddr } from "@alien-ts/abi";

interface Region {
  readonly start: KAddr;
  readonly end: KAddr;
  readonly isWritable: boolean;
}

const NOWHERE: Region = { start: 0, end: 0, isWritable: false };

export class MemoryRegions {
  private readonly sorted: Region[] = [];
  private last: Region = NOWHERE;

  /** Declares [start, start + sizeBytes); throws RangeError where it overlaps another region. */
  add(start: KAddr, sizeBytes: number, isWritable: boolean): void {
    if (sizeBytes <= 0) throw new RangeError(`region of ${sizeBytes} bytes`);
    const index = this.firstEndingAfter(start);
    const next = this.sorted[index];
    if (next !== undefined && next.start < start + sizeBytes) {
      throw new RangeError(`region at ${start} overlaps the one at ${next.start}`);
    }
    this.sorted.splice(index, 0, { start, end: start + sizeBytes, isWritable });
  }

  /** Forgets the region that starts at `start`; throws RangeError where there is none. */
  remove(start: KAddr): void {
    const index = this.firstEndingAfter(start);
    if (this.sorted[index]?.start !== start) throw new RangeError(`no region starts at ${start}`);
    this.sorted.splice(index, 1);
    this.last = NOWHERE;
  }

  /** Whether all of [address, address + size) is in one region that permits the access. */
  allows(address: KAddr, size: number, isWrite: boolean): boolean {
    let region = this.last;
    if (address < region.start || address >= region.end) {
      const found = this.sorted[this.firstEndingAfter(address)];
      if (found === undefined || address < found.start) return false;
      region = found;
      this.last = found;
    }
    return address + size <= region.end && (region.isWritable || !isWrite);
  }

  private firstEndingAfter(address: KAddr): number {
    let low = 0;
    let high = this.sorted.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.sorted[middle]!.end > address) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}
