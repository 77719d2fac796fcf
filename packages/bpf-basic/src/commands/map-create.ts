/** BPF_MAP_CREATE. Answers to `map_create` in kernel/bpf/syscall.c. */
import {
  BPF_F,
  BPF_OBJ_NAME_LEN,
  bpf_attr_map_create,
  CAP,
  EINVAL,
  EPERM,
  type Fields,
  isErr,
  type Result,
  type View,
} from "@alien-ts/abi";
import { NUMA_NO_NODE } from "../maps/checks.ts";
import { MapFile } from "../maps/map-file.ts";
import type { MapAttributes } from "../maps/map.ts";
import { mapTypeRow, type SupportedMapType } from "../maps/types.ts";
import { checkMapBtf, type MapBtf } from "../btf/map-btf.ts";
import { attributesOf, type BpfCall, btfOf, objectName } from "./call.ts";
import type { BpfEngine } from "../engine.ts";

type Attributes = typeof bpf_attr_map_create extends { readonly fields: infer F extends Fields }
  ? View<F>
  : never;

export function mapCreate(call: BpfCall): Result<number> {
  const { engine } = call;
  const a = attributesOf(call, bpf_attr_map_create);
  const refused = checkAttributes(a);
  if (isErr(refused)) return refused;
  const row = mapTypeRow(a.map_type);
  if (row === undefined || !row.supported) return EINVAL;
  const attributes = toMapAttributes(a);
  const typeRefused = row.check(attributes, engine);
  if (typeRefused !== 0) return typeRefused;
  if (a.map_ifindex !== 0) return EINVAL;
  if (!mayCreate(engine, row.needsCapBpf)) return EPERM;
  const name = objectName(nameBytes(call));
  if (isErr(name)) return name;
  const btf = findBtf(engine, a, row, attributes);
  if (isErr(btf)) return btf;
  const map = row.create(engine, attributes);
  if (isErr(map)) return map;
  map.setName(name);
  if (btf !== undefined) map.setBtf(btf);
  const mayRead = (a.map_flags & BPF_F.WRONLY) === 0;
  const mayWrite = (a.map_flags & BPF_F.RDONLY) === 0;
  const file = new MapFile(map, { mayRead, mayWrite });
  const fd = engine.ports.installFd(file, true);
  if (isErr(fd)) file.release();
  return fd;
}

/** The rules that hold for all types; no type here takes `map_extra`. */
function checkAttributes(a: Attributes): Result<0> {
  if (a.btf_vmlinux_value_type_id !== 0) return EINVAL;
  if (a.btf_key_type_id !== 0 && a.btf_value_type_id === 0) return EINVAL;
  if (a.map_extra !== 0) return EINVAL;
  const both = BPF_F.RDONLY | BPF_F.WRONLY;
  if ((a.map_flags & both) === both) return EINVAL;
  // There is one node.
  return (a.map_flags & BPF_F.NUMA_NODE) !== 0 && a.numa_node !== 0 ? EINVAL : 0;
}

function toMapAttributes(a: Attributes): MapAttributes {
  return {
    mapType: a.map_type,
    keySize: a.key_size,
    valueSize: a.value_size,
    maxEntries: a.max_entries,
    flags: a.map_flags,
    numaNode: (a.map_flags & BPF_F.NUMA_NODE) !== 0 ? a.numa_node : NUMA_NO_NODE,
  };
}

function mayCreate({ ports }: BpfEngine, needsCapBpf: boolean): boolean {
  if (ports.capable(CAP.BPF) || ports.capable(CAP.SYS_ADMIN)) return true;
  return ports.unprivilegedBpfDisabled === 0 && !needsCapBpf;
}

/** The types that the caller gives; undefined for none. */
function findBtf(
  engine: BpfEngine,
  a: Attributes,
  row: SupportedMapType,
  attributes: MapAttributes,
): Result<MapBtf | undefined> {
  if (a.btf_key_type_id === 0 && a.btf_value_type_id === 0) return undefined;
  const object = btfOf(engine, a.btf_fd);
  if (isErr(object)) return object;
  const btf = { object, keyType: a.btf_key_type_id, valueType: a.btf_value_type_id };
  const checked = checkMapBtf(row, attributes, btf, (kind) =>
    engine.ports.printk(`bpf: values with a ${kind} are not implemented: maps hold plain data only`),
  );
  return isErr(checked) ? checked : btf;
}

function nameBytes({ engine, attr }: BpfCall): Uint8Array {
  const at = attr + engine.ports.layout.offset(bpf_attr_map_create, "map_name");
  return engine.m.bytes(at, BPF_OBJ_NAME_LEN);
}
