/** Which maps a program may use, by its type, by whether it may sleep, and by what it uses already. Linux: __add_used_map(). */
import { EBUSY, EINVAL, EPERM } from "@alien-ts/abi";
import { ARENA_MAP } from "../analysis.ts";
import type { MapInfo, ProgramEnv } from "../env.ts";
import { reject } from "../verdict.ts";
import type { Check } from "../verdict.ts";

const STRUCT_OPS_MAP = 26;
/** Maps whose elements outlive a program that sleeps. */
const WHERE_SLEEPING: readonly number[] = [1, 2, 5, 6, 9, 10, 12, 13, 22, 23, 24, 27, 28, 29, 31, 32, 33];
/** CGROUP_STORAGE, PERCPU_CGROUP_STORAGE */
const CGROUP_STORAGES: readonly number[] = [19, 21];
const TRACING_LOCK_TYPES: readonly number[] = [2, 5, 7, 17, 24];

type Program = Pick<ProgramEnv, "programType" | "isSleepable" | "privileges">;

/**
 * Whether the program may use the map.
 * @param used those that it names before.
 */
export function checkUsedMap(env: Program, map: MapInfo, used: readonly MapInfo[]): Check {
  if (used.some(({ address }) => address === map.address)) return undefined;
  return checkProgram(map, env) ?? checkOnly(env, map, used);
}

/** Linux: check_map_prog_compatibility() */
function checkProgram(map: MapInfo, env: Program): Check {
  const { type } = env.programType;
  const has = (kind: MapInfo["fields"][number]["kind"]): boolean =>
    map.fields.some((field) => field.kind === kind);
  if ((has("list_head") || has("rb_root")) && TRACING_LOCK_TYPES.includes(type))
    return reject(EINVAL, "tracing progs cannot use bpf_{list_head,rb_root} yet");
  if (has("spin_lock") || has("res_spin_lock")) {
    if (type === 1) return reject(EINVAL, "socket filter progs cannot use bpf_spin_lock yet");
    if (TRACING_LOCK_TYPES.includes(type))
      return reject(EINVAL, "tracing progs cannot use bpf_spin_lock yet");
  }
  if (has("timer") && TRACING_LOCK_TYPES.includes(type))
    return reject(EINVAL, "tracing progs cannot use bpf_timer yet");
  if (has("workqueue") && TRACING_LOCK_TYPES.includes(type))
    return reject(EINVAL, "tracing progs cannot use bpf_wq yet");
  if (map.type === STRUCT_OPS_MAP) return reject(EINVAL, "bpf_struct_ops map cannot be used in prog");
  if (env.isSleepable && !WHERE_SLEEPING.includes(map.type)) {
    const kinds = "array, hash, ringbuf and local storage maps";
    return reject(EINVAL, `Sleepable programs can only use ${kinds}`);
  }
  return undefined;
}

/** Maps of which a program has at most one. */
function checkOnly({ privileges }: Program, map: MapInfo, used: readonly MapInfo[]): Check {
  const hasOther = used.some(({ type }) => type === map.type);
  if (CGROUP_STORAGES.includes(map.type))
    return hasOther ? reject(EBUSY, "only one cgroup storage of each type is allowed") : undefined;
  if (map.type !== ARENA_MAP) return undefined;
  if (hasOther) return reject(EBUSY, "Only one arena per program");
  if (!privileges.mayLeakPointers || !privileges.isCapable)
    return reject(EPERM, "CAP_BPF and CAP_PERFMON are required to use arena");
  return map.isMapped === false
    ? reject(EINVAL, "arena's user address must be set via map_extra or mmap()")
    : undefined;
}
