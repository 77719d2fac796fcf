/** Checks of MAP_CREATE attributes that several map types share. */
import { BPF_F } from "@alien-ts/abi";
import type { MapAttributes } from "./map.ts";

/** The map may be on any node. */
export const NUMA_NO_NODE = -1;

/** BPF_F_ACCESS_MASK */
export const ACCESS_FLAGS = BPF_F.RDONLY | BPF_F.RDONLY_PROG | BPF_F.WRONLY | BPF_F.WRONLY_PROG;

/** Largest kmalloc (order 10). */
export const KMALLOC_MAX_SIZE = 1 << 22;
/** Largest per-CPU value. */
export const PCPU_MIN_UNIT_SIZE = 32 << 10;

/** `bpf_map_flags_access_ok`, with the flags that the type knows. */
export function flagsAreOk(flags: number, known: number): boolean {
  const both = BPF_F.RDONLY_PROG | BPF_F.WRONLY_PROG;
  return (flags & ~known) === 0 && (flags & both) !== both;
}

/** Whether programs may write values (checked by the interpreter where the verifier has not). */
export const isProgramWritable = (attributes: Pick<MapAttributes, "flags">): boolean =>
  (attributes.flags & BPF_F.RDONLY_PROG) === 0;
