/**
 * What goes into the root file system: one small ELF executable per program, and the files that a system starts with.
 *
 * An executable is riscv64 ET_EXEC. Its text is real code: every function of the program has a symbol and a frame around
 * a custom-0 instruction (the "call the host" of its index), so that a uprobe finds instructions it can step. The
 * `.note.alien` note (owner "alien", type 1, the program's name) tells exec which TypeScript program it is.
 */
import { S } from "@alien-ts/abi";
import {
  EM_RISCV,
  ET_EXEC,
  PF_R,
  PF_X,
  PT_LOAD,
  PT_NOTE,
  SHF_ALLOC,
  SHF_EXECINSTR,
  SHT_NOTE,
  STT_FUNC,
  type SymbolSpec,
  buildElf,
  writeNotes,
} from "@alien-ts/elf";
import { FUNCTION_BYTES, type Program, SLOT_COUNT, TEXT_BASE, functionNames } from "./host/program.ts";
import { OBJECTS } from "./apps/objects.ts";
import { toBytes } from "./libc/text.ts";

export const NOTE_OWNER = "alien";
export const NOTE_TYPE = 1;

const PAGE_SIZE = 4096;
const ADDI_SP_DOWN = 0xff01_0113;
const CUSTOM_0 = 0x0b;
const ADDI_SP_UP = 0x0101_0113;
const RET = 0x0000_8067;

/** Room for a program's name in its note, with the NULs that fill it up. */
const NAME_BYTES = 32;

/** The executable of a program. */
export function buildImage(program: Program): Uint8Array {
  const name = toBytes(program.name);
  if (name.length >= NAME_BYTES)
    throw new Error(`program name "${program.name}" is longer than the ${NAME_BYTES - 1} bytes of its note`);
  const { image, nameOffset } = templateOf(functionNames(program));
  const bytes = image.slice();
  bytes.set(name, nameOffset);
  return bytes;
}

/** An executable without a name, and where the name goes. */
interface Template {
  readonly image: Uint8Array;
  readonly nameOffset: number;
}

/** By names of functions: nearly every program has `main` alone, and a boot waits for all of them. */
const templates = new Map<string, Template>();

function templateOf(names: readonly string[]): Template {
  const key = names.join("\0");
  let template = templates.get(key);
  if (template === undefined) templates.set(key, (template = buildTemplate(names)));
  return template;
}

function buildTemplate(names: readonly string[]): Template {
  const text = buildText(names.length + SLOT_COUNT);
  const textSymbol = (name: string, slot: number, slots: number): SymbolSpec => ({
    name,
    value: TEXT_BASE + slot * FUNCTION_BYTES,
    size: slots * FUNCTION_BYTES,
    type: STT_FUNC,
    section: ".text",
  });
  const note = writeNotes([{ name: NOTE_OWNER, type: NOTE_TYPE, desc: new Uint8Array(NAME_BYTES) }], true);
  const image = buildElf({
    machine: EM_RISCV,
    type: ET_EXEC,
    entry: TEXT_BASE,
    sections: [
      { name: ".text", data: text, flags: SHF_ALLOC | SHF_EXECINSTR, addr: TEXT_BASE, align: FUNCTION_BYTES },
      {
        name: ".note.alien",
        data: note,
        type: SHT_NOTE,
        flags: SHF_ALLOC,
        addr: TEXT_BASE + text.length,
        align: 4,
      },
    ],
    symbols: [
      ...names.map((name, slot) => textSymbol(name, slot, 1)),
      textSymbol("__alien_slots", names.length, SLOT_COUNT),
    ],
    segments: [
      { type: PT_LOAD, flags: PF_R | PF_X, sections: [".text", ".note.alien"], align: PAGE_SIZE },
      { type: PT_NOTE, flags: PF_R, sections: [".note.alien"], align: 4 },
    ],
  });
  // The text is the first to be mapped, at the start of a page; the note follows it and ends in the name.
  return { image, nameOffset: PAGE_SIZE + text.length + note.length - NAME_BYTES };
}

function buildText(functionCount: number): Uint8Array {
  const text = new DataView(new ArrayBuffer(functionCount * FUNCTION_BYTES));
  for (let i = 0; i < functionCount; i++) {
    const at = i * FUNCTION_BYTES;
    text.setUint32(at, ADDI_SP_DOWN, true);
    text.setUint32(at + 4, (CUSTOM_0 | (i << 20)) >>> 0, true);
    text.setUint32(at + 8, ADDI_SP_UP, true);
    text.setUint32(at + 12, RET, true);
  }
  return new Uint8Array(text.buffer);
}

/** A file of the root file system. A directory has no bytes; a symbolic link's bytes are its target. */
export interface ImageFile {
  readonly path: string;
  /** Type and permissions, as in `st_mode`. */
  readonly mode: number;
  readonly bytes: Uint8Array;
}

const PASSWD = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n";
const GROUP = "root:x:0:root\ntty:x:5:\nnogroup:x:65534:\n";
const PROFILE = `# Read by login shells.
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
export HOME="\${HOME:-/root}"
export TERM="\${TERM:-xterm-256color}"
PS1='\\u@\\h:\\w\\$ '
`;
const MOTD = "Welcome to alien. `ls /bin` lists the commands, `help` those of the shell.\n";

const TEXT_FILES: readonly (readonly [string, string])[] = [
  ["/etc/passwd", PASSWD],
  ["/etc/group", GROUP],
  ["/etc/hostname", "alien\n"],
  ["/etc/hosts", "127.0.0.1\tlocalhost\n"],
  ["/etc/profile", PROFILE],
  ["/etc/motd", MOTD],
  ["/etc/shells", "/bin/sh\n"],
];

const DIRECTORIES: readonly (readonly [string, number])[] = [
  ["/bin", 0o755],
  ["/sbin", 0o755],
  ["/etc", 0o755],
  ["/lib", 0o755],
  ["/lib/bpf", 0o755],
  ["/dev", 0o755],
  ["/home", 0o755],
  ["/mnt", 0o755],
  ["/opt", 0o755],
  ["/proc", 0o555],
  ["/sys", 0o555],
  ["/root", 0o700],
  ["/run", 0o755],
  ["/tmp", 0o1777],
  ["/usr", 0o755],
  ["/usr/bin", 0o755],
  ["/usr/sbin", 0o755],
  ["/var", 0o755],
  ["/var/log", 0o755],
  ["/var/tmp", 0o1777],
];

const NO_BYTES = new Uint8Array(0);

/** All files, parents before children. */
export function imageFiles(programs: readonly Program[]): ImageFile[] {
  return [
    ...DIRECTORIES.map(([path, mode]) => ({ path, mode: S.IFDIR | mode, bytes: NO_BYTES })),
    ...TEXT_FILES.map(([path, text]) => ({ path, mode: S.IFREG | 0o644, bytes: toBytes(text) })),
    ...OBJECTS,
    ...programs.map((program) => ({ path: program.path, mode: S.IFREG | 0o755, bytes: buildImage(program) })),
  ];
}
