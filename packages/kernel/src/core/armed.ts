/**
 * Armed calls: a call of a row whose text differs from the linked image is executed from that text.
 *
 * Arguments go to registers by the C ABI (registers that the ABI leaves undefined are 0), the return address is the
 * caller's real text address, and the architecture's `TextCpu` fetches, decodes and executes. It never calls a body: at the
 * host call it returns here, the body runs with nothing held, its result goes to the return register, and the text goes on.
 * The call is over when the pc is the return address and sp the entry's.
 *
 * The register context is per armed call, on the task's kernel stack: calls nest, and a body that slept may resume on
 * another CPU.
 *
 * At the host call an argument whose register still holds what was put there is the caller's own value; one that a handler
 * changed is decoded again. The same holds for results.
 */
import { type CType, Errno, errnoFromNumber, fromWords, type KAddr } from "@alien-ts/abi";
import type { Cx } from "./cx.ts";
import { KernelBug } from "./kernel.ts";
import type { Owned, OwnerType } from "./owner.ts";
import { type Blocking, type FunctionRow, isBlocking, type ParamType, startWork } from "./function-row.ts";

interface ArmedFrame {
  readonly row: FunctionRow;
  readonly args: readonly unknown[];
  readonly context: KAddr;
  readonly stopPc: KAddr;
  readonly stopSp: KAddr;
  readonly savedKsp: KAddr;
  /** The body's result, its words as written to the return register, and whether a body ran. */
  result: unknown;
  resultLo: number;
  resultHi: number;
  hasResult: boolean;
}

/** The two words of a value in a register. */
interface Words {
  lo: number;
  hi: number;
}

/** Executes a call of a plain row. A sleeping body on the way is a bug: this caller cannot wait. */
export function armedCall(cx: Cx, row: FunctionRow, args: readonly unknown[]): unknown {
  const result = armedBlockingCall(cx, row, args);
  if (isBlocking(result))
    throw new KernelBug(`scheduling while atomic: ${row.name} leads to a body that sleeps`);
  return result;
}

/** Executes a call of a row that may sleep: its result, or the rest of the call when a body has to sleep. */
export function armedBlockingCall(cx: Cx, row: FunctionRow, args: readonly unknown[]): unknown {
  return execute(cx, enter(cx, row, args));
}

/** Runs text and bodies in turn until the call is over. */
function execute(cx: Cx, frame: ArmedFrame): unknown {
  for (;;) {
    const target = runText(cx, frame);
    if (target === undefined) return leave(cx, frame);
    const { ksp } = cx;
    cx.ksp = stackPointer(cx, frame);
    const made = target.body(cx, ...(argumentsAt(cx, frame, target) as never[]));
    const result = isBlocking(made) ? startWork(made) : made;
    if (isBlocking(result)) return sleepIn(cx, frame, target, { work: result, ksp });
    cx.ksp = ksp;
    giveResult(cx, frame, target, result);
  }
}

/** The rest of a call, from a body that sleeps on. */
function* sleepIn(
  cx: Cx,
  frame: ArmedFrame,
  target: FunctionRow,
  { work, ksp }: { readonly work: Blocking<unknown>; readonly ksp: KAddr },
): Blocking<unknown> {
  const result = yield* work;
  cx.ksp = ksp;
  giveResult(cx, frame, target, result);
  const rest = execute(cx, frame);
  return isBlocking(rest) ? yield* rest : rest;
}

const STACK_ALIGN = 16;
/** What the row's own prologue and the exception path may use below the context. */
const STACK_RESERVE_BYTES = 256;

function enter(cx: Cx, row: FunctionRow, args: readonly unknown[]): ArmedFrame {
  const { kernel } = cx;
  const { arch } = kernel.text;
  const context = (cx.ksp - arch.contextBytes) & -STACK_ALIGN;
  if (context - STACK_RESERVE_BYTES < cx.kstackBase)
    throw new KernelBug(`kernel stack overflow in task ${cx.task.pid}, calling ${row.name}`);
  const stopPc = kernel.text.returnAddress(cx.depth === 0 ? undefined : cx.stack[cx.depth - 1]);
  const frame: ArmedFrame = {
    row,
    args,
    context,
    stopPc,
    stopSp: context,
    savedKsp: cx.ksp,
    result: undefined,
    resultLo: 0,
    resultHi: 0,
    hasResult: false,
  };
  const { mem } = kernel;
  const { roles } = arch;
  mem.u8.fill(0, context, context + arch.contextBytes);
  const pointer = (offset: number, value: KAddr): void =>
    writeWords(cx, context + offset, value, mem.baseHi | 0);
  pointer(roles.pc, kernel.text.addressOf(row.slot));
  pointer(roles.returnAddress, stopPc);
  pointer(roles.sp, context);
  pointer(roles.task, cx.task.addr);
  const words: Words = { lo: 0, hi: 0 };
  for (let i = 0; i < args.length; i++) {
    encode(cx, row.params[i]![1], args[i], words);
    writeWords(cx, context + roles.arguments[i]!, words.lo, words.hi);
  }
  cx.stack[cx.depth++] = row.slot;
  cx.ksp = context - STACK_ALIGN;
  return frame;
}

