/**
 * Instructions that the interpreter's loop (interpreter.ts) leaves to a call, because they are rare or long: atomics, signed
 * divisions and divisions by large numbers; and the faults of those that must not go on. Interface: `executeSlowly`.
 */
import { NULL_GUARD_BYTES } from "@alien-ts/abi";
import { divide, divideSigned, modulo } from "./arithmetic.ts";
import { accessSize, executeAtomic, isLoadAcquire } from "./atomics.ts";
import type { BpfMachine } from "./machine.ts";
import { probedLoad, TRAP } from "./program.ts";
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
      const load = probedLoad(operation);
      if (load !== undefined) {
        loadProbed(machine, file, load, pc);
        return RUN.done;
      }
      const group = operation & CLASS.mask;
      const isStore = group === CLASS.store;
      if (isStore || group === CLASS.load) {
        return machine.stopAccess(at, isStore ? d : s, extra, accessSize(operation), isStore);
      }
      return machine.stop(extra === TRAP.unknownHelper ? "unknown helper" : "bad instruction", at);
    }
  }
}

/** The load `opcode`, of the instruction at `pc`, through a pointer that may be bad: 0 unless it lies in the memory. */
function loadProbed({ memory, high }: BpfMachine, file: Int32Array, opcode: number, pc: number): void {
  const [d, s, offset] = [file[pc + 1]!, file[pc + 2]!, file[pc + 3]!];
  const size = accessSize(opcode);
  const sum = (file[s]! >>> 0) + offset;
  const carry = sum < 0 ? -1 : sum >= 0x1_0000_0000 ? 1 : 0;
  const at = sum >>> 0;
  const isGood = ((file[s + 1]! + carry) | 0) === high && at >= NULL_GUARD_BYTES && at <= memory.size - size;
  const isSigned = (opcode & 0xe0) === 0x80;
  file[d] = isGood ? readWord(memory.dv, at, size, isSigned) : 0;
  if (!isGood) file[d + 1] = 0;
  else if (size === 8) file[d + 1] = memory.dv.getInt32(at + 4, true);
  else file[d + 1] = isSigned ? file[d]! >> 31 : 0;
}

/** The low word of what lies at `at`. */
function readWord(dv: DataView, at: number, size: number, isSigned: boolean): number {
  switch (size) {
    case 1:
      return isSigned ? dv.getInt8(at) : dv.getUint8(at);
    case 2:
      return isSigned ? dv.getInt16(at, true) : dv.getUint16(at, true);
    default:
      return dv.getInt32(at, true);
  }
}
