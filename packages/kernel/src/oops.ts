/**
 * The text of an oops: what a kernel bug leaves on the console (Linux: arch/riscv/kernel/traps.c die(), show_regs()).
 *
 * Interface: `formatOops`. It changes nothing and never throws: the kernel that it describes is broken.
 */
import type { KAddr } from "@alien-ts/abi";
import type { Cx } from "./core/cx.ts";
import { type Kernel, KernelBug } from "./core/kernel.ts";

/** Registers printed on one line. */
const PER_LINE = 3;

/** Lines of the report about `error`, which ended whatever runs on `kernel` now. */
export function formatOops(kernel: Kernel, error: unknown): string[] {
  const message = error instanceof Error ? error.message : String(error);
  const title =
    error instanceof KernelBug ? message.replace(/^kernel BUG:? ?/, "") : `${nameOf(error)}${message}`;
  return [
    `kernel BUG: ${title}`,
    ...attempt(() => describeContext(kernel, kernel.current)),
    "Host stack:",
    ...hostStack(error),
    "---[ end trace 0000000000000000 ]---",
    "Kernel panic - not syncing: Fatal exception",
  ];
}

const nameOf = (error: unknown): string => (error instanceof Error ? `${error.name}: ` : "");

function attempt(describe: () => string[]): string[] {
  try {
    return describe();
  } catch (error) {
    return [`(the context cannot be read: ${String(error)})`];
  }
}

function describeContext(kernel: Kernel, cx: Cx): string[] {
  const { text, config, mem } = kernel;
  const { task, cpu } = cx;
  const trace = callTrace(kernel, cx);
  const [pc = 0, caller = 0] = trace;
  return [
    `CPU: ${cpu.id} UID: ${task.cred.uid} PID: ${task.pid} Comm: ${task.t.comm} Not tainted ${config.release} ${config.version}`,
    `Hardware name: alien-ts,${text.arch.machine} (DT)`,
    ...(pc === 0 ? [] : [`epc : ${text.describe(pc)}`]),
    ...(caller === 0 ? [] : [` ra : ${text.describe(caller)}`]),
    `epc : ${mem.format(pc)} ra : ${mem.format(caller)} sp : ${mem.format(cx.ksp)}`,
    ` tp : ${mem.format(task.addr)}`,
    ...(task.mm === null ? [] : ["User registers:", ...registers(kernel, task.userRegs)]),
    "Call Trace:",
    ...trace.map((addr) => `[<${mem.format(addr)}>] ${text.describe(addr)}`),
  ];
}

/** Return addresses of the rows on the stack, innermost first. */
function callTrace(kernel: Kernel, cx: Cx): KAddr[] {
  const addresses: KAddr[] = [];
  for (let i = cx.depth - 1; i >= 0; i--) addresses.push(kernel.text.returnAddress(cx.stack[i]));
  return addresses;
}

/** The words of a `pt_regs`, in its order. */
function registers(kernel: Kernel, regs: KAddr): string[] {
  const { dv } = kernel.mem;
  const words = kernel.text.arch.registerNames.map((name, i) => {
    const value = dv
      .getBigUint64(regs + i * 8, true)
      .toString(16)
      .padStart(16, "0");
    return `${name.padStart(3)} : ${value}`;
  });
  const lines: string[] = [];
  for (let i = 0; i < words.length; i += PER_LINE) lines.push(words.slice(i, i + PER_LINE).join(" "));
  return lines;
}

/** Where the host's stack says that the bug is. */
function hostStack(error: unknown): string[] {
  const stack = error instanceof Error ? (error.stack ?? "") : "";
  return stack
    .split("\n")
    .filter((line) => /^\s+at /.test(line))
    .map((line) => ` ${line.trim()}`);
}
