/**
 * `ProgramCompiler`: makes WebAssembly of accepted programs. Without checks: the verifier has proved every access but the loads
 * that it marked, which read 0 at a bad address. Without fuel: loops end, as was proved, but for those that helpers make of callbacks
 * and those that may_goto ends; programs with such loops inside of others, or others inside of such, burn it.
 */
import type { KAddr } from "@alien-ts/abi";
import { CALL, type Insn, PSEUDO } from "@alien-ts/bpf-isa";
import { type BpfProgram as PreparedProgram, type FastHelper, Jit } from "@alien-ts/bpf-vm";
import type { HelperHost } from "../helpers/host.ts";
import { argumentCount, fastHelpers } from "../helpers/table.ts";
import type { JitHost } from "../ports.ts";

/** BPF_JIT_DUMP bytes per line. */
const DUMP_BYTES = 16;

export class ProgramCompiler {
  readonly #host: HelperHost;
  readonly #jit: Jit;
  readonly #helpers: readonly (FastHelper | undefined)[];

  /** @param mailbox `SCRATCH_BYTES` of the memory, for the JIT alone. */
  constructor(host: HelperHost, { wasm, memory }: JitHost, mailbox: KAddr) {
    this.#host = host;
    this.#jit = new Jit({ wasm, memory, linear: host.m, scratch: mailbox });
    this.#helpers = fastHelpers(host);
  }

  get resultHigh(): KAddr {
    return this.#jit.resultHigh;
  }

  /**
   * False where the program is too large for the host's engine: it is interpreted then.
   * @param isLong whether what bounds it multiplies: global functions are verified each by itself, and iterators nest.
   */
  compile(program: PreparedProgram, isLong: boolean): boolean {
    return this.#jit.compile(program, {
      checks: "none",
      hasFuel: isLong || mayTakeLong(program.insns),
      helper: (id) => this.#helpers[id],
      mapAt: (address) => this.#host.maps.at(address)?.shape,
      argumentCount,
    });
  }

  release(program: PreparedProgram): void {
    this.#jit.release(program);
  }

  /** `bpf_jit_dump`: what was compiled, in the kernel log. */
  dump(program: PreparedProgram, comm: string): void {
    const { ports } = this.#host;
    const code = program.compiled?.code ?? new Uint8Array();
    const pid = ports.currentPid();
    ports.printk(
      `flen=${program.insns.length} proglen=${code.length} pass=1 image=${"0".repeat(16)} from=${comm} pid=${pid}`,
    );
    for (let at = 0; at < code.length; at += DUMP_BYTES) {
      const bytes = Array.from(code.subarray(at, at + DUMP_BYTES), (byte) =>
        byte.toString(16).padStart(2, "0"),
      );
      ports.printk(`JIT code: ${at.toString(16).padStart(8, "0")}: ${bytes.join(" ")}`);
    }
  }
}

/** A loop of so many instructions may be left to may_goto: its eight million turns take a second. */
const SHORT = 256;

/** Whether numbers of turns that no proof bounds may be multiplied: a callback for a callback, loops or calls in one of may_goto. */
function mayTakeLong(insns: readonly Insn[]): boolean {
  const hasCallbacks = insns.some(({ opcode, src }) => opcode === WIDE_LOAD && src === PSEUDO.FUNC);
  if (hasCallbacks || !insns.some(({ opcode }) => opcode === MAY_GOTO)) return hasCallbacks;
  const hasCalls = insns.some(({ opcode, src }) => opcode === CALL_OPCODE && src === CALL.LOCAL);
  return hasCalls || insns.length > SHORT || insns.filter(isBackJump).length > 1;
}

function isBackJump({ opcode, off, imm }: Insn): boolean {
  const kind = opcode & 7;
  if (kind !== 5 && kind !== 6) return false;
  return opcode === GOTO_LONG ? imm < 0 : opcode !== CALL_OPCODE && off < 0;
}

const GOTO_LONG = 0x06;
const WIDE_LOAD = 0x18;
const MAY_GOTO = 0xe5;
const CALL_OPCODE = 0x85;
