/** What programs of iterators are given, by target: pointers that may be NULL at the end, buffers. Linux: the `bpf_iter_reg`s. */
import { FLAG } from "../state/register.ts";

export interface IteratorArgument {
  readonly kind: "ptr_" | "buf";
  readonly flags: number;
}

const NULLABLE: IteratorArgument = { kind: "ptr_", flags: FLAG.MAYBE_NULL };
const TRUSTED: IteratorArgument = { kind: "ptr_", flags: FLAG.MAYBE_NULL | FLAG.TRUSTED };
const BUFFER: IteratorArgument = { kind: "buf", flags: FLAG.MAYBE_NULL };
const READ_ONLY: IteratorArgument = { kind: "buf", flags: FLAG.MAYBE_NULL | FLAG.RDONLY };

const PREFIX = "bpf_iter_";

/** By target; the first argument is what iterators have in common. */
const TARGETS: Record<string, Readonly<Record<number, IteratorArgument>>> = {
  bpf_link: { 1: NULLABLE },
  bpf_map: { 1: TRUSTED },
  bpf_map_elem: { 2: READ_ONLY, 3: BUFFER },
  bpf_prog: { 1: NULLABLE },
  bpf_sk_storage_map: { 2: NULLABLE, 3: BUFFER },
  cgroup: { 1: TRUSTED },
  dmabuf: { 1: NULLABLE },
  ipv6_route: { 1: NULLABLE },
  kmem_cache: { 1: TRUSTED },
  ksym: { 1: NULLABLE },
  netlink: { 1: NULLABLE },
  sockmap: { 2: READ_ONLY, 3: NULLABLE },
  task: { 1: TRUSTED },
  task_file: { 1: NULLABLE, 3: NULLABLE },
  task_vma: { 1: NULLABLE, 2: NULLABLE },
  tcp: { 1: TRUSTED },
  udp: { 1: TRUSTED },
  unix: { 1: NULLABLE },
};

/** Whether there is an iterator of that function. Linux: bpf_iter_prog_supported() */
export const isIterator = (name: string): boolean =>
  name.startsWith(PREFIX) && TARGETS[name.slice(PREFIX.length)] !== undefined;

/** Argument `index` of the function `bpf_iter_…`; undefined where it is like any other. */
export const iteratorArgument = (name: string, index: number): IteratorArgument | undefined =>
  TARGETS[name.replace(PREFIX, "")]?.[index];
