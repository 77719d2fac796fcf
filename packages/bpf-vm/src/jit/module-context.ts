/**
 * `ModuleContext`: what the functions of one program share: the module's builder, imported functions, options, the functions of
 * the BPF program and their numbers.
 *
 * A module may hold many programs (`SharedModule`). Imports are declared in the constructors, since they come before all
 * functions. A BPF function gets its number when the first call of it is emitted, and is put into `pending`.
 */
import { ModuleBuilder } from "@alien-ts/wasm-encoder";
import type { FunctionType, ValueType } from "@alien-ts/wasm-encoder";
import type { KAddr } from "@alien-ts/abi";
import { STRIDE, VARIANT } from "../program.ts";
import type { BpfProgram } from "../program.ts";
import type { BpfFunction, FunctionTable } from "./functions.ts";
import { ENDS } from "./graph.ts";
import type { CompileOptions, FastHelper, TypedHelper, WasmHelper } from "./options.ts";

/** Where modules run: the memory, its mailbox, what the engine can do. */
export interface Target {
  readonly memoryPages: number;
  readonly memoryBytes: number;
  /** High word of kernel addresses, signed. */
  readonly high: number;
  readonly scratch: KAddr;
  readonly hasTailCalls: boolean;
}

export interface ProgramRequest {
  readonly program: BpfProgram;
  readonly functions: FunctionTable;
  readonly target: Target;
  readonly options: CompileOptions;
}

/** `ask`: a question (scratch.ts) and up to four words. */
const ASK_TYPE: FunctionType = { params: ["i32", "i32", "i32", "i32", "i32"], results: ["i32"] };

/** (context, stack top): runs a program, and gives r0. */
export const MAIN_TYPE: FunctionType = { params: ["i32", "i32"], results: ["i64"] };
/** (context, stack top, count): runs a program several times. */
export const REPEAT_TYPE: FunctionType = { params: ["i32", "i32", "i32"], results: ["i64"] };
/** (context, stack top, slot): goes on in another program. */
export const ENTER_TYPE: FunctionType = { params: ["i32", "i32", "i32"], results: ["i64"] };
export const CALLBACK_TYPE: FunctionType = { params: ["i32"], results: [] };

/** A module in the making, with the imports that all programs in it share. */
export class SharedModule {
  readonly builder = new ModuleBuilder();
  /** Number of the imported `ask`; -1 where no program asks. */
  readonly askIndex: number;
  /** Number of the imported `enter`; -1 where no program can make a tail call. */
  readonly enterIndex: number;
  /** Programs in the module. */
  programs = 0;

  constructor(requests: readonly ProgramRequest[]) {
    this.builder.importMemory("vm", "memory", { min: requests[0]!.target.memoryPages });
    this.askIndex = requests.some(asks) ? this.builder.importFunction("vm", "ask", ASK_TYPE) : -1;
    this.enterIndex = requests.some(mayTailCall)
      ? this.builder.importFunction("vm", "enter", ENTER_TYPE)
      : -1;
  }
}

const OP_CALL = 0x85;
const OP_CALL_REGISTER = 0x86;

/** Whether a program may ask something: it is checked, can stop, or has an instruction that needs JavaScript. */
function asks({ program: { code, insns }, functions, options }: ProgramRequest): boolean {
  if (options.checks === "all" || options.hasFuel) return true;
  for (let slot = 0; slot < insns.length; slot++) {
    const operation = code[slot * STRIDE]!;
    if (operation === OP_CALL || operation === OP_CALL_REGISTER || operation === VARIANT.PACKET) return true;
  }
  return [...functions.byEntry.values()].some(({ graph }) => graph.ends.includes(ENDS.trap));
}

/** Whether a program calls helpers that could replace it. */
function mayTailCall({ program: { code, insns } }: ProgramRequest): boolean {
  for (let slot = 0; slot < insns.length; slot++) {
    const operation = code[slot * STRIDE]!;
    if (operation === OP_CALL || operation === OP_CALL_REGISTER) return true;
  }
  return false;
}

export class ModuleContext {
  readonly builder: ModuleBuilder;
  /** In front of the names of its imports. */
  readonly prefix: string;
  readonly program: BpfProgram;
  readonly functions: FunctionTable;
  readonly target: Target;
  readonly options: CompileOptions;
  readonly isChecked: boolean;
  /** Whether calls must count frames. */
  readonly needsDepthCheck: boolean;
  /** Functions whose bodies are still to be emitted, with their numbers. */
  readonly pending: { readonly function: BpfFunction; readonly index: number }[] = [];
  /** Number of the function that validates an access; -1 where none does. */
  checkIndex = -1;
  /** Slots that may still be emitted by inlining. */
  inlineBudget: number;
  /** Numbers of the functions that look up, update or delete in one hash map, by what they do and the map's address. */
  readonly mapFunctions = new Map<string, number>();
  /** Typed and WebAssembly helpers that are called, by id. */
  readonly typed = new Map<number, TypedHelper | WasmHelper>();
  readonly askIndex: number;
  readonly enterIndex: number;
  private readonly callIndices = new Map<number, number>();
  private readonly typedIndices = new Map<number, number>();
  private readonly indices = new Map<number, number>();
  /** Places that call a function, by its entry. */
  private readonly callCounts = new Map<number, number>();

