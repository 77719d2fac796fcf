/**
 * What of BPF the kernel's BTF tells beside structures: the map types and helpers that there are. Programs ask by the names of
 * enumerators whether a kernel has something (`bpf_core_enum_value_exists`), so what is missing here is not among them.
 */
import { BPF_ELEM, BPF_F, BPF_F_CTXLEN_HI_MASK, BPF_F_CURRENT_CPU, BPF_MAP_TYPE } from "@alien-ts/abi";
import { helperIds, helperRows, mapTypes } from "@alien-ts/bpf-basic";
import type { DeclaredEnum } from "@alien-ts/btf";

export { bpf_map } from "@alien-ts/bpf-basic";

const present = (
  prefix: string,
  numbers: Readonly<Record<string, number>>,
  has: (name: string) => boolean,
): DeclaredEnum["values"] =>
  Object.entries(numbers)
    .filter(([name]) => has(name))
    .map(([name, number]) => ({ name: prefix + name, value: BigInt(number) }));

const rowOf = (name: string): { readonly supported: boolean } | undefined =>
  (mapTypes as Readonly<Record<string, { readonly supported: boolean }>>)[name];

const all = (prefix: string, numbers: Readonly<Record<string, number>>): DeclaredEnum["values"] =>
  present(prefix, numbers, () => true);

export const BPF_ENUMS: readonly DeclaredEnum[] = [
  { name: "", values: all("", { false: 0, true: 1 }) },
  { name: "", values: all("BPF_", BPF_ELEM) },
  { name: "", values: all("BPF_F_", BPF_F) },
  {
    name: "",
    values: all("BPF_F_", {
      INDEX_MASK: BPF_F_CURRENT_CPU,
      CURRENT_CPU: BPF_F_CURRENT_CPU,
      CTXLEN_MASK: BPF_F_CTXLEN_HI_MASK * 2 ** 32,
    }),
  },
  {
    name: "bpf_map_type",
    values: present("BPF_MAP_TYPE_", BPF_MAP_TYPE, (name) => rowOf(name)?.supported !== false),
  },
  {
    name: "bpf_func_id",
    values: present("BPF_FUNC_", helperIds, (name) => Object.hasOwn(helperRows, name)),
  },
];
