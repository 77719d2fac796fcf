/** The `Sys` that aya-ts asks for, over a process of this libc. */
import type { Sys } from "aya-ts";
import type { UserFunction } from "../host/program.ts";
import type { Process } from "../libc/process.ts";

export function sysOf(process: Process): Sys {
  return {
    memory: process.memory,
    trap: (nr, a0, a1, a2, a3, a4, a5) => process.trap(nr, a0, a1, a2, a3, a4, a5),
    alloc: (bytes) => process.malloc(bytes),
    free: (addr) => process.free(addr),
    handlerAddress: (handler) => {
      const entry: UserFunction = (_task, signal) => handler(signal);
      return process.task.space.addressOf(entry);
    },
  };
}
