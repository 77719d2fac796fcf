/** `alien disasm`: the BPF programs of an object file as text, a section after the other. Interface: `disassembleObject`. */
import { decode, disassembleProgram } from "@alien-ts/bpf-isa";
import { EM_BPF, type ElfError, isElfError, parseElf, SHF_EXECINSTR } from "@alien-ts/elf";

/** Throws an Error that says what is wrong with the file. */
export function disassembleObject(bytes: Uint8Array): string {
  const elf = valid(parseElf(bytes));
  if (elf.header.machine !== EM_BPF)
    throw new Error(`e_machine is ${elf.header.machine}, expected ${EM_BPF} (BPF)`);
  const symbols = valid(elf.symbols());
  const parts = valid(elf.sections())
    .filter(({ flags, size }) => (flags & SHF_EXECINSTR) !== 0 && size > 0)
    .map((section) => {
      const names = new Map(
        symbols
          .filter((symbol) => symbol.section === section.index && symbol.name !== "")
          .map((symbol) => [symbol.value / 8, symbol.name]),
      );
      const lines = disassembleProgram(decode(section.data)).flatMap((line) => {
        const name = names.get(Number.parseInt(line, 10));
        return name === undefined ? [`  ${line}`] : [`${name}:`, `  ${line}`];
      });
      return `section ${section.name}\n${lines.join("\n")}\n`;
    });
  return parts.join("\n");
}

function valid<T>(parsed: T | ElfError): T {
  if (isElfError(parsed)) throw parsed;
  return parsed;
}
