/**
 * `VmRunner`: programs that no verifier has seen, each over memory of its own, on the interpreter or the JIT.
 *
 * A case is a program and the bytes that r1 points at; r2 is their length. The answer is r0 or what went wrong: a run never
 * throws. Programs may call the helpers that the bpf_conformance suite defines (0 to 5). Nothing of a case is left for the next.
 */
import { LinearMemory } from "@alien-ts/abi";
import { INSN_BYTES, MAX_INSNS, asm, decode, program } from "@alien-ts/bpf-isa";
import {
  BpfMachine,
  BpfProgram,
  describeFault,
  Jit,
  prepare,
  RUN,
  runOptions,
  SCRATCH_BYTES,
  type Helper,
  type PacketSource,
  type WasmApi,
  type WasmMemory,
} from "@alien-ts/bpf-vm";

export interface VmCase {
  readonly insns: Uint8Array;
  readonly memory: Uint8Array;
}

/** r0, 64 bits wide; or why there is none. */
export type VmAnswer = { readonly result: bigint } | { readonly error: string };

const STACK_TOP = 0x2_0000;
const STACK_BYTES = 8 * 512;
const SCRATCH = 0x2_0000;
const CONTEXT = 0x3_0000;
const PAGES = 512;
const PAGE_BYTES = 0x1_0000;
/** Bytes that a case's memory may have. */
const MOST_MEMORY = PAGES * PAGE_BYTES - CONTEXT;

interface HostGlobals {
  readonly WebAssembly: WasmApi & {
    readonly Memory: new (limits: { initial: number }) => WasmMemory & { readonly buffer: ArrayBuffer };
  };
}

export class VmRunner {
  private readonly linear: LinearMemory;
  private readonly machine: BpfMachine;
  private readonly jit: Jit | undefined;
  private readonly fuel: number;
  private packetBytes = 0;

  constructor(engine: "interpret" | "jit", fuel: number) {
    const { WebAssembly } = globalThis as unknown as HostGlobals;
    const memory = new WebAssembly.Memory({ initial: PAGES });
    this.linear = new LinearMemory(memory.buffer);
    this.machine = new BpfMachine(this.linear);
    this.fuel = fuel;
    if (SCRATCH + SCRATCH_BYTES > CONTEXT) throw new Error("the mailbox does not fit");
    if (engine === "jit") {
      this.jit = new Jit({ wasm: WebAssembly, memory, linear: this.linear, scratch: SCRATCH });
    }
  }

  /** Answers in the order of the cases. Several at once cost less to compile than one by one. */
  runAll(cases: readonly VmCase[]): VmAnswer[] {
    const prepared = cases.map((one) => this.prepare(one));
    const programs = prepared.filter((one) => one instanceof BpfProgram);
    const isCompiled =
      this.jit === undefined ||
      programs.length === 0 ||
      this.jit.compileAll(programs, { checks: "all", hasFuel: true });
    // Only what is too large itself has no answer, not what was compiled with it.
    if (!isCompiled && cases.length > 1) return cases.flatMap((one) => this.runAll([one]));
    const answers = prepared.map((one, i): VmAnswer => {
      if (!(one instanceof BpfProgram)) return one;
      if (!isCompiled) return { error: "the program is too large for the WebAssembly engine" };
      return this.run(one, cases[i]!.memory);
    });
    for (const one of programs) this.jit?.release(one);
    return answers;
  }

  private prepare({ insns, memory }: VmCase): BpfProgram | { readonly error: string } {
    if (insns.length === 0) return { error: "the program is empty" };
    if (insns.length % 8 !== 0) return { error: `program of ${insns.length} bytes is not a multiple of 8` };
    if (memory.length > MOST_MEMORY)
      return { error: `memory of ${memory.length} bytes: expected at most ${MOST_MEMORY}` };
    if (insns.length > MAX_INSNS * INSN_BYTES)
      return { error: `program of ${insns.length / INSN_BYTES} instructions: expected at most ${MAX_INSNS}` };
    return prepare(decode(insns), { helpers: HELPERS });
  }

  private run(prepared: BpfProgram, memory: Uint8Array): VmAnswer {
    const { machine, linear } = this;
    linear.u8.fill(0, STACK_TOP - STACK_BYTES, STACK_TOP);
    linear.u8.set(memory, CONTEXT);
    this.packetBytes = memory.length;
    const options = runOptions({
      stackTop: STACK_TOP,
      contextBytes: memory.length,
      contextIsWritable: true,
      fuel: this.fuel,
      r2: memory.length,
      packet: this.packet,
    });
    const status = machine.run(prepared, CONTEXT, options);
    if (status === RUN.outOfFuel)
      return { error: `the program was stopped: its budget of ${this.fuel} is spent` };
    if (status !== RUN.done) return { error: describeFault(machine.fault) };
    return { result: (BigInt(machine.r0High >>> 0) << 32n) | BigInt(machine.r0Low >>> 0) };
  }

  /** The memory as the packet, big endian. */
  private readonly packet: PacketSource = {
    read: (context, offset, size) => {
      if (offset < 0 || offset + size > this.packetBytes) return -1;
      const { dv } = this.linear;
      const at = context + offset;
      if (size === 1) return dv.getUint8(at);
      return size === 2 ? dv.getUint16(at) : dv.getUint32(at);
    },
  };
}

/** Ends a program with 0. */
const END = prepare(program(asm.movImm(0, 0), asm.exit()));

const low = (machine: BpfMachine, n: number): number => machine.argLow(n) >>> 0;

/** A u64 argument; exact below 2^53. */
const wide = (machine: BpfMachine, n: number): number =>
  (machine.argHigh(n) >>> 0) * 0x1_0000_0000 + low(machine, n);

/** The helpers of the bpf_conformance suite, by id. */
const HELPERS: readonly Helper[] = [
  // gather_bytes: one byte of each argument.
  (machine) =>
    machine.setR0(
      (low(machine, 2) << 24) |
        ((low(machine, 3) & 0xff) << 16) |
        ((low(machine, 4) & 0xff) << 8) |
        (low(machine, 5) & 0xff),
      low(machine, 1) & 0xff,
    ),
  // memfrob: inverts some bits of each byte.
  (machine) => {
    const size = low(machine, 2);
    const at = size === 0 ? 0 : machine.argMemory(1, size, true);
    if (at === 0) return;
    for (let i = 0; i < size; i++) machine.memory.u8[at + i]! ^= 42;
    machine.setR0(machine.argLow(1), machine.argHigh(1));
  },
  // trash_registers: leaves nothing to rely on.
  (machine) => machine.setR0(0, 0),
  // sqrti
  (machine) => machine.setR0(Math.floor(Math.sqrt(wide(machine, 1))), 0),
  // strcmp_ext
  (machine) => machine.setR0Signed(compareStrings(machine)),
  // unwind: ends the program where its argument is 0.
  (machine) => {
    if (machine.argLow(1) === 0 && machine.argHigh(1) === 0) machine.tailCall(END);
    else machine.setR0(machine.argLow(1), machine.argHigh(1));
  },
];

function compareStrings(machine: BpfMachine): number {
  for (let i = 0; ; i++) {
    const bytes = [1, 2].map((n) => {
      const address = low(machine, n) + i;
      return machine.mayAccess(address | 0, machine.argHigh(n), 1, false) ? machine.memory.u8[address]! : -1;
    });
    const [a, b] = bytes as [number, number];
    if (a !== b) return a - b;
    if (a <= 0) return 0;
  }
}
