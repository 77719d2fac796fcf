/**
 * `alien disasm`: BPF programs as text: of an object file a section after the other, with source lines where its BTF has them;
 * or of plain bytes. Interface: `disassembleObject`, `disassembleBytes`. What it prints can be assembled again.
 */
import { decode, disassembleProgram } from "@alien-ts/bpf-isa";
import { linuxHelper } from "@alien-ts/bpf-verifier";
import { type Btf, BtfError, parseBtf, parseBtfExt } from "@alien-ts/btf";
import { type ElfFile, EM_BPF, type ElfError, isElfError, parseElf, SHF_EXECINSTR } from "@alien-ts/elf";
import { parseHex } from "./vm/hex.ts";

const OPTIONS = { isExact: true, helperName: (id: number) => linuxHelper(id)?.name };

/** The programs in `bytes`: an ELF object, instructions, or the hexadecimal of either. Throws an Error that says what is wrong. */
export function disassembleBytes(bytes: Uint8Array): string {
  const text = isText(bytes) ? parseHex(new TextDecoder().decode(bytes)) : undefined;
  const binary = text ?? bytes;
  if (binary[0] === 0x7f && binary[1] === 0x45) return disassembleObject(binary);
  if (binary.length === 0) throw new Error("expected instructions, found nothing");
  const lines = disassembleProgram(decode(binary), OPTIONS);
  return lines.map((line) => `${line}\n`).join("");
}

/** Hexadecimal digits and white space. */
const isText = (bytes: Uint8Array): boolean =>
  bytes.every((byte) => (byte >= 0x30 && byte < 0x67) || byte === 0x20 || (byte >= 9 && byte <= 13));

/** Throws an Error that says what is wrong with the file. */
export function disassembleObject(bytes: Uint8Array): string {
  const elf = valid(parseElf(bytes));
  if (elf.header.machine !== EM_BPF)
    throw new Error(`e_machine is ${elf.header.machine}, expected ${EM_BPF} (BPF)`);
  const symbols = valid(elf.symbols());
  const sourceLines = readSourceLines(elf);
  const parts = valid(elf.sections())
    .filter(({ flags, size }) => (flags & SHF_EXECINSTR) !== 0 && size > 0)
    .map((section) => {
      const names = new Map(
        symbols
          .filter((symbol) => symbol.section === section.index && symbol.name !== "")
          .map((symbol) => [symbol.value / 8, symbol.name]),
      );
      const sources = sourceLines.get(section.name);
      const lines = disassembleProgram(decode(section.data), OPTIONS).flatMap((line) => {
        const slot = Number.parseInt(line, 10);
        const name = names.get(slot);
        const source = sources?.get(slot);
        return [
          ...(name === undefined ? [] : [`${name}:`]),
          ...(source === undefined ? [] : [`; ${source}`]),
          `  ${line}`,
        ];
      });
      return `; section ${section.name}\n${lines.join("\n")}\n`;
    });
  return parts.join("\n");
}

/** The source line that starts at a slot, by section; empty where the object has no readable line information. */
function readSourceLines(elf: ElfFile): ReadonlyMap<string, ReadonlyMap<number, string>> {
  const sections = valid(elf.sections());
  const data = (name: string): Uint8Array | undefined =>
    sections.find((section) => section.name === name)?.data;
  const [types, extra] = [data(".BTF"), data(".BTF.ext")];
  if (types === undefined || extra === undefined) return new Map();
  const btf = parseBtf(types);
  if (btf instanceof BtfError) return new Map();
  const ext = parseBtfExt(extra, btf);
  if (ext instanceof BtfError) return new Map();
  return new Map(
    [...ext.lineInfo].map(([section, lines]) => [
      section,
      new Map(lines.map(({ offset, lineOffset }) => [offset / 8, lineText(btf, lineOffset)])),
    ]),
  );
}

const lineText = (btf: Btf, offset: number): string => (btf.string(offset) ?? "").trim();

function valid<T>(parsed: T | ElfError): T {
  if (isElfError(parsed)) throw parsed;
  return parsed;
}
