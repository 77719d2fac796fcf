/**
 * Fault injection for allocators: "the n-th allocation from now fails", as Linux's failslab and fail_page_alloc do
 * (Documentation/fault-injection). One object is shared by the page allocator and kmalloc of a kernel, so that a test walks
 * every allocation of a path by counting n up until nothing fails.
 *
 * Invariant: an allocation asks exactly once, whatever it does inside (a slab that kmalloc grows is no allocation of its own).
 */

export class AllocationFaults {
  #remaining = 0;
  /** Tag of the allocation that was made to fail; undefined while none was. */
  failedTag: string | undefined = undefined;

  /** Makes the `n`-th allocation from now fail, once. 1 is the next one; 0 takes the order back. */
  failAfter(n: number): void {
    this.#remaining = n;
    this.failedTag = undefined;
  }

  /** Whether an injected failure is still ahead. */
  get armed(): boolean {
    return this.#remaining > 0;
  }

  /** Asked by an allocator, once per allocation. */
  shouldFail(tag: string): boolean {
    if (this.#remaining === 0) return false;
    this.#remaining -= 1;
    if (this.#remaining > 0) return false;
    this.failedTag = tag;
    return true;
  }
}

/** Live objects and bytes under one tag. */
export interface TagUsage {
  readonly objects: number;
  readonly bytes: number;
}

/** What was live at one moment, by tag. Pages carry their tag with the prefix "pages:". */
export type Snapshot = ReadonlyMap<string, TagUsage>;

/** Tags whose usage differs between two snapshots: `after` minus `before`. An empty map means that nothing leaked. */
export function difference(before: Snapshot, after: Snapshot): Map<string, TagUsage> {
  const changed = new Map<string, TagUsage>();
  for (const tag of new Set([...before.keys(), ...after.keys()])) {
    const objects = (after.get(tag)?.objects ?? 0) - (before.get(tag)?.objects ?? 0);
    const bytes = (after.get(tag)?.bytes ?? 0) - (before.get(tag)?.bytes ?? 0);
    if (objects !== 0 || bytes !== 0) changed.set(tag, { objects, bytes });
  }
  return changed;
}

/** Live objects and bytes per tag; a tag is interned to a small id, which metadata arrays hold. */
export class TagLedger {
  readonly #ids = new Map<string, number>();
  readonly #names: string[] = [];
  readonly #objects: number[] = [];
  readonly #bytes: number[] = [];

  id(tag: string): number {
    const known = this.#ids.get(tag);
    if (known !== undefined) return known;
    const id = this.#names.length;
    this.#ids.set(tag, id);
    this.#names.push(tag);
    this.#objects.push(0);
    this.#bytes.push(0);
    return id;
  }

  name(id: number): string {
    return this.#names[id] ?? "?";
  }

  add(id: number, objects: number, bytes: number): void {
    this.#objects[id]! += objects;
    this.#bytes[id]! += bytes;
  }

  /** Adds the live tags to `into`, each with `prefix` before its name. */
  collect(into: Map<string, TagUsage>, prefix: string): void {
    for (let id = 0; id < this.#names.length; id++)
      if (this.#objects[id] !== 0)
        into.set(prefix + this.#names[id]!, { objects: this.#objects[id]!, bytes: this.#bytes[id]! });
  }
}
