/**
 * Objects by id: the next id that something has, and a new fd of it. Answers to `bpf_obj_get_next_id`, `bpf_prog_get_fd_by_id`,
 * `bpf_map_get_fd_by_id`, `btf_get_fd_by_id`.
 */
import {
  BPF_F,
  bpf_attr_get_id,
  CAP,
  EFAULT,
  EINVAL,
  ENOENT,
  EPERM,
  isErr,
  type Result,
} from "@alien-ts/abi";
import type { BpfEngine } from "../engine.ts";
import { MapFile } from "../maps/map-file.ts";
import type { BpfObject } from "../objects.ts";
import { attributesOf, type BpfCall, writeBack } from "./call.ts";

const INT_MAX = 0x7fff_ffff;

/** The command that finds the next of the ids that `idsOf` gives. */
export const nextId =
  (idsOf: (engine: BpfEngine) => Iterable<number>) =>
  (call: BpfCall): Result<number> => {
    const { ports } = call.engine;
    const a = attributesOf(call, bpf_attr_get_id);
    if (a.start_id >= INT_MAX) return EINVAL;
    if (!ports.capable(CAP.SYS_ADMIN)) return EPERM;
    let next = Number.POSITIVE_INFINITY;
    for (const id of idsOf(call.engine)) if (id > a.start_id && id < next) next = id;
    if (next === Number.POSITIVE_INFINITY) return ENOENT;
    a.next_id = next;
    return isErr(writeBack(call, ports.layout.offset(bpf_attr_get_id, "next_id"), 4)) ? EFAULT : 0;
  };

export const programIds = ({ programs }: BpfEngine): number[] => Array.from(programs, ({ id }) => id);
export const mapIds = ({ maps }: BpfEngine): number[] => Array.from(maps.all(), ({ t }) => t.id);
export const btfIds = ({ btfs }: BpfEngine): number[] => Array.from(btfs, ({ id }) => id);

/** A new fd of an object, of which a reference was taken. */
function install({ engine }: BpfCall, object: BpfObject): Result<number> {
  const fd = engine.ports.installFd(object, true);
  if (isErr(fd)) object.release();
  return fd;
}

export function progGetFdById(call: BpfCall): Result<number> {
  const { engine } = call;
  if (!engine.ports.capable(CAP.SYS_ADMIN)) return EPERM;
  const { prog_id } = attributesOf(call, bpf_attr_get_id);
  for (const program of engine.programs) {
    if (program.id !== prog_id) continue;
    program.get();
    return install(call, program);
  }
  return ENOENT;
}

export function mapGetFdById(call: BpfCall): Result<number> {
  const { engine } = call;
  const { map_id, open_flags: flags } = attributesOf(call, bpf_attr_get_id);
  if ((flags & ~(BPF_F.RDONLY | BPF_F.WRONLY)) !== 0) return EINVAL;
  if (!engine.ports.capable(CAP.SYS_ADMIN)) return EPERM;
  if (flags === (BPF_F.RDONLY | BPF_F.WRONLY)) return EINVAL;
  for (const map of engine.maps.all()) {
    if (map.t.id !== map_id) continue;
    map.get();
    return install(
      call,
      new MapFile(map, { mayRead: (flags & BPF_F.WRONLY) === 0, mayWrite: (flags & BPF_F.RDONLY) === 0 }),
    );
  }
  return ENOENT;
}

export function btfGetFdById(call: BpfCall): Result<number> {
  const { engine } = call;
  const { btf_id, open_flags: flags } = attributesOf(call, bpf_attr_get_id);
  if (flags !== 0) return EINVAL;
  if (!engine.ports.capable(CAP.SYS_ADMIN)) return EPERM;
  for (const object of engine.btfs) {
    if (object.id !== btf_id) continue;
    object.get();
    return install(call, object);
  }
  return ENOENT;
}
