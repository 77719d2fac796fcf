/**
 * An open file of a map: what a map fd holds. Access modes are the file's, as BPF_F_RDONLY and BPF_F_WRONLY say; freezing
 * takes the right to write from every file.
 */
import {
  BPF_F,
  BPF_MAP_TYPE,
  EACCES,
  EINVAL,
  ENOTSUPP,
  EPERM,
  type KAddr,
  PAGE_SIZE,
  type Result,
} from "@alien-ts/abi";
import { type BpfMap, roundUp8 } from "./map.ts";

export interface MapMapping {
  readonly pages: number;
  readonly pageOffset: number;
  readonly isShared: boolean;
  readonly isWritable: boolean;
}

export class MapFile {
  readonly kind = "map";
  readonly map: BpfMap;
  readonly #mayRead: boolean;
  readonly #mayWrite: boolean;

  /** Takes over one reference to `map`. */
  constructor(map: BpfMap, mode: { readonly mayRead: boolean; readonly mayWrite: boolean }) {
    this.map = map;
    this.#mayRead = mode.mayRead;
    this.#mayWrite = mode.mayWrite;
  }

  get canRead(): boolean {
    return this.#mayRead;
  }
  get canWrite(): boolean {
    return this.#mayWrite && !this.map.isFrozen;
  }

  /**
   * `bpf_map_mmap`: the address of the first page to map. ENOTSUPP for types that cannot be mapped, EINVAL for a private mapping,
   * a map without BPF_F_MMAPABLE or pages outside, EPERM for writing to a frozen map, EACCES to one read-only for programs. Tell
   * `mappingChanged` when a mapping goes.
   */
  mmap({ pages, pageOffset, isShared, isWritable }: MapMapping): Result<KAddr> {
    const { map } = this;
    if (map.mapType !== BPF_MAP_TYPE.ARRAY) return ENOTSUPP;
    if (!isShared) return EINVAL;
    if (isWritable && map.isFrozen) return EPERM;
    if (isWritable && (map.flags & BPF_F.RDONLY_PROG) !== 0) return EACCES;
    const first = map.mappablePages();
    const held = Math.ceil((roundUp8(map.valueSize) * map.maxEntries) / PAGE_SIZE);
    if (first === 0 || pageOffset + pages > held) return EINVAL;
    if (isWritable) map.writers += 1;
    return first + pageOffset * PAGE_SIZE;
  }

  /** A mapping went, or (with `delta` 1) was copied. */
  mappingChanged(isWritable: boolean, delta: 1 | -1): void {
    if (isWritable) this.map.writers += delta;
  }

  /** `bpf_map_show_fdinfo`: what /proc/<pid>/fdinfo/<fd> adds for a map. */
  fdInfo(): string {
    const { map } = this;
    const lines: [string, string | number][] = [
      ["map_type", map.mapType],
      ["key_size", map.keySize],
      ["value_size", map.valueSize],
      ["max_entries", map.maxEntries],
      ["map_flags", `0x${map.flags.toString(16)}`],
      ["map_extra", "0x0"],
      ["memlock", map.memoryBytes],
      ["map_id", map.t.id],
      ["frozen", map.isFrozen ? 1 : 0],
    ];
    return lines.map(([key, value]) => `${key}:\t${value}\n`).join("");
  }

  release(): void {
    this.map.fileClosed(this);
    this.map.put();
  }
}
