/** The command lines of `alien asm` and `alien disasm`. Interface: `runAsm`, `runDisasm`: the exit status, or a `Problem`. */
import { writeFileSync } from "node:fs";
import { disassembleBytes } from "../disasm.ts";
import { parseOptions, Problem } from "../options.ts";
import { formatHex } from "../vm/hex.ts";
import { readBytes } from "../vm/host.ts";
import { assembleText } from "./command.ts";

const ASM_USAGE = `usage: alien asm [-o OUT] [FILE]

Assembles BPF instructions, in the kernel's syntax (r0 = *(u64 *)(r1 +8), if r1 s> 5 goto done) or as mnemonics
(ldxdw r0, [r1+8]; jsgt r1, 5, done), with labels (done:) and comments (; …). Without FILE, or with -, it reads standard input.
Prints the bytes in hexadecimal, an instruction per line, as \`alien vm\` reads them.

  -o OUT    write the bytes themselves to OUT
`;

const DISASM_USAGE = `usage: alien disasm [FILE]

Prints BPF programs in the kernel's syntax: those of an ELF object, by section and symbol, with the source lines that its BTF
has; or those of a file of bytes, or of their hexadecimal. Without FILE, or with -, it reads standard input.
`;

export async function runAsm(args: readonly string[]): Promise<number | Problem> {
  const parsed = parseOptions(args, [{ name: "-o", value: "OUT" }, { name: "--help" }]);
  if (parsed instanceof Problem) return parsed;
  if (parsed.values.has("--help")) return print(ASM_USAGE);
  const operands = [...parsed.operands, ...parsed.rest];
  if (operands.length > 1) return new Problem(`unexpected argument ${operands[1]}`);
  return attempt("asm", operands[0] ?? "-", async (path) => {
    const text = (await readBytes(path)).toString("utf8");
    const bytes = assembleText(text, path === "-" ? "standard input" : path);
    if (typeof bytes === "string") throw new Error(bytes);
    const out = parsed.values.get("-o");
    if (out === undefined) process.stdout.write(formatHex(bytes));
    else writeFileSync(out, bytes);
  });
}

export async function runDisasm(args: readonly string[]): Promise<number | Problem> {
  const parsed = parseOptions(args, [{ name: "--help" }]);
  if (parsed instanceof Problem) return parsed;
  if (parsed.values.has("--help")) return print(DISASM_USAGE);
  const operands = [...parsed.operands, ...parsed.rest];
  if (operands.length > 1) return new Problem("expected one file: alien disasm FILE");
  return attempt("disasm", operands[0] ?? "-", async (path) => {
    const bytes = await readBytes(path);
    try {
      process.stdout.write(disassembleBytes(bytes));
    } catch (error) {
      throw new Error(`${path}: ${messageOf(error)}`, { cause: error });
    }
  });
}

function print(text: string): number {
  process.stdout.write(text);
  return 0;
}

async function attempt(command: string, path: string, run: (path: string) => Promise<void>): Promise<number> {
  try {
    await run(path);
    return 0;
  } catch (error) {
    process.stderr.write(`alien ${command}: ${messageOf(error)}\n`);
    return 1;
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
