/**
 * The interpreter's loop: one switch over prepared code (program.ts), until the frame it was started in exits.
 *
 * `interpret(machine, index, depth)` starts at the code index `index`; the machine holds everything but the program counter
 * and the fuel, which are written back before anything else runs. Every instruction costs one unit of fuel. Case labels are
 * literals, because only then does V8 make a jump table of them: the RFC's opcode bytes in register form, and `VARIANT`s.
 * The loop is one function on purpose: with a closure per instruction it runs at 0.6 of the speed (137 against 219 million
 * instructions per second, measured on a prototype). It stands in a function that makes it, so that V8 takes the core's file
 * (core.ts) for a constant. Numbers are forced to words (`| 0`, and `d | 1` for the high word's index), because V8 would
 * otherwise keep them as tagged ones and check every sum. The indices of `file` are bounded by `prepare`, hence the `!`.
 */
import { FRAME_BYTES, MAX_FRAMES, MAX_MAY_GOTO } from "@alien-ts/bpf-isa";
import { Core, FRAME } from "./core.ts";
import type { BpfMachine } from "./machine.ts";
import { RUN } from "./run.ts";
import type { RunStatus } from "./run.ts";
import { executeSlowly } from "./slow-path.ts";

/**
 * A status that no run ends with: the instruction at `pausedAt` is next. The loop pauses now and then, because V8 would never
 * change a running call of it for the code that it optimises for the function as a whole, a third faster than for one loop.
 */
export const PAUSED = -1;

interface Interpreter {
  readonly core: Core;
  /** How the run ends, or `PAUSED`. */
  readonly interpret: (machine: BpfMachine, index: number, depth: number) => RunStatus | typeof PAUSED;
}