function leave(cx: Cx, frame: ArmedFrame): unknown {
  cx.depth--;
  cx.ksp = frame.savedKsp;
  const { mem, text } = cx.kernel;
  const at = frame.context + text.arch.roles.returnValue;
  const lo = mem.dv.getInt32(at, true);
  const hi = mem.dv.getInt32(at + 4, true);
  if (frame.hasResult && lo === frame.resultLo && hi === frame.resultHi) return frame.result;
  return decodeResult(cx, frame.row, lo, hi);
}

/** Runs the text to its next host call. Undefined: the call is over. */
function runText(cx: Cx, frame: ArmedFrame): FunctionRow | undefined {
  const { text } = cx.kernel;
  for (;;) {
    const event = text.cpu.run(frame.context, frame.stopPc, frame.stopSp);
    switch (event.kind) {
      case "stopped":
        return undefined;
      case "hostCall":
        return text.rowOfHostCall(event.index);
      case "break":
      case "debug": {
        const index = text.exception(cx, frame.context, event.kind);
        if (index !== undefined) return text.rowOfHostCall(index);
        break;
      }
      default:
        if (text.onFault?.(cx, frame.context) === true) break;
        throw new KernelBug(
          `${event.what} at ${cx.kernel.mem.format(event.address)} in the text of ${frame.row.name}`,
        );
    }
  }
}

function argumentsAt(cx: Cx, frame: ArmedFrame, target: FunctionRow): unknown[] {
  const { mem, text } = cx.kernel;
  const words: Words = { lo: 0, hi: 0 };
  return target.params.map(([, type], i) => {
    const at = frame.context + text.arch.roles.arguments[i]!;
    const lo = mem.dv.getInt32(at, true);
    const hi = mem.dv.getInt32(at + 4, true);
    if (target === frame.row) {
      encode(cx, type, frame.args[i], words);
      if (words.lo === lo && words.hi === hi) return frame.args[i];
    }
    return decode(cx, type, lo, hi, () => `argument ${i} of ${target.name}`);
  });
}

function giveResult(cx: Cx, frame: ArmedFrame, target: FunctionRow, result: unknown): void {
  const at = frame.context + cx.kernel.text.arch.roles.returnValue;
  const words: Words = { lo: 0, hi: 0 };
  if (result === undefined) {
    words.lo = cx.kernel.mem.dv.getInt32(at, true);
    words.hi = cx.kernel.mem.dv.getInt32(at + 4, true);
  } else encode(cx, target.ret, result, words);
  writeWords(cx, at, words.lo, words.hi);
  frame.result = result;
  frame.resultLo = words.lo;
  frame.resultHi = words.hi;
  frame.hasResult = true;
}

function stackPointer(cx: Cx, frame: ArmedFrame): KAddr {
  return cx.kernel.mem.dv.getUint32(frame.context + cx.kernel.text.arch.roles.sp, true);
}

function writeWords(cx: Cx, at: KAddr, lo: number, hi: number): void {
  cx.kernel.mem.dv.setInt32(at, lo, true);
  cx.kernel.mem.dv.setInt32(at + 4, hi, true);
}

const isOwner = (type: ParamType): type is OwnerType<unknown> => type.kind === "owner";

/** A value as the C ABI passes it. Errors travel as −errno (ERR_PTR for pointers), missing owners as NULL. */
export function encode(cx: Cx, type: ParamType, value: unknown, words: Words): void {
  if (value instanceof Errno) {
    words.lo = -value.number;
    words.hi = -1;
    return;
  }
  if (isOwner(type)) {
    const addr = value === null || value === undefined ? 0 : (value as Owned).addr;
    words.lo = addr | 0;
    words.hi = addr === 0 ? 0 : cx.kernel.mem.baseHi | 0;
    return;
  }
  const scalar = type as CType<unknown>;
  words.lo = scalar.lo(value) | 0;
  words.hi = scalar.kind === "ptr" ? (words.lo === 0 ? 0 : cx.kernel.mem.baseHi | 0) : scalar.hi(value) | 0;
}

function decode(cx: Cx, type: ParamType, lo: number, hi: number, where: () => string): unknown {
  if (!isOwner(type)) return (type as CType<unknown>).fromReg(lo, hi, cx.kernel.mem);
  if (lo === 0 && hi === 0 && type.nullable) return null;
  const owner = hi >>> 0 === cx.kernel.mem.baseHi ? cx.kernel.ownerOf(lo >>> 0) : undefined;
  if (owner === undefined)
    throw new KernelBug(
      `${where()}: 0x${(hi >>> 0).toString(16)}${(lo >>> 0).toString(16).padStart(8, "0")} is no ${type.c}`,
    );
  return owner;
}

const MAX_ERRNO = 4095;

/** What a handler left in the return register, as the row's return type: an error where Linux would see one. */
function decodeResult(cx: Cx, row: FunctionRow, lo: number, hi: number): unknown {
  const type = row.ret;
  if (type.c === "void") return undefined;
  const mayFail = type.kind === "owner" || type.size === 8 || type.signed;
  const value = fromWords(lo, type.kind !== "owner" && type.size < 8 ? lo >> 31 : hi);
  if (mayFail && value < 0 && value >= -MAX_ERRNO) return errnoFromNumber(-value) ?? value;
  return decode(cx, type, lo, hi, () => `result of ${row.name}`);
}
