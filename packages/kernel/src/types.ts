/**
 * The files whose exported structures are in the kernel's BTF, beside those of the files with rows (text.ts), in BTF order. A new
 * file with a `struct()` is one line in each list; a tidy test finds those that are missing.
 */
import * as abi from "@alien-ts/abi";
import type { KernelTypes } from "./core/btf.ts";
import { BPF_ENUMS } from "./bpf/types.ts";
import * as bpfTypes from "./bpf/types.ts";
import * as coreCred from "./core/cred.ts";
import * as coreTask from "./core/task.ts";
import * as fsBinfmtBinprm from "./fs/binfmt/binprm.ts";
import * as ipcSocketStructs from "./ipc/socket/structs.ts";
import * as ipcTtyStructs from "./ipc/tty/structs.ts";
import * as mmMmStruct from "./mm/mm-struct.ts";
import * as taskDeliver from "./task/deliver.ts";
import * as traceEventRows from "./trace/event-rows.ts";
import * as vfsStructs from "./vfs/structs.ts";

export const TYPES: KernelTypes = {
  files: [
    abi,
    coreTask,
    coreCred,
    mmMmStruct,
    taskDeliver,
    vfsStructs,
    ipcSocketStructs,
    ipcTtyStructs,
    fsBinfmtBinprm,
    traceEventRows,
    bpfTypes,
  ],
  enums: BPF_ENUMS,
  tracepoints: traceEventRows.TRACEPOINT_PARAMETERS,
};
