/**
 * System call rows. `syscall(NR.read, "read", [["fd", fd], …], body)` declares a call once: dispatch, tracing, strace and
 * coverage read the row. The row owns a kernel function `<prefix>sys_read` (the prefix is the architecture's) whose only
 * parameter is the trap frame, as in Linux: its gate can be probed, and its body decodes the arguments from the frame.
 *
 * An argument kind decodes the two words of a register, and may refuse: a bad fd is EBADF before the body runs. Pointers are
 * not checked here; the access that needs them gives EFAULT.
 */
import { Errno, fromWords, long, ptr, type Result, type UAddr, type KAddr } from "@alien-ts/abi";
import type { Cx } from "./cx.ts";
import { type Blocking, blockingFn, type FunctionRow, type Gate, type RowOptions } from "./row.ts";

export interface SyscallArg<T> {
  /** C spelling, for formats and manuals. */
  readonly c: string;
  decode(cx: Cx, lo: number, hi: number): Result<T>;
}

export type SyscallParam = readonly [name: string, kind: SyscallArg<never> | SyscallArg<unknown>];
type ArgValue<X> = X extends SyscallArg<infer T> ? T : never;
type ArgValues<A extends readonly SyscallParam[]> = { [I in keyof A]: ArgValue<A[I][1]> };

export type SyscallResult = number | Errno;

export interface SyscallRow {
  readonly nr: number;
  readonly name: string;
  readonly params: readonly SyscallParam[];
  readonly gate: Gate<[KAddr], SyscallResult | Blocking<SyscallResult>>;
  readonly row: FunctionRow;
  readonly options: RowOptions;
}

export const int: SyscallArg<number> = { c: "int", decode: (_, lo) => lo | 0 };
export const uint: SyscallArg<number> = { c: "unsigned int", decode: (_, lo) => lo >>> 0 };
/** A signed 64-bit value, rounded beyond 2^53. */
export const slong: SyscallArg<number> = { c: "long", decode: (_, lo, hi) => fromWords(lo, hi) };
/** An unsigned 64-bit value, rounded beyond 2^53. */
export const ulongArg: SyscallArg<number> = {
  c: "unsigned long",
  decode: (_, lo, hi) => (hi >>> 0) * 0x1_0000_0000 + (lo >>> 0),
};
export const sizeArg: SyscallArg<number> = { ...ulongArg, c: "size_t" };
export const offsetArg: SyscallArg<number> = { ...slong, c: "loff_t" };
/** A user pointer: any 64-bit value; uaccess refuses what is no user address. */
export const userPointer = (target: string): SyscallArg<UAddr> => ({ ...ulongArg, c: `${target} *` });

/** Behind "sys_" in the symbol; the linker puts the architecture's prefix before it. */
export const SYSCALL_SYMBOL = "sys_";

export function syscall<const A extends readonly SyscallParam[]>(
  nr: number,
  name: string,
  params: A,
  body: (cx: Cx, ...args: ArgValues<A>) => SyscallResult | Blocking<SyscallResult>,
  options: RowOptions = {},
): SyscallRow {
  const call = body as unknown as (cx: Cx, ...args: unknown[]) => SyscallResult | Blocking<SyscallResult>;
  const kinds = params.map(([, kind]) => kind as SyscallArg<unknown>);
  const gate = blockingFn(
    `${SYSCALL_SYMBOL}${name}`,
    [["regs", ptr("pt_regs")]],
    long,
    (cx, regs) => {
      const { dv } = cx.kernel.mem;
      const offsets = cx.kernel.text.arch.roles.syscallArguments;
      const args: unknown[] = [];
      for (let i = 0; i < kinds.length; i++) {
        // The first argument's register is overwritten by the result: Linux keeps the original beside it.
        const at = regs + (i === 0 ? cx.kernel.text.arch.roles.originalArgument : offsets[i]!);
        const value = kinds[i]!.decode(cx, dv.getInt32(at, true), dv.getInt32(at + 4, true));
        if (value instanceof Errno) return value;
        args.push(value);
      }
      return call(cx, ...args);
    },
    { ...options, syscall: true },
  );
  return { nr, name, params, gate, row: gate.row, options };
}