// oxlint-disable-next-line max-lines-per-function -- one switch, see above
function makeInterpreter(): Interpreter {
  const core = new Core();
  const { file } = core;
  // Constants of the module would be loaded and checked at every use: bundlers make variables of them.
  /** Instructions between pauses. */
  const slice = 20_000;
  const two32 = 0x1_0000_0000;
  const smallDivisor = 0x20_0000;
  const frameBytes = FRAME_BYTES;
  const lastFrame = MAX_FRAMES - 1;
  const mayGotoTurns = MAX_MAY_GOTO;
  const frameWords = FRAME.words;

  // oxlint-disable-next-line max-lines-per-function -- as above
  function interpret(machine: BpfMachine, index: number, depth: number): RunStatus | typeof PAUSED {
    const { dv, u8 } = machine.memory;
    const { frames, high } = machine;
    const { stackTop } = machine.options;
    const trusted = machine.trustedEnd >>> 0;
    let program = machine.program!;
    let base = core.place(program);
    let fuel = machine.fuel | 0;
    if (fuel > slice) fuel = slice;
    machine.fuel -= fuel;
    let pc = (base + index) | 0;
    for (;;) {
      simple: for (;;) {
        if (fuel === 0) {
          machine.pausedAt = pc - base;
          return machine.fuel === 0 ? RUN.outOfFuel : PAUSED;
        }
        fuel = (fuel - 1) | 0;
        const d = file[pc | 1]!;
        const s = file[pc | 2]!;
        switch (file[pc]!) {
          case 0x0f: {
            // add64
            const low = file[d]!;
            const sum = (low + file[s]!) | 0;
            file[d | 1] = file[d | 1]! + file[s | 1]! + (sum >>> 0 < low >>> 0 ? 1 : 0);
            file[d] = sum;
            break;
          }
          case 0x1f: {
            // sub64
            const low = file[d]!;
            const by = file[s]!;
            file[d | 1] = file[d | 1]! - file[s | 1]! - (low >>> 0 < by >>> 0 ? 1 : 0);
            file[d] = low - by;
            break;
          }
          case 0x2f: {
            // mul64, in halves of 16 bits; a call of a function for it would cost as much as the multiplication
            const a = file[d]!;
            const b = file[s]!;
            const aLow = a & 0xffff;
            const aHigh = a >>> 16;
            const bLow = b & 0xffff;
            const bHigh = b >>> 16;
            const first = (Math.imul(aHigh, bLow) + (Math.imul(aLow, bLow) >>> 16)) >>> 0;
            const second = (Math.imul(aLow, bHigh) + (first & 0xffff)) >>> 0;
            const carry = Math.imul(aHigh, bHigh) + (first >>> 16) + (second >>> 16);
            file[d | 1] = carry + Math.imul(a, file[s | 1]!) + Math.imul(file[d | 1]!, b);
            file[d] = Math.imul(a, b);
            break;
          }
          case 0x3f: {
            // div64; divisors from 2^21 on are left to the slow path
            const by = file[s]!;
            if (file[s | 1]! !== 0 || by === 0) break simple;
            const high = file[d | 1]! >>> 0;
            if (high === 0) {
              file[d] = (file[d]! >>> 0) / (by >>> 0);
              break;
            }
            if (by >>> 0 >= smallDivisor) break simple;
            const highQuotient = (high / (by >>> 0)) >>> 0;
            file[d | 1] = highQuotient;
            file[d] = (((high - Math.imul(highQuotient, by)) >>> 0) * two32 + (file[d]! >>> 0)) / by;
            break;
          }
          case 0x9f: {
            // mod64, as div64
            const by = file[s]!;
            if (file[s | 1]! !== 0 || by === 0) break simple;
            const high = file[d | 1]! >>> 0;
            if (high === 0) {
              file[d] = (file[d]! >>> 0) % (by >>> 0);
              break;
            }
            if (by >>> 0 >= smallDivisor) break simple;
            const rest = (high % (by >>> 0)) * two32 + (file[d]! >>> 0);
            file[d] = rest - Math.floor(rest / by) * by;
            file[d | 1] = 0;
            break;
          }
          case 0x4f: // or64
            file[d]! |= file[s]!;
            file[d | 1]! |= file[s | 1]!;
            break;
          case 0x5f: // and64
            file[d]! &= file[s]!;
            file[d | 1]! &= file[s | 1]!;
            break;
          case 0xaf: // xor64
            file[d]! ^= file[s]!;
            file[d | 1]! ^= file[s | 1]!;
            break;
          case 0xbf: // mov64
            file[d] = file[s]!;
            file[d | 1] = file[s | 1]!;
            break;
          case 0x6f: {
            // lsh64
            const by = file[s]! & 63;
            const low = file[d]!;
            if (by >= 32) {
              file[d | 1] = low << (by - 32);
              file[d] = 0;
            } else if (by > 0) {
              file[d | 1] = (file[d | 1]! << by) | (low >>> (32 - by));
              file[d] = low << by;
            }
            break;
          }
          case 0x7f: {
            // rsh64
            const by = file[s]! & 63;
            const high = file[d | 1]!;
            if (by >= 32) {
              file[d] = high >>> (by - 32);
              file[d | 1] = 0;
            } else if (by > 0) {
              file[d] = (file[d]! >>> by) | (high << (32 - by));
              file[d | 1] = high >>> by;
            }
            break;
          }
          case 0xcf: {
            // arsh64
            const by = file[s]! & 63;
            const high = file[d | 1]!;
            if (by >= 32) {
              file[d] = high >> (by - 32);
              file[d | 1] = high >> 31;
            } else if (by > 0) {
              file[d] = (file[d]! >>> by) | (high << (32 - by));
              file[d | 1] = high >> by;
            }
            break;
          }
          case 0x8f: // neg64
            {
              const low = file[d]!;
              file[d] = -low;
              file[d | 1] = ~file[d | 1]! + (low === 0 ? 1 : 0);
            }
            break;
          case 0x07: {
            // movsx8_64
            const value = (file[s]! << 24) >> 24;
            file[d] = value;
            file[d | 1] = value >> 31;
            break;
          }
          case 0x17: {
            // movsx16_64
            const value = (file[s]! << 16) >> 16;
            file[d] = value;
            file[d | 1] = value >> 31;
            break;
          }
          case 0x27: {
            // movsx32_64
            const value = file[s]!;
            file[d] = value;
            file[d | 1] = value >> 31;
            break;
          }
          case 0xdf: {
            // swap64
            const low = file[d]!;
            const high = file[d | 1]!;
            file[d] = (high << 24) | ((high & 0xff00) << 8) | ((high >> 8) & 0xff00) | (high >>> 24);
            file[d | 1] = (low << 24) | ((low & 0xff00) << 8) | ((low >> 8) & 0xff00) | (low >>> 24);
            break;
          }
          case 0x0c: // add32
            file[d] = file[d]! + file[s]!;
            file[d | 1] = 0;
            break;
          case 0x1c: // sub32
            file[d] = file[d]! - file[s]!;
            file[d | 1] = 0;
            break;
          case 0x2c: // mul32
            file[d] = Math.imul(file[d]!, file[s]!);
            file[d | 1] = 0;
            break;
          case 0x4c: // or32
            file[d] = file[d]! | file[s]!;
            file[d | 1] = 0;
            break;
          case 0x5c: // and32
            file[d] = file[d]! & file[s]!;
            file[d | 1] = 0;
            break;
          case 0xac: // xor32
            file[d] = file[d]! ^ file[s]!;
            file[d | 1] = 0;
            break;
          case 0xbc: // mov32
            file[d] = file[s]!;
            file[d | 1] = 0;
            break;
          case 0x6c: // lsh32
            file[d] = file[d]! << file[s]!;
            file[d | 1] = 0;
            break;
          case 0x7c: // rsh32
            file[d] = file[d]! >>> file[s]!;
            file[d | 1] = 0;
            break;
          case 0xcc: // arsh32
            file[d] = file[d]! >> file[s]!;
            file[d | 1] = 0;
            break;
          case 0x8c: // neg32
            file[d] = -file[d]!;
            file[d | 1] = 0;
            break;
          case 0x04: // movsx8_32
            file[d] = (file[s]! << 24) >> 24;
            file[d | 1] = 0;
            break;
          case 0x14: // movsx16_32
            file[d] = (file[s]! << 16) >> 16;
            file[d | 1] = 0;
            break;
          case 0xd4: // zero extension of 16 bits
            file[d] = file[d]! & 0xffff;
            file[d | 1] = 0;
            break;
          case 0xdc: // swap16
            file[d] = ((file[d]! & 0xff) << 8) | ((file[d]! >> 8) & 0xff);
            file[d | 1] = 0;
            break;
          case 0xd7: {
            // swap32
            const low = file[d]!;
            file[d] = (low << 24) | ((low & 0xff00) << 8) | ((low >> 8) & 0xff00) | (low >>> 24);
            file[d | 1] = 0;
            break;
          }
          case 0x3c: {
            // div32
            const by = file[s]! >>> 0;
            file[d] = by === 0 ? 0 : (file[d]! >>> 0) / by;
            file[d | 1] = 0;
            break;
          }
          case 0x9c: {
            // mod32
            const by = file[s]! >>> 0;
            if (by !== 0) file[d] = (file[d]! >>> 0) % by;
            file[d | 1] = 0;
            break;
          }
          case 0x34: {
            // sdiv32
            const by = file[s]!;
            file[d] = by === 0 ? 0 : file[d]! / by;
            file[d | 1] = 0;
            break;
          }
          case 0x94: {
            // smod32
            const by = file[s]!;
            if (by !== 0) file[d] = file[d]! % by;
            file[d | 1] = 0;
            break;
          }
          case 0x18: // wide load
            file[d] = file[s]!;
            file[d | 1] = file[s | 1]!;
            pc = (pc + 8) | 0;
            continue;
          case 0x71: {
            // load u8
            const at = (file[s]! + file[pc | 3]!) | 0;
            if (at >>> 0 >= trusted && !machine.mayAccess(at, file[s | 1]!, 1, false)) break simple;
            file[d] = u8[at]!;
            file[d | 1] = 0;
            break;
          }
          case 0x69: {
            // load u16
            const at = (file[s]! + file[pc | 3]!) | 0;
            if (at >>> 0 >= trusted && !machine.mayAccess(at, file[s | 1]!, 2, false)) break simple;
            file[d] = dv.getUint16(at, true);
            file[d | 1] = 0;
            break;
          }
          case 0x61: {
            // load u32
            const at = (file[s]! + file[pc | 3]!) | 0;
            if (at >>> 0 >= trusted && !machine.mayAccess(at, file[s | 1]!, 4, false)) break simple;
            file[d] = dv.getInt32(at, true);
            file[d | 1] = 0;
            break;
          }
          case 0x79: {
            // load u64
            const at = (file[s]! + file[pc | 3]!) | 0;
            if (at >>> 0 >= trusted && !machine.mayAccess(at, file[s | 1]!, 8, false)) break simple;
            file[d] = dv.getInt32(at, true);
            file[d | 1] = dv.getInt32(at + 4, true);
            break;
          }
          case 0x91: {
            // load s8
            const at = (file[s]! + file[pc | 3]!) | 0;
            if (at >>> 0 >= trusted && !machine.mayAccess(at, file[s | 1]!, 1, false)) break simple;
            const value = dv.getInt8(at);
            file[d] = value;
            file[d | 1] = value >> 31;
            break;
          }
          case 0x89: {
            // load s16
            const at = (file[s]! + file[pc | 3]!) | 0;
            if (at >>> 0 >= trusted && !machine.mayAccess(at, file[s | 1]!, 2, false)) break simple;
            const value = dv.getInt16(at, true);
            file[d] = value;
            file[d | 1] = value >> 31;
            break;
          }
          case 0x81: {
            // load s32
            const at = (file[s]! + file[pc | 3]!) | 0;
            if (at >>> 0 >= trusted && !machine.mayAccess(at, file[s | 1]!, 4, false)) break simple;
            const value = dv.getInt32(at, true);
            file[d] = value;
            file[d | 1] = value >> 31;
            break;
          }
          case 0x73: {
            // store u8
            const at = (file[d]! + file[pc | 3]!) | 0;
            if (at >>> 0 >= trusted && !machine.mayAccess(at, file[d | 1]!, 1, true)) break simple;
            u8[at] = file[s]!;
            break;
          }
          case 0x6b: {
            // store u16
            const at = (file[d]! + file[pc | 3]!) | 0;
            if (at >>> 0 >= trusted && !machine.mayAccess(at, file[d | 1]!, 2, true)) break simple;
            dv.setInt16(at, file[s]!, true);
            break;
          }
          case 0x63: {
            // store u32
            const at = (file[d]! + file[pc | 3]!) | 0;
            if (at >>> 0 >= trusted && !machine.mayAccess(at, file[d | 1]!, 4, true)) break simple;
            dv.setInt32(at, file[s]!, true);
            break;
          }
          case 0x7b: {
            // store u64
            const at = (file[d]! + file[pc | 3]!) | 0;
            if (at >>> 0 >= trusted && !machine.mayAccess(at, file[d | 1]!, 8, true)) break simple;
            dv.setInt32(at, file[s]!, true);
            dv.setInt32(at + 4, file[s | 1]!, true);
            break;
          }
          case 0x05: // goto
            pc = file[pc | 3]!;
            continue;
          case 0x1d: // jeq64
            if (file[d]! === file[s]! && file[d | 1]! === file[s | 1]!) {
              pc = file[pc | 3]!;
              continue;
            }
            break;
          case 0x5d: // jne64
            if (file[d]! !== file[s]! || file[d | 1]! !== file[s | 1]!) {
              pc = file[pc | 3]!;
              continue;
            }
            break;
          case 0x4d: // jset64
            if (((file[d]! & file[s]!) | (file[d | 1]! & file[s | 1]!)) !== 0) {
              pc = file[pc | 3]!;
              continue;
            }
            break;
          case 0x2d: {
            // jgt64
            const a = file[d | 1]!;
            const b = file[s | 1]!;
            const isTaken = a === b ? file[d]! >>> 0 > file[s]! >>> 0 : a >>> 0 > b >>> 0;
            if (isTaken) {
              pc = file[pc | 3]!;
              continue;
            }
            break;
          }
          case 0x3d: {
            // jge64
            const a = file[d | 1]!;
            const b = file[s | 1]!;
            const isTaken = a === b ? file[d]! >>> 0 >= file[s]! >>> 0 : a >>> 0 > b >>> 0;
            if (isTaken) {
              pc = file[pc | 3]!;
              continue;
            }
            break;
          }
          case 0xad: {
            // jlt64
            const a = file[d | 1]!;
            const b = file[s | 1]!;
            const isTaken = a === b ? file[d]! >>> 0 < file[s]! >>> 0 : a >>> 0 < b >>> 0;
            if (isTaken) {
              pc = file[pc | 3]!;
              continue;
            }
            break;
          }
          case 0xbd: {
            // jle64
            const a = file[d | 1]!;
            const b = file[s | 1]!;
            const isTaken = a === b ? file[d]! >>> 0 <= file[s]! >>> 0 : a >>> 0 < b >>> 0;
            if (isTaken) {
              pc = file[pc | 3]!;
              continue;
            }
            break;
          }
          case 0x6d: {
            // jsgt64
            const a = file[d | 1]!;
            const b = file[s | 1]!;
            const isTaken = a === b ? file[d]! >>> 0 > file[s]! >>> 0 : a > b;
            if (isTaken) {
              pc = file[pc | 3]!;
              continue;
            }
            break;
          }
          case 0x7d: {
            // jsge64
            const a = file[d | 1]!;
            const b = file[s | 1]!;
            const isTaken = a === b ? file[d]! >>> 0 >= file[s]! >>> 0 : a > b;
            if (isTaken) {
              pc = file[pc | 3]!;
              continue;
            }
            break;
          }
          case 0xcd: {
            // jslt64
            const a = file[d | 1]!;
            const b = file[s | 1]!;
            const isTaken = a === b ? file[d]! >>> 0 < file[s]! >>> 0 : a < b;
            if (isTaken) {
              pc = file[pc | 3]!;
              continue;
            }
            break;
          }
          case 0xdd: {
            // jsle64
            const a = file[d | 1]!;
            const b = file[s | 1]!;
            const isTaken = a === b ? file[d]! >>> 0 <= file[s]! >>> 0 : a < b;
            if (isTaken) {
              pc = file[pc | 3]!;
              continue;
            }
            break;
          }
          case 0x1e: // jeq32
            if (file[d]! === file[s]!) {
              pc = file[pc | 3]!;
              continue;
            }
            break;
          case 0x5e: // jne32
            if (file[d]! !== file[s]!) {
              pc = file[pc | 3]!;
              continue;
            }
            break;
          case 0x4e: // jset32
            if ((file[d]! & file[s]!) !== 0) {
              pc = file[pc | 3]!;
              continue;
            }
            break;
          case 0x2e: // jgt32
            if (file[d]! >>> 0 > file[s]! >>> 0) {
              pc = file[pc | 3]!;
              continue;
            }
            break;
          case 0x3e: // jge32
            if (file[d]! >>> 0 >= file[s]! >>> 0) {
              pc = file[pc | 3]!;
              continue;
            }
            break;
          case 0xae: // jlt32
            if (file[d]! >>> 0 < file[s]! >>> 0) {
              pc = file[pc | 3]!;
              continue;
            }
            break;
          case 0xbe: // jle32
            if (file[d]! >>> 0 <= file[s]! >>> 0) {
              pc = file[pc | 3]!;
              continue;
            }
            break;
          case 0x6e: // jsgt32
            if (file[d]! > file[s]!) {
              pc = file[pc | 3]!;
              continue;
            }
            break;
          case 0x7e: // jsge32
            if (file[d]! >= file[s]!) {
              pc = file[pc | 3]!;
              continue;
            }
            break;
          case 0xce: // jslt32
            if (file[d]! < file[s]!) {
              pc = file[pc | 3]!;
              continue;
            }
            break;
          case 0xde: // jsle32
            if (file[d]! <= file[s]!) {
              pc = file[pc | 3]!;
              continue;
            }
            break;
          case 0xe5: {
            // may_goto
            const loopsLeft = Math.imul(machine.depth, frameWords) + 8;
            if (frames[loopsLeft] === 0) {
              pc = file[pc | 3]!;
              continue;
            }
            frames[loopsLeft]! -= 1;
            break;
          }
          case 0x8d: {
            // call of a function: saves r6 to r9, moves r10
            if (machine.depth === lastFrame) break simple;
            const at = Math.imul(machine.depth, frameWords);
            frames[at] = file[12]!;
            frames[at + 1] = file[13]!;
            frames[at + 2] = file[14]!;
            frames[at + 3] = file[15]!;
            frames[at + 4] = file[16]!;
            frames[at + 5] = file[17]!;
            frames[at + 6] = file[18]!;
            frames[at + 7] = file[19]!;
            frames[at + 9] = pc + 4 - base;
            machine.depth += 1;
            frames[at + 18] = mayGotoTurns;
            file[20]! -= frameBytes;
            pc = file[pc | 3]!;
            continue;
          }
          case 0x95: {
            // exit
            if (machine.depth === depth || machine.hasReplaced) break simple;
            machine.depth -= 1;
            const at = Math.imul(machine.depth, frameWords);
            file[12] = frames[at]!;
            file[13] = frames[at + 1]!;
            file[14] = frames[at + 2]!;
            file[15] = frames[at + 3]!;
            file[16] = frames[at + 4]!;
            file[17] = frames[at + 5]!;
            file[18] = frames[at + 6]!;
            file[19] = frames[at + 7]!;
            file[20] = stackTop - Math.imul(machine.depth, frameBytes);
            file[21] = high;
            pc = (base + frames[at + 9]!) | 0;
            continue;
          }
          default:
            break simple;
        }
        pc = (pc + 4) | 0;
      }
      machine.fuel += fuel;
      const at = pc - base;
      switch (file[pc]!) {
        case 0x85: // call of a helper
        case 0x86: {
          // call through a register
          const helper =
            file[pc]! === 0x85 ? program.calls[file[pc | 2]!] : program.helpers[file[file[pc | 1]!]!];
          if (helper === undefined) return machine.stop("unknown helper", at);
          machine.callIndex = at;
          helper(machine);
          if (machine.isInterrupted) {
            const status = machine.resume();
            if (status !== RUN.done) return status;
            // The helper made a tail call.
            program = machine.program!;
            base = core.place(program);
            pc = base;
          } else {
            if (program.generation !== core.generation) base = core.place(program);
            pc = (base + at + 4) | 0;
          }
          break;
        }
        case 0x8d: // call of a function
          return machine.stop("call depth", at);
        case 0x95: {
          // exit
          if (machine.depth === depth) return RUN.done;
          const next = machine.leave();
          program = machine.program!;
          base = core.place(program);
          pc = (base + next) | 0;
          break;
        }
        case 0x20: {
          // packet-legacy load
          const value = machine.readPacket(file[file[pc | 2]!]! + file[pc | 3]!, file[pc | 1]!);
          if (value === -2) return machine.stop("no packet", at);
          file[0] = value < 0 ? 0 : value;
          file[1] = 0;
          if (value >= 0) {
            pc = (pc + 4) | 0;
          } else {
            // Outside the packet the function returns 0: by the exit that `prepare` puts last, which is no instruction.
            pc = (base + program.code.length - 4) | 0;
            machine.fuel += 1;
          }
          break;
        }
        default: {
          const status = executeSlowly(machine, file, pc, at);
          if (status !== RUN.done) return status;
          pc = (pc + 4) | 0;
        }
      }
      fuel = machine.fuel | 0;
      if (fuel > slice) fuel = slice;
      machine.fuel -= fuel;
    }
  }
  return { core, interpret };
}

let made: Interpreter | undefined;
/** The one interpreter. The first run makes it: its core reserves 24 MB of addresses, which not every program needs. */
export const interpreter = (): Interpreter => (made ??= makeInterpreter());
