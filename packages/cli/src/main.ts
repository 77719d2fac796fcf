/**
 * The `alien` command: what runs when the bundle is loaded. Each subcommand is a row of `COMMANDS`; what a subcommand needs is
 * loaded when it runs, so that `alien help` does not load a kernel.
 *
 * Exit status: the subcommand's; 2 for a bad command line.
 */
import { refusedOutput } from "./boot/output.ts";
import { Problem } from "./options.ts";

interface Command {
  readonly name: string;
  readonly summary: string;
  /** Resolves to the exit status. */
  run(args: readonly string[]): Promise<number>;
}

const COMMANDS: readonly Command[] = [
  { name: "asm", summary: "assemble BPF instructions", run: asm },
  { name: "boot", summary: "boot the emulated Linux; `alien boot --help` lists its options", run: boot },
  { name: "btf", summary: "print types: of a file, or of the kernel; `alien btf --help`", run: btf },
  { name: "disasm", summary: "disassemble BPF programs: of an object file, or of bytes", run: disasm },
  { name: "help", summary: "print this text", run: help },
  { name: "info", summary: "list what the kernel has, and how close to Linux it is", run: info },
  { name: "system-map", summary: "print the kernel's symbols as `nm -n` does", run: printSystemMap },
  {
    name: "verify",
    summary: "say whether Linux would load BPF programs, and why not; `alien verify --help`",
    run: verify,
  },
  { name: "vm", summary: "run a BPF program; `alien vm --help` lists its options", run: vm },
  { name: "version", summary: "print the versions of alien and of the kernel that it boots", run: version },
];

async function asm(args: readonly string[]): Promise<number> {
  const { runAsm } = await import("./asm/run.ts");
  const done = await runAsm(args);
  return done instanceof Problem ? usageProblem("asm", done.message) : done;
}

async function btf(args: readonly string[]): Promise<number> {
  const { BTF_USAGE, dumpBtf, parseBtfArguments } = await import("./btf.ts");
  const parsed = parseBtfArguments(args);
  if (parsed instanceof Problem) return usageProblem("btf", parsed.message);
  if (parsed === "help") {
    process.stdout.write(BTF_USAGE);
    return 0;
  }
  const ownBtf = parsed.file === undefined ? (await import("@alien-ts/kernel")).kernelBtf : undefined;
  try {
    process.stdout.write(dumpBtf(parsed, () => ownBtf?.() ?? new Uint8Array()));
    return 0;
  } catch (error) {
    process.stderr.write(`alien btf: ${error instanceof Error ? error.message : String(error)}\n`);
    return 1;
  }
}

async function verify(args: readonly string[]): Promise<number> {
  const { VERIFY_USAGE, parseVerifyArguments, runVerify } = await import("./verify/command.ts");
  const parsed = parseVerifyArguments(args);
  if (parsed === "help") {
    process.stdout.write(VERIFY_USAGE);
    return 0;
  }
  if (parsed instanceof Problem) return usageProblem("verify", parsed.message);
  // The kernel's types take the kernel to tell.
  const ownBtf = parsed.kernelBtf === undefined ? (await import("@alien-ts/kernel")).kernelBtf : undefined;
  return runVerify(parsed, () => ownBtf?.() ?? new Uint8Array());
}

async function vm(args: readonly string[]): Promise<number> {
  const { parseVmArguments, VM_USAGE } = await import("./vm/arguments.ts");
  const parsed = parseVmArguments(args);
  if (parsed instanceof Problem) return usageProblem("vm", parsed.message);
  if (parsed === "help") {
    process.stdout.write(VM_USAGE);
    return 0;
  }
  const { runVm } = await import("./vm/command.ts");
  const { nodeHost } = await import("./vm/host.ts");
  try {
    return await runVm(parsed, nodeHost);
  } catch (error) {
    process.stderr.write(`alien vm: ${error instanceof Error ? error.message : String(error)}\n`);
    return 1;
  }
}

async function boot(args: readonly string[]): Promise<number> {
  const { BOOT_USAGE, parseBootArguments } = await import("./boot/arguments.ts");
  const parsed = parseBootArguments(args);
  if (parsed instanceof Problem) return usageProblem("boot", parsed.message);
  if (parsed === "help") {
    process.stdout.write(BOOT_USAGE);
    return 0;
  }
  const { runBoot } = await import("./boot/command.ts");
  return runBoot(parsed, new URL("./thread.cjs", import.meta.url));
}

async function disasm(args: readonly string[]): Promise<number> {
  const { runDisasm } = await import("./asm/run.ts");
  const done = await runDisasm(args);
  return done instanceof Problem ? usageProblem("disasm", done.message) : done;
}

async function help(): Promise<number> {
  const rows = COMMANDS.map(({ name, summary }) => `  ${name.padEnd(12)}${summary}\n`);
  process.stdout.write(`usage: alien COMMAND [ARGUMENT]...\n\n${rows.join("")}`);
  return 0;
}

async function info(args: readonly string[]): Promise<number> {
  if (args.length > 0) return usageProblem("info", `unexpected argument ${args[0]}`);
  const { kernelCoverage } = await import("@alien-ts/kernel");
  const { formatCoverage } = await import("./info.ts");
  process.stdout.write(formatCoverage(kernelCoverage()));
  return 0;
}

async function printSystemMap(args: readonly string[]): Promise<number> {
  if (args.length > 0) return usageProblem("system-map", `unexpected argument ${args[0]}`);
  const { systemMap } = await import("@alien-ts/kernel");
  const { kallsyms } = await import("./kallsyms.ts");
  process.stdout.write(systemMap(kallsyms));
  return 0;
}

const VERSION = "0.1.0";

async function version(): Promise<number> {
  const { DEFAULT_RELEASE } = await import("@alien-ts/kernel");
  process.stdout.write(`alien ${VERSION} (kernel ${DEFAULT_RELEASE}, node ${process.version})\n`);
  return 0;
}

function usageProblem(command: string, message: string): number {
  const name = command === "" ? "alien" : `alien ${command}`;
  const hint = command === "boot" ? "alien boot --help" : "alien help";
  process.stderr.write(`${name}: ${message}\nTry '${hint}' for more information.\n`);
  return 2;
}

async function main(args: readonly string[]): Promise<number> {
  const [given = "help", ...rest] = args;
  const name = given === "--help" || given === "-h" ? "help" : given === "--version" ? "version" : given;
  const command = COMMANDS.find((candidate) => candidate.name === name);
  return command === undefined ? usageProblem("", `unknown command ${given}`) : command.run(rest);
}

process.stdout.on("error", (error) => {
  const { status, text } = refusedOutput(error);
  process.stderr.write(text);
  process.exit(status);
});
process.exitCode = await main(process.argv.slice(2));
