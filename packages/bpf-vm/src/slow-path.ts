/**
 * Instructions that the interpreter's loop (interpreter.ts) leaves to a call, because they are rare or long: atomics, signed
 * divisions and divisions by large numbers; and the faults of those that must not go on. Interface: `executeSlowly`.
 */
import { divide, divideSigned, modulo } from "./arithmetic.ts";
import { accessSize, executeAtomic, isLoadAcquire } from "./atomics.ts";
import type { BpfMachine } from "./machine.ts";
import { TRAP } from "./program.ts";
import { RUN } from "./run.ts";
import type { RunStatus } from "./run.ts";

/** Classes of opcodes. */
const CLASS = { mask: 7, load: 1, store: 3 } as const;

/**
 * Executes the instruction whose words are at `file[pc]`, and whose code index is `at`: `RUN.done` where the next one is to
 * follow, else how the run ends. A load or store is here because it was refused.
 */
export function executeSlowly(machine: BpfMachine, file: Int32Array, pc: number, at: number): RunStatus {
  const operation = file[pc]!;
  const d = file[pc + 1]!;
  const s = file[pc + 2]!;
  const extra = file[pc + 3]!;
  switch (operation) {
    case 0x3f: // div64
      divide(file, d, s);
      return RUN.done;
    case 0x9f: // mod64
      modulo(file, d, s);
      return RUN.done;
    case 0x37: // sdiv64
      divideSigned(file, d, s, false);
      return RUN.done;
    case 0x97: // smod64
      divideSigned(file, d, s, true);
      return RUN.done;
    case 0xc3: // atomic u32
    case 0xcb: // atomic u16
    case 0xd3: // atomic u8
    case 0xdb: {
      // atomic u64
      const fault = executeAtomic(machine, operation, d, s, extra);
      if (fault === null) return RUN.done;
      const isRead = isLoadAcquire(s);
      return machine.stopAccess(at, isRead ? s & 0xff : d, extra, accessSize(operation), !isRead, fault);
    }
    default: {
      const group = operation & CLASS.mask;
      const isStore = group === CLASS.store;
      if (isStore || group === CLASS.load) {
        return machine.stopAccess(at, isStore ? d : s, extra, accessSize(operation), isStore);
      }
      return machine.stop(extra === TRAP.unknownHelper ? "unknown helper" : "bad instruction", at);
    }
  }
}
