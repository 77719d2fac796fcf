/**
 * Creates the maps of an object: what the kernel wants to be told about each type, pinning, and initial data.
 *
 * Authority: aya `maps/mod.rs`, `bpf.rs`. Regular maps come before maps of maps; otherwise in the object's order.
 */
import { BPF_ELEM, BPF_MAP_TYPE as TYPE, ENOENT, PAGE_SIZE } from "@alien-ts/abi";
import { MapError, SyscallError } from "../errors.ts";
import type { MapSpec } from "../obj/spec.ts";
import { mapCreate, mapFreeze, mapUpdate, objectGet, objectName, objectPin } from "../sys/bpf.ts";
import { closeFd } from "../sys/files.ts";
import { failedWith } from "../sys/sys.ts";
import type { SerialSys } from "../sys/sys.ts";
import { MapData } from "./map-data.ts";

/** Types whose keys and values have no BTF types in the kernel's eyes. */
const WITHOUT_BTF = new Set<number>([
  TYPE.PERF_EVENT_ARRAY,
  TYPE.CGROUP_ARRAY,
  TYPE.STACK_TRACE,
  TYPE.ARRAY_OF_MAPS,
  TYPE.HASH_OF_MAPS,
  TYPE.DEVMAP,
  TYPE.DEVMAP_HASH,
  TYPE.CPUMAP,
  TYPE.XSKMAP,
  TYPE.SOCKMAP,
  TYPE.SOCKHASH,
  TYPE.QUEUE,
  TYPE.STACK,
  TYPE.RINGBUF,
]);

export interface CreateContext {
  readonly sys: SerialSys;
  readonly btfFd: number | undefined;
  readonly hasNames: boolean;
  /** Folder for maps that are pinned by name. */
  readonly pinFolder: string;
  readonly maxEntries: ReadonlyMap<string, number>;
  readonly possibleCpus: () => Promise<number>;
  readonly raiseMemlock: (result: number) => Promise<boolean>;
}

export async function createMap(context: CreateContext, spec: MapSpec): Promise<MapData> {
  const definition = await adjust(context, spec);
  const path = `${context.pinFolder}/${spec.name}`;
  if (spec.pinning === "byName") {
    const pinned = await objectGet(context.sys, path);
    if (pinned >= 0) return new MapData(context.sys, pinned, definition);
    if (!failedWith(pinned, ENOENT)) throw createError(spec, "BPF_OBJ_GET", pinned);
  }
  const fd = await createWithInner(context, definition);
  try {
    if (spec.data !== undefined) await fill(context.sys, fd, spec);
    if (spec.pinning === "byName") {
      const pinned = await objectPin(context.sys, path, fd);
      if (pinned < 0) throw createError(spec, "BPF_OBJ_PIN", pinned);
    }
  } catch (error) {
    await closeFd(context.sys, fd);
    throw error;
  }
  return new MapData(context.sys, fd, definition);
}

/** Sizes that depend on the machine, and overrides. */
async function adjust(context: CreateContext, spec: MapSpec): Promise<MapSpec> {
  const maxEntries = context.maxEntries.get(spec.name) ?? spec.maxEntries;
  switch (spec.type) {
    case TYPE.PERF_EVENT_ARRAY: {
      const cpus = await context.possibleCpus();
      return { ...spec, maxEntries: maxEntries === 0 || maxEntries > cpus ? cpus : maxEntries };
    }
    case TYPE.RINGBUF:
      return { ...spec, keySize: 0, valueSize: 0, maxEntries: ringBytes(maxEntries) };
    default:
      return { ...spec, maxEntries };
  }
}

/** The smallest power of two times the page size that holds `bytes`. */
function ringBytes(bytes: number): number {
  let size = PAGE_SIZE;
  while (size < bytes) size *= 2;
  return size;
}

/** A map of maps needs an example of what it holds while it is created. */
async function createWithInner(context: CreateContext, spec: MapSpec): Promise<number> {
  if (spec.inner === undefined) return create(context, spec, undefined);
  const inner = await create(context, await adjust(context, spec.inner), undefined);
  try {
    return await create(context, spec, inner);
  } finally {
    await closeFd(context.sys, inner);
  }
}

async function create(context: CreateContext, spec: MapSpec, innerFd: number | undefined): Promise<number> {
  const hasTypes = context.btfFd !== undefined && spec.origin === "btf" && !WITHOUT_BTF.has(spec.type);
  const request = {
    ...spec,
    name: context.hasNames ? objectName(spec.name) : "",
    ...(innerFd !== undefined && { innerFd }),
    ...(hasTypes && {
      btfFd: context.btfFd,
      // The kernel refuses a key type for a map without keys.
      btfKeyTypeId: spec.type === TYPE.BLOOM_FILTER ? 0 : spec.keyTypeId,
      btfValueTypeId: spec.valueTypeId,
    }),
  };
  let fd = await mapCreate(context.sys, request);
  if (fd < 0 && (await context.raiseMemlock(fd))) fd = await mapCreate(context.sys, request);
  if (fd < 0) throw createError(spec, "bpf_create_map", fd);
  return fd;
}

/** Writes a data section's bytes; read-only data is frozen. */
async function fill(sys: SerialSys, fd: number, spec: MapSpec): Promise<void> {
  const { data } = spec;
  if (data === undefined) return;
  const written = await mapUpdate(sys, { fd, key: new Uint8Array(4), flags: BPF_ELEM.ANY }, data.bytes);
  if (written < 0) throw createError(spec, "bpf_map_update_elem", written);
  if (data.kind !== "rodata") return;
  const frozen = await mapFreeze(sys, fd);
  if (frozen < 0) throw createError(spec, "bpf_map_freeze", frozen);
}

function createError(spec: MapSpec, call: string, result: number): MapError {
  const cause = new SyscallError(call, -result);
  return new MapError("CreateError", `map ${spec.name}: ${cause.message}`, { cause });
}
