/**
 * The narrow form of a process that libraries for user space ask for (aya-ts's `Sys`): raw system calls, memory that they
 * can point into, and addresses for signal handlers.
 */
import type { UAddr, UserMemory } from "@alien-ts/abi";
import type { UserFunction } from "../host/program.ts";
import type { Process } from "./process.ts";

export interface ProcessSys {
  readonly memory: UserMemory;
  trap(
    nr: number,
    a0?: number,
    a1?: number,
    a2?: number,
    a3?: number,
    a4?: number,
    a5?: number,
  ): number | Promise<number>;
  alloc(bytes: number): UAddr | Promise<UAddr>;
  free(addr: UAddr): void | Promise<void>;
  handlerAddress(handler: (signal: number) => void | Promise<void>): UAddr;
}

export function sysOf(process: Process): ProcessSys {
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
