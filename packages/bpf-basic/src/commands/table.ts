/** One row per command of bpf(2). To add a command: a function from `BpfCall` to `Result<number>`, and its row. */
import { BPF_CMD, type Result } from "@alien-ts/abi";
import { btfLoad } from "./btf-load.ts";
import type { BpfCall } from "./call.ts";
import { btfGetFdById, btfIds, mapGetFdById, mapIds, nextId, progGetFdById, programIds } from "./ids.ts";
import { objGetInfoByFd } from "./info.ts";
import { mapLookupBatch } from "./map-batch.ts";
import { mapCreate } from "./map-create.ts";
import {
  mapDeleteElem,
  mapFreeze,
  mapGetNextKey,
  mapLookupAndDeleteElem,
  mapLookupElem,
  mapUpdateElem,
} from "./map-elements.ts";
import { rawTracepointOpen } from "./raw-tracepoint.ts";
import { progLoad } from "./prog-load.ts";

export type CommandName = keyof typeof BPF_CMD;

export interface SupportedCommand {
  readonly supported: true;
  readonly since: string;
  readonly doc: string;
  run(call: BpfCall): Result<number>;
}

export interface UnsupportedCommand {
  readonly supported: false;
  readonly since: string;
}

export type CommandRow = SupportedCommand | UnsupportedCommand;

const command = (since: string, doc: string, run: SupportedCommand["run"]): SupportedCommand => ({
  supported: true,
  since,
  doc,
  run,
});
const absent = (since: string): UnsupportedCommand => ({ supported: false, since });

export const commands = {
  MAP_CREATE: command("3.18", "Makes a map; answers its fd.", mapCreate),
  MAP_LOOKUP_ELEM: command("3.19", "Copies the value of a key out.", mapLookupElem),
  MAP_UPDATE_ELEM: command("3.19", "Stores a value under a key.", mapUpdateElem),
  MAP_DELETE_ELEM: command("3.19", "Deletes a key.", mapDeleteElem),
  MAP_GET_NEXT_KEY: command("3.19", "Copies the key after a key out; the first for NULL.", mapGetNextKey),
  PROG_LOAD: command("3.18", "Verifies and loads a program; answers its fd.", progLoad),
  OBJ_PIN: absent("4.4"),
  OBJ_GET: absent("4.4"),
  PROG_ATTACH: absent("4.10"),
  PROG_DETACH: absent("4.10"),
  PROG_TEST_RUN: absent("4.12"),
  PROG_GET_NEXT_ID: command("4.13", "Tells the id of the next program.", nextId(programIds)),
  MAP_GET_NEXT_ID: command("4.13", "Tells the id of the next map.", nextId(mapIds)),
  PROG_GET_FD_BY_ID: command("4.13", "Answers a new fd of a program.", progGetFdById),
  MAP_GET_FD_BY_ID: command("4.13", "Answers a new fd of a map.", mapGetFdById),
  OBJ_GET_INFO_BY_FD: command("4.13", "Tells what a program, map or BTF object is.", objGetInfoByFd),
  PROG_QUERY: absent("4.15"),
  RAW_TRACEPOINT_OPEN: command(
    "4.17",
    "Attaches a program to what was named when it was loaded, or to a tracepoint. Nothing can be attached yet.",
    rawTracepointOpen,
  ),
  BTF_LOAD: command("4.18", "Checks and keeps types; answers their fd.", btfLoad),
  BTF_GET_FD_BY_ID: command("4.18", "Answers a new fd of a BTF object.", btfGetFdById),
  TASK_FD_QUERY: absent("4.18"),
  MAP_LOOKUP_AND_DELETE_ELEM: command(
    "4.20",
    "Copies the value of a key out and deletes it.",
    mapLookupAndDeleteElem,
  ),
  MAP_FREEZE: command("5.2", "Takes the right to write to a map from user space.", mapFreeze),
  BTF_GET_NEXT_ID: command("5.4", "Tells the id of the next BTF object.", nextId(btfIds)),
  MAP_LOOKUP_BATCH: command("5.6", "Copies many keys and values out.", mapLookupBatch),
  MAP_LOOKUP_AND_DELETE_BATCH: absent("5.6"),
  MAP_UPDATE_BATCH: absent("5.6"),
  MAP_DELETE_BATCH: absent("5.6"),
  LINK_CREATE: absent("5.7"),
  LINK_UPDATE: absent("5.7"),
  LINK_GET_FD_BY_ID: absent("5.8"),
  LINK_GET_NEXT_ID: absent("5.8"),
  ENABLE_STATS: absent("5.8"),
  ITER_CREATE: absent("5.8"),
  LINK_DETACH: absent("5.9"),
  PROG_BIND_MAP: absent("5.10"),
  TOKEN_CREATE: absent("6.9"),
  PROG_STREAM_READ_BY_FD: absent("6.17"),
} as const satisfies Record<CommandName, CommandRow>;

const nameOf = new Map<number, CommandName>(
  Object.entries(BPF_CMD).map(([name, number]) => [number, name as CommandName]),
);

/** The name of a command number, for traces; undefined where Linux has none. */
export const commandName = (number: number): CommandName | undefined => nameOf.get(number);
