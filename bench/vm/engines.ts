/** The engines of this project under the benchmark: the JIT and the interpreter, over one memory. Interface: `Engines`. */
import { LinearMemory } from "@alien-ts/abi";
import {
  BpfMachine,
  type BpfProgram,
  type CompileOptions,
  type FastHelper,
  type Helper,
  Jit,
  prepare,
  RUN,
  runOptions,
  type TypedHelper,
  type WasmApi,
  type WasmMemory,
} from "@alien-ts/bpf-vm";
import { ModuleBuilder, OP } from "@alien-ts/wasm-encoder";
import type { BenchProgram } from "./programs.ts";
import { hashWorld, lookUp, makeImage, SHAPES, WORLD } from "./world.ts";

export interface Sample {
  /** Per run. */
  readonly ns: number;
  readonly r0: string;
  readonly memory: string;
}

interface HostGlobals {
  readonly WebAssembly: WasmApi & {
    readonly Memory: new (limits: { initial: number }) => WasmMemory & { readonly buffer: ArrayBuffer };
  };
}

const MAP_LOOKUP = 1;
const COMBINE = 2;

/** How compiled programs are compiled: as verified ones, with or without fuel. */
export const FUEL = {
  without: { checks: "none", hasFuel: false },
  with: { checks: "none", hasFuel: true },
} as const;

export class Engines {
  readonly linear: LinearMemory;
  readonly machine: BpfMachine;
  readonly jit: Jit;
  private readonly combine = this.makeCombine();
  private readonly options = runOptions({ stackTop: WORLD.stackTop, isChecked: false, fuel: 0x7fff_ffff });

  constructor() {
    const { WebAssembly } = globalThis as unknown as HostGlobals;
    const memory = new WebAssembly.Memory({ initial: WORLD.bytes / 0x1_0000 });
    this.linear = new LinearMemory(memory.buffer);
    this.machine = new BpfMachine(this.linear);
    this.jit = new Jit({ wasm: WebAssembly, memory, linear: this.linear, scratch: WORLD.scratch });
  }

  prepare(insns: BenchProgram["insns"]): BpfProgram {
    return prepare(insns, { helpers: HELPERS });
  }

  compile(
    program: BpfProgram,
    options: Pick<CompileOptions, "checks" | "hasFuel">,
    helper: (id: number) => FastHelper | undefined = (id) => this.fastHelper(id),
  ): void {
    const isCompiled = this.jit.compile(program, {
      ...options,
      helper,
      mapAt: (address) => SHAPES.get(address),
      argumentCount: () => 2,
    });
    if (!isCompiled) throw new Error("a program was not compiled");
  }

  private fastHelper(id: number): FastHelper | undefined {
    if (id === MAP_LOOKUP) return { kind: "map_lookup" };
    return id === COMBINE ? this.combine : undefined;
  }

  /** `(a ^ b) + 1`, as a helper in another WebAssembly module: as the native engines call theirs. */
  private makeCombine(): FastHelper {
    const builder = new ModuleBuilder();
    const code = [OP.local_get, 0, OP.local_get, 1, OP.i64_xor, OP.i64_const, 1, OP.i64_add];
    const index = builder.addFunction({ params: ["i64", "i64"], results: ["i64"], locals: [], code });
    builder.export("combine", "function", index);
    const { WebAssembly } = globalThis as unknown as HostGlobals;
    const instance = new WebAssembly.Instance(new WebAssembly.Module(builder.build()), {});
    return { kind: "wasm", params: 2, function: instance.exports["combine"] };
  }

  /** The same in JavaScript. */
  combineInJavaScript(): FastHelper {
    const words = this.linear.i32;
    const resultHigh = this.jit.resultHigh >> 2;
    const call = (aLow: number, aHigh: number, bLow: number, bHigh: number): number => {
      const low = ((aLow ^ bLow) + 1) | 0;
      words[resultHigh] = (aHigh ^ bHigh) + (low === 0 ? 1 : 0);
      return low;
    };
    return { kind: "typed", params: ["u64", "u64"], result: "u64", call: call as TypedHelper["call"] };
  }

  /** Runs `program`, compiled or not, on fresh memory. */
  run(program: BpfProgram, image: Uint8Array, repeats: number): Sample {
    const { machine, linear } = this;
    linear.u8.set(image, WORLD.context);
    const start = performance.now();
    const status = machine.runRepeatedly(program, WORLD.context, this.options, repeats);
    const ns = ((performance.now() - start) * 1e6) / repeats;
    if (status !== RUN.done) throw new Error(`a program ended with status ${status}`);
    const hex = (word: number): string => (word >>> 0).toString(16).padStart(8, "0");
    const r0 = (hex(machine.r0High) + hex(machine.r0Low)).replace(/^0+(?=.)/u, "");
    return { ns, r0, memory: hashWorld(linear.i32) };
  }
}

export const imageOf = (program: BenchProgram): Uint8Array => makeImage(program.context);

/** The helpers as the interpreter calls them. */
const HELPERS: readonly (Helper | undefined)[] = [
  undefined,
  (machine) => machine.setR0Pointer(lookUp(machine.memory.i32, machine.argPointer(1), machine.argPointer(2))),
  (machine) => {
    const low = ((machine.argLow(1) ^ machine.argLow(2)) + 1) | 0;
    machine.setR0(low, (machine.argHigh(1) ^ machine.argHigh(2)) + (low === 0 ? 1 : 0));
  },
];
