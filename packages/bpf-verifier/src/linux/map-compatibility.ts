/**
 * Which helpers take which maps. Linux: check_map_func_compatibility(). A row says which helpers a map type is for, or which
 * map types a helper is for; both must hold where both exist.
 */
import { EINVAL } from "@alien-ts/abi";
import type { HelperPrototype, MapInfo, ProgramRules } from "../env.ts";
import { reject } from "../verdict.ts";
import type { Check } from "../verdict.ts";

/** Helpers by map type (`enum bpf_map_type`); types that are not here are for all helpers that do not name theirs. */
const HELPERS_OF_MAP: Record<number, readonly number[]> = {
  3: [12],
  4: [22, 25, 55, 111, 121],
  27: [130, 131, 132, 133, 134, 198, 199, 200],
  31: [209],
  7: [27],
  8: [33, 37],
  19: [81],
  21: [81],
  14: [51, 1],
  25: [51, 1],
  16: [51],
  17: [51, 1],
  12: [1],
  13: [1],
  15: [52, 53, 60, 82, 1, 2, 3],
  18: [72, 70, 71, 82, 1, 2, 3],
  20: [82],
  22: [88, 89, 87],
  23: [88, 89, 87],
  24: [107, 108, 194],
  28: [145, 146, 194],
  29: [156, 157, 194],
  32: [210, 211, 194],
  30: [89, 87],
};

/** Types of maps of sockets: SOCKMAP, SOCKHASH. */
const SOCKET_MAPS: readonly number[] = [15, 18];
const UPDATE = 2;
const DELETE = 3;
/** Program types that never run with a socket locked: socket_filter, sched_cls, sched_act, xdp, sk_reuseport, flow_dissector, sk_lookup. */
const CHANGE_SOCKET_MAPS: readonly number[] = [1, 3, 4, 6, 21, 22, 30];
const SOCK_OPS = 13;
const TRACING = 26;
const ITERATOR = 28;

/** Whether a program may change maps of sockets by the helpers of all maps. Linux: may_update_sockmap() */
function changesSocketMaps({ type, attachType }: ProgramRules, id: number): boolean {
  if (type === TRACING && attachType === ITERATOR) return true;
  return (type === SOCK_OPS && id === DELETE) || CHANGE_SOCKET_MAPS.includes(type);
}

/** Maps of maps take no updates at all. */
const MAPS_OF_HELPER: Record<number, readonly number[]> = {
  12: [3],
  22: [4],
  25: [4],
  55: [4],
  111: [4],
  121: [4],
  130: [27],
  131: [27],
  134: [27],
  198: [27],
  209: [31],
  27: [7],
  37: [8],
  33: [8],
  51: [14, 25, 16, 17],
  52: [15],
  60: [15],
  53: [15],
  72: [18],
  71: [18],
  70: [18],
  81: [19, 21],
  82: [20, 15, 18],
  88: [22, 23],
  89: [22, 23, 30],
  87: [22, 23, 30],
  107: [24],
  108: [24],
  145: [28],
  146: [28],
  156: [29],
  157: [29],
  210: [32],
  211: [32],
  195: [5, 6, 10],
};

export function checkMapHelper(
  map: MapInfo | undefined,
  id: number,
  helper: HelperPrototype,
  program: ProgramRules,
): Check {
  if (map === undefined) return undefined;
  const helpers = HELPERS_OF_MAP[map.type];
  const maps = MAPS_OF_HELPER[id];
  const isAllowed =
    (helpers === undefined || helpers.includes(id)) && (maps === undefined || maps.includes(map.type));
  const refusal = `cannot pass map_type ${map.type} into func ${helper.name}#${id}`;
  if (!isAllowed) return reject(EINVAL, refusal);
  const isChange = SOCKET_MAPS.includes(map.type) && (id === UPDATE || id === DELETE);
  if (!isChange || changesSocketMaps(program, id)) return undefined;
  return reject(EINVAL, `cannot update sockmap in this context\n${refusal}`);
}