  constructor(shared: SharedModule, { program, functions, target, options }: ProgramRequest) {
    this.builder = shared.builder;
    this.askIndex = shared.askIndex;
    this.enterIndex = shared.enterIndex;
    this.prefix = `${shared.programs++}:`;
    this.program = program;
    this.functions = functions;
    this.target = target;
    this.options = options;
    this.isChecked = options.checks === "all";
    this.needsDepthCheck = this.isChecked && functions.depth > 8;
    this.inlineBudget = 2000 + program.insns.length;
    for (const { calls } of functions.byEntry.values()) {
      for (const { callee } of calls) this.callCounts.set(callee, (this.callCounts.get(callee) ?? 0) + 1);
    }
    this.declareImports();
  }

  /** Number of the function that calls `program.calls[call]` through the machine. */
  machineCall(call: number): number {
    return this.callIndices.get(call)!;
  }

  typedCall(id: number): number {
    return this.typedIndices.get(id)!;
  }

  /** Number of a BPF function that is called. */
  indexOf(called: BpfFunction): number {
    const known = this.indices.get(called.entry);
    if (known !== undefined) return known;
    const index = this.builder.declareFunction(this.typeOf(called));
    this.indices.set(called.entry, index);
    this.pending.push({ function: called, index });
    return index;
  }

  /** The registers that it may read, then its frame pointer; r0 and the other results. */
  typeOf(called: BpfFunction): FunctionType {
    const params = registersOf(called.liveIn).map(() => "i64" as const);
    const results = ["i64" as const, ...registersOf(called.outs).map(() => "i64" as const)];
    return { params: this.passesFrame(called) ? [...params, "i32"] : params, results };
  }

  passesFrame(called: BpfFunction): boolean {
    return called.needsFrame || this.isChecked;
  }

  callCount({ entry }: BpfFunction): number {
    return this.callCounts.get(entry) ?? 0;
  }

  private declareImports(): void {
    const { program } = this;
    for (let slot = 0; slot < program.insns.length; slot++) {
      const at = slot * STRIDE;
      if (program.code[at] === OP_CALL) this.declareHelper(slot, program.code[at + 2]!);
    }
  }

  private declareHelper(slot: number, call: number): void {
    const insn = this.program.insns[slot]!;
    const fast = insn.src === 0 ? this.options.helper?.(insn.imm) : undefined;
    const typed = directForm(fast);
    if (typed !== undefined) {
      if (this.typed.has(insn.imm)) return;
      this.typed.set(insn.imm, typed);
      const index = this.builder.importFunction("typed", this.prefix + insn.imm, typeOfHelper(typed));
      this.typedIndices.set(insn.imm, index);
      return;
    }
    const { calls } = this.program;
    const same = calls.indexOf(calls[call]!);
    if (!this.callIndices.has(same)) {
      const type: FunctionType = { params: ["i32"], results: ["i32"] };
      this.callIndices.set(same, this.builder.importFunction("calls", this.prefix + same, type));
    }
    this.callIndices.set(call, this.callIndices.get(same)!);
  }

  /** Calls that go through the machine: indices into `program.calls`. */
  machineCalls(): number[] {
    return [...this.callIndices.keys()];
  }
}

/** The function that a module imports for a helper; undefined where it is called through the machine, or never. */
export function directForm(fast: FastHelper | undefined): TypedHelper | WasmHelper | undefined {
  switch (fast?.kind) {
    case "typed":
    case "wasm":
      return fast;
    case "map_lookup":
    case "map_update":
    case "map_delete":
    case "ring_reserve":
    case "ring_submit":
    case "ring_discard":
      return fast.otherwise;
    default:
      return undefined;
  }
}

function typeOfHelper(helper: TypedHelper | WasmHelper): FunctionType {
  if (helper.kind === "wasm")
    return { params: Array<ValueType>(helper.params).fill("i64"), results: ["i64"] };
  const { params, result } = helper;
  return {
    params: params.flatMap((kind) => (kind === "u64" ? (["i32", "i32"] as const) : (["i32"] as const))),
    results: result === "none" ? [] : ["i32"],
  };
}

/** Registers of a mask, lowest first. */
export function registersOf(mask: number): number[] {
  const registers: number[] = [];
  for (let register = 0; register < 10; register++)
    if ((mask & (1 << register)) !== 0) registers.push(register);
  return registers;
}
