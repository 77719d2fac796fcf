/**
 * The interpreter's loop: one switch over prepared code (program.ts), until the frame it was started in exits.
 *
 * `interpret(machine, index, depth)` starts at the code index `index`; the machine holds everything but the program counter
 * and the fuel, which are written back before anything else runs. Every instruction costs one unit of fuel. Case labels are
 * literals, because only then does V8 make a jump table of them: the RFC's opcode bytes in register form, and `VARIANT`s.
 * The loop is one function on purpose: with a closure per instruction it runs at 0.6 of the speed (137 against 219 million
 * instructions per second, measured on a prototype). The indices of `code` and `regs` are bounded by `prepare`, hence the `!`.
 */
import { divide, divideSigned, modulo, negate, swap16, swap32, swap64 } from "./arithmetic.ts";
import { accessSize, executeAtomic, isLoadAcquire } from "./atomics.ts";
import type { BpfMachine } from "./machine.ts";
import { TRAP } from "./program.ts";
import { RUN } from "./run.ts";
import type { RunStatus } from "./run.ts";

// oxlint-disable-next-line max-lines-per-function -- one switch, see above
export function interpret(machine: BpfMachine, index: number, depth: number): RunStatus {
  const { dv, u8 } = machine.memory;
  // Below it an unchecked access needs no further test; V8 inlines only the first nine calls of `mayAccess`.
  const limit = machine.trustedLimit;
  let { code, calls } = machine.program!;
  let { regs } = machine;
  let { fuel } = machine;
  let pc = index;
  for (;;) {
    if (fuel === 0) {
      machine.fuel = 0;
      machine.pausedAt = pc;
      return RUN.outOfFuel;
    }
    fuel -= 1;
    const d = code[pc + 1]!;
    const s = code[pc + 2]!;
    switch (code[pc]!) {
      case 0x0f: {
        // add64
        const low = regs[d]!;
        const sum = (low + regs[s]!) | 0;
        regs[d + 1] = regs[d + 1]! + regs[s + 1]! + (sum >>> 0 < low >>> 0 ? 1 : 0);
        regs[d] = sum;
        pc += 4;
        break;
      }
      case 0x1f: {
        // sub64
        const low = regs[d]!;
        const by = regs[s]!;
        regs[d + 1] = regs[d + 1]! - regs[s + 1]! - (low >>> 0 < by >>> 0 ? 1 : 0);
        regs[d] = low - by;
        pc += 4;
        break;
      }
      case 0x2f: {
        // mul64, in halves of 16 bits; a call of a function for it would cost as much as the multiplication
        const a = regs[d]!;
        const b = regs[s]!;
        const aLow = a & 0xffff;
        const aHigh = a >>> 16;
        const bLow = b & 0xffff;
        const bHigh = b >>> 16;
        const first = (Math.imul(aHigh, bLow) + (Math.imul(aLow, bLow) >>> 16)) >>> 0;
        const second = (Math.imul(aLow, bHigh) + (first & 0xffff)) >>> 0;
        const carry = Math.imul(aHigh, bHigh) + (first >>> 16) + (second >>> 16);
        regs[d + 1] = carry + Math.imul(a, regs[s + 1]!) + Math.imul(regs[d + 1]!, b);
        regs[d] = Math.imul(a, b);
        pc += 4;
        break;
      }
      case 0x3f: // div64
        divide(regs, d, s);
        pc += 4;
        break;
      case 0x9f: // mod64
        modulo(regs, d, s);
        pc += 4;
        break;
      case 0x37: // sdiv64
        divideSigned(regs, d, s, false);
        pc += 4;
        break;
      case 0x97: // smod64
        divideSigned(regs, d, s, true);
        pc += 4;
        break;
      case 0x4f: // or64
        regs[d]! |= regs[s]!;
        regs[d + 1]! |= regs[s + 1]!;
        pc += 4;
        break;
      case 0x5f: // and64
        regs[d]! &= regs[s]!;
        regs[d + 1]! &= regs[s + 1]!;
        pc += 4;
        break;
      case 0xaf: // xor64
        regs[d]! ^= regs[s]!;
        regs[d + 1]! ^= regs[s + 1]!;
        pc += 4;
        break;
      case 0xbf: // mov64
        regs[d] = regs[s]!;
        regs[d + 1] = regs[s + 1]!;
        pc += 4;
        break;
      case 0x6f: {
        // lsh64
        const by = regs[s]! & 63;
        const low = regs[d]!;
        if (by >= 32) {
          regs[d + 1] = low << (by - 32);
          regs[d] = 0;
        } else if (by > 0) {
          regs[d + 1] = (regs[d + 1]! << by) | (low >>> (32 - by));
          regs[d] = low << by;
        }
        pc += 4;
        break;
      }
      case 0x7f: {
        // rsh64
        const by = regs[s]! & 63;
        const high = regs[d + 1]!;
        if (by >= 32) {
          regs[d] = high >>> (by - 32);
          regs[d + 1] = 0;
        } else if (by > 0) {
          regs[d] = (regs[d]! >>> by) | (high << (32 - by));
          regs[d + 1] = high >>> by;
        }
        pc += 4;
        break;
      }
      case 0xcf: {
        // arsh64
        const by = regs[s]! & 63;
        const high = regs[d + 1]!;
        if (by >= 32) {
          regs[d] = high >> (by - 32);
          regs[d + 1] = high >> 31;
        } else if (by > 0) {
          regs[d] = (regs[d]! >>> by) | (high << (32 - by));
          regs[d + 1] = high >> by;
        }
        pc += 4;
        break;
      }
      case 0x8f: // neg64
        negate(regs, d);
        pc += 4;
        break;
      case 0x07: {
        // movsx8_64
        const value = (regs[s]! << 24) >> 24;
        regs[d] = value;
        regs[d + 1] = value >> 31;
        pc += 4;
        break;
      }
      case 0x17: {
        // movsx16_64
        const value = (regs[s]! << 16) >> 16;
        regs[d] = value;
        regs[d + 1] = value >> 31;
        pc += 4;
        break;
      }
      case 0x27: {
        // movsx32_64
        const value = regs[s]!;
        regs[d] = value;
        regs[d + 1] = value >> 31;
        pc += 4;
        break;
      }
      case 0xdf: // swap64
        swap64(regs, d);
        pc += 4;
        break;
      case 0x0c: // add32
        regs[d] = regs[d]! + regs[s]!;
        regs[d + 1] = 0;
        pc += 4;
        break;
      case 0x1c: // sub32
        regs[d] = regs[d]! - regs[s]!;
        regs[d + 1] = 0;
        pc += 4;
        break;
      case 0x2c: // mul32
        regs[d] = Math.imul(regs[d]!, regs[s]!);
        regs[d + 1] = 0;
        pc += 4;
        break;
      case 0x4c: // or32
        regs[d] = regs[d]! | regs[s]!;
        regs[d + 1] = 0;
        pc += 4;
        break;
      case 0x5c: // and32
        regs[d] = regs[d]! & regs[s]!;
        regs[d + 1] = 0;
        pc += 4;
        break;
      case 0xac: // xor32
        regs[d] = regs[d]! ^ regs[s]!;
        regs[d + 1] = 0;
        pc += 4;
        break;
      case 0xbc: // mov32
        regs[d] = regs[s]!;
        regs[d + 1] = 0;
        pc += 4;
        break;
      case 0x6c: // lsh32
        regs[d] = regs[d]! << regs[s]!;
        regs[d + 1] = 0;
        pc += 4;
        break;
      case 0x7c: // rsh32
        regs[d] = regs[d]! >>> regs[s]!;
        regs[d + 1] = 0;
        pc += 4;
        break;
      case 0xcc: // arsh32
        regs[d] = regs[d]! >> regs[s]!;
        regs[d + 1] = 0;
        pc += 4;
        break;
      case 0x8c: // neg32
        regs[d] = -regs[d]!;
        regs[d + 1] = 0;
        pc += 4;
        break;
      case 0x04: // movsx8_32
        regs[d] = (regs[s]! << 24) >> 24;
        regs[d + 1] = 0;
        pc += 4;
        break;
      case 0x14: // movsx16_32
        regs[d] = (regs[s]! << 16) >> 16;
        regs[d + 1] = 0;
        pc += 4;
        break;
      case 0xd4: // zero extension of 16 bits
        regs[d] = regs[d]! & 0xffff;
        regs[d + 1] = 0;
        pc += 4;
        break;
      case 0xdc: // swap16
        regs[d] = swap16(regs[d]!);
        regs[d + 1] = 0;
        pc += 4;
        break;
      case 0xd7: // swap32
        regs[d] = swap32(regs[d]!);
        regs[d + 1] = 0;
        pc += 4;
        break;
      case 0x3c: {
        // div32
        const by = regs[s]! >>> 0;
        regs[d] = by === 0 ? 0 : (regs[d]! >>> 0) / by;
        regs[d + 1] = 0;
        pc += 4;
        break;
      }
      case 0x9c: {
        // mod32
        const by = regs[s]! >>> 0;
        if (by !== 0) regs[d] = (regs[d]! >>> 0) % by;
        regs[d + 1] = 0;
        pc += 4;
        break;
      }
      case 0x34: {
        // sdiv32
        const by = regs[s]!;
        regs[d] = by === 0 ? 0 : regs[d]! / by;
        regs[d + 1] = 0;
        pc += 4;
        break;
      }
      case 0x94: {
        // smod32
        const by = regs[s]!;
        if (by !== 0) regs[d] = regs[d]! % by;
        regs[d + 1] = 0;
        pc += 4;
        break;
      }
      case 0x18: // wide load
        regs[d] = regs[s]!;
        regs[d + 1] = regs[s + 1]!;
        pc += 8;
        break;
      case 0x71: {
        // load u8
        const offset = code[pc + 3]!;
        const at = (regs[s]! + offset) | 0;
        if (at >>> 0 > limit && !machine.mayAccess(at, regs[s + 1]!, 1, false)) {
          machine.fuel = fuel;
          return machine.stopAccess(pc, s, offset, 1, false);
        }
        regs[d] = u8[at]!;
        regs[d + 1] = 0;
        pc += 4;
        break;
      }
      case 0x69: {
        // load u16
        const offset = code[pc + 3]!;
        const at = (regs[s]! + offset) | 0;
        if (at >>> 0 > limit && !machine.mayAccess(at, regs[s + 1]!, 2, false)) {
          machine.fuel = fuel;
          return machine.stopAccess(pc, s, offset, 2, false);
        }
        regs[d] = dv.getUint16(at, true);
        regs[d + 1] = 0;
        pc += 4;
        break;
      }
      case 0x61: {
        // load u32
        const offset = code[pc + 3]!;
        const at = (regs[s]! + offset) | 0;
        if (at >>> 0 > limit && !machine.mayAccess(at, regs[s + 1]!, 4, false)) {
          machine.fuel = fuel;
          return machine.stopAccess(pc, s, offset, 4, false);
        }
        regs[d] = dv.getInt32(at, true);
        regs[d + 1] = 0;
        pc += 4;
        break;
      }
      case 0x79: {
        // load u64
        const offset = code[pc + 3]!;
        const at = (regs[s]! + offset) | 0;
        if (at >>> 0 > limit && !machine.mayAccess(at, regs[s + 1]!, 8, false)) {
          machine.fuel = fuel;
          return machine.stopAccess(pc, s, offset, 8, false);
        }
        regs[d] = dv.getInt32(at, true);
        regs[d + 1] = dv.getInt32(at + 4, true);
        pc += 4;
        break;
      }
      case 0x91: {
        // load s8
        const offset = code[pc + 3]!;
        const at = (regs[s]! + offset) | 0;
        if (at >>> 0 > limit && !machine.mayAccess(at, regs[s + 1]!, 1, false)) {
          machine.fuel = fuel;
          return machine.stopAccess(pc, s, offset, 1, false);
        }
        const value = dv.getInt8(at);
        regs[d] = value;
        regs[d + 1] = value >> 31;
        pc += 4;
        break;
      }
      case 0x89: {
        // load s16
        const offset = code[pc + 3]!;
        const at = (regs[s]! + offset) | 0;
        if (at >>> 0 > limit && !machine.mayAccess(at, regs[s + 1]!, 2, false)) {
          machine.fuel = fuel;
          return machine.stopAccess(pc, s, offset, 2, false);
        }
        const value = dv.getInt16(at, true);
        regs[d] = value;
        regs[d + 1] = value >> 31;
        pc += 4;
        break;
      }
      case 0x81: {
        // load s32
        const offset = code[pc + 3]!;
        const at = (regs[s]! + offset) | 0;
        if (at >>> 0 > limit && !machine.mayAccess(at, regs[s + 1]!, 4, false)) {
          machine.fuel = fuel;
          return machine.stopAccess(pc, s, offset, 4, false);
        }
        const value = dv.getInt32(at, true);
        regs[d] = value;
        regs[d + 1] = value >> 31;
        pc += 4;
        break;
      }
      case 0x73: {
        // store u8
        const offset = code[pc + 3]!;
        const at = (regs[d]! + offset) | 0;
        if (at >>> 0 > limit && !machine.mayAccess(at, regs[d + 1]!, 1, true)) {
          machine.fuel = fuel;
          return machine.stopAccess(pc, d, offset, 1, true);
        }
        u8[at] = regs[s]!;
        pc += 4;
        break;
      }
      case 0x6b: {
        // store u16
        const offset = code[pc + 3]!;
        const at = (regs[d]! + offset) | 0;
        if (at >>> 0 > limit && !machine.mayAccess(at, regs[d + 1]!, 2, true)) {
          machine.fuel = fuel;
          return machine.stopAccess(pc, d, offset, 2, true);
        }
        dv.setInt16(at, regs[s]!, true);
        pc += 4;
        break;
      }
      case 0x63: {
        // store u32
        const offset = code[pc + 3]!;
        const at = (regs[d]! + offset) | 0;
        if (at >>> 0 > limit && !machine.mayAccess(at, regs[d + 1]!, 4, true)) {
          machine.fuel = fuel;
          return machine.stopAccess(pc, d, offset, 4, true);
        }
        dv.setInt32(at, regs[s]!, true);
        pc += 4;
        break;
      }
      case 0x7b: {
        // store u64
        const offset = code[pc + 3]!;
        const at = (regs[d]! + offset) | 0;
        if (at >>> 0 > limit && !machine.mayAccess(at, regs[d + 1]!, 8, true)) {
          machine.fuel = fuel;
          return machine.stopAccess(pc, d, offset, 8, true);
        }
        dv.setInt32(at, regs[s]!, true);
        dv.setInt32(at + 4, regs[s + 1]!, true);
        pc += 4;
        break;
      }
      case 0x05: // goto
        pc = code[pc + 3]!;
        break;
      case 0x1d: // jeq64
        pc = regs[d]! === regs[s]! && regs[d + 1]! === regs[s + 1]! ? code[pc + 3]! : pc + 4;
        break;
      case 0x5d: // jne64
        pc = regs[d]! !== regs[s]! || regs[d + 1]! !== regs[s + 1]! ? code[pc + 3]! : pc + 4;
        break;
      case 0x4d: // jset64
        pc = ((regs[d]! & regs[s]!) | (regs[d + 1]! & regs[s + 1]!)) !== 0 ? code[pc + 3]! : pc + 4;
        break;
      case 0x2d: {
        // jgt64
        const a = regs[d + 1]!;
        const b = regs[s + 1]!;
        const isTaken = a === b ? regs[d]! >>> 0 > regs[s]! >>> 0 : a >>> 0 > b >>> 0;
        pc = isTaken ? code[pc + 3]! : pc + 4;
        break;
      }
      case 0x3d: {
        // jge64
        const a = regs[d + 1]!;
        const b = regs[s + 1]!;
        const isTaken = a === b ? regs[d]! >>> 0 >= regs[s]! >>> 0 : a >>> 0 > b >>> 0;
        pc = isTaken ? code[pc + 3]! : pc + 4;
        break;
      }
      case 0xad: {
        // jlt64
        const a = regs[d + 1]!;
        const b = regs[s + 1]!;
        const isTaken = a === b ? regs[d]! >>> 0 < regs[s]! >>> 0 : a >>> 0 < b >>> 0;
        pc = isTaken ? code[pc + 3]! : pc + 4;
        break;
      }
      case 0xbd: {
        // jle64
        const a = regs[d + 1]!;
        const b = regs[s + 1]!;
        const isTaken = a === b ? regs[d]! >>> 0 <= regs[s]! >>> 0 : a >>> 0 < b >>> 0;
        pc = isTaken ? code[pc + 3]! : pc + 4;
        break;
      }
      case 0x6d: {
        // jsgt64
        const a = regs[d + 1]!;
        const b = regs[s + 1]!;
        const isTaken = a === b ? regs[d]! >>> 0 > regs[s]! >>> 0 : a > b;
        pc = isTaken ? code[pc + 3]! : pc + 4;
        break;
      }
      case 0x7d: {
        // jsge64
        const a = regs[d + 1]!;
        const b = regs[s + 1]!;
        const isTaken = a === b ? regs[d]! >>> 0 >= regs[s]! >>> 0 : a > b;
        pc = isTaken ? code[pc + 3]! : pc + 4;
        break;
      }
      case 0xcd: {
        // jslt64
        const a = regs[d + 1]!;
        const b = regs[s + 1]!;
        const isTaken = a === b ? regs[d]! >>> 0 < regs[s]! >>> 0 : a < b;
        pc = isTaken ? code[pc + 3]! : pc + 4;
        break;
      }
      case 0xdd: {
        // jsle64
        const a = regs[d + 1]!;
        const b = regs[s + 1]!;
        const isTaken = a === b ? regs[d]! >>> 0 <= regs[s]! >>> 0 : a < b;
        pc = isTaken ? code[pc + 3]! : pc + 4;
        break;
      }
      case 0x1e: // jeq32
        pc = regs[d]! === regs[s]! ? code[pc + 3]! : pc + 4;
        break;
      case 0x5e: // jne32
        pc = regs[d]! !== regs[s]! ? code[pc + 3]! : pc + 4;
        break;
      case 0x4e: // jset32
        pc = (regs[d]! & regs[s]!) !== 0 ? code[pc + 3]! : pc + 4;
        break;
      case 0x2e: // jgt32
        pc = regs[d]! >>> 0 > regs[s]! >>> 0 ? code[pc + 3]! : pc + 4;
        break;
      case 0x3e: // jge32
        pc = regs[d]! >>> 0 >= regs[s]! >>> 0 ? code[pc + 3]! : pc + 4;
        break;
      case 0xae: // jlt32
        pc = regs[d]! >>> 0 < regs[s]! >>> 0 ? code[pc + 3]! : pc + 4;
        break;
      case 0xbe: // jle32
        pc = regs[d]! >>> 0 <= regs[s]! >>> 0 ? code[pc + 3]! : pc + 4;
        break;
      case 0x6e: // jsgt32
        pc = regs[d]! > regs[s]! ? code[pc + 3]! : pc + 4;
        break;
      case 0x7e: // jsge32
        pc = regs[d]! >= regs[s]! ? code[pc + 3]! : pc + 4;
        break;
      case 0xce: // jslt32
        pc = regs[d]! < regs[s]! ? code[pc + 3]! : pc + 4;
        break;
      case 0xde: // jsle32
        pc = regs[d]! <= regs[s]! ? code[pc + 3]! : pc + 4;
        break;
      case 0xe5: // may_goto
        if (machine.loopsLeft === 0) pc = code[pc + 3]!;
        else {
          machine.loopsLeft -= 1;
          pc += 4;
        }
        break;
      case 0x85: // call of a helper
      case 0x86: {
        // call through a register
        const helper = code[pc] === 0x85 ? calls[s] : machine.program!.helpers[regs[d]!];
        machine.fuel = fuel;
        if (helper === undefined) return machine.stop("unknown helper", pc);
        machine.callIndex = pc;
        helper(machine);
        fuel = machine.fuel;
        pc += 4;
        if (machine.isInterrupted) {
          const status = machine.resume();
          if (status !== RUN.done) return status;
          // The helper made a tail call.
          ({ code, calls } = machine.program!);
          ({ regs } = machine);
          pc = 0;
        }
        break;
      }
      case 0x8d: // call of a function
        if (!machine.enter(pc + 4)) {
          machine.fuel = fuel;
          return machine.stop("call depth", pc);
        }
        pc = code[pc + 3]!;
        break;
      case 0x95: // exit
        if (machine.depth === depth) {
          machine.fuel = fuel;
          return RUN.done;
        }
        pc = machine.leave();
        if (machine.regs !== regs) {
          ({ code, calls } = machine.program!);
          ({ regs } = machine);
        }
        break;
      case 0x20: {
        // packet-legacy load
        const value = machine.readPacket(regs[s]! + code[pc + 3]!, d);
        if (value === -2) {
          machine.fuel = fuel;
          return machine.stop("no packet", pc);
        }
        regs[0] = value < 0 ? 0 : value;
        regs[1] = 0;
        if (value >= 0) {
          pc += 4;
        } else {
          // Outside the packet the function returns 0: by the exit that `prepare` puts last, which is no instruction.
          pc = code.length - 4;
          fuel += 1;
        }
        break;
      }
      case 0xc3: // atomic u32
      case 0xcb: // atomic u16
      case 0xd3: // atomic u8
      case 0xdb: {
        // atomic u64
        const fault = executeAtomic(machine, code[pc]!, d, s, code[pc + 3]!);
        if (fault !== null) {
          machine.fuel = fuel;
          const isRead = isLoadAcquire(s);
          const base = isRead ? s & 0xff : d;
          return machine.stopAccess(pc, base, code[pc + 3]!, accessSize(code[pc]!), !isRead, fault);
        }
        pc += 4;
        break;
      }
      default: // TRAP
        machine.fuel = fuel;
        return machine.stop(code[pc + 3] === TRAP.unknownHelper ? "unknown helper" : "bad instruction", pc);
    }
  }
}
