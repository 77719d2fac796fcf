/**
 * ELF executables (Linux: fs/binfmt_elf.c): riscv64, static or static-pie.
 *
 * An image with a `.note.alien` note is a TypeScript program: its segments are mapped like any other's, and its code is run by
 * the program host under the name in the note. An image without one answers ENOEXEC and is logged: there is no processor
 * for user code.
 *
 * Differs from Linux: segments are mapped into the new address space before the old one is given up, so a bad image is an
 * error of execve and never kills the caller.
 */
import {
  AUX,
  ENOEXEC,
  ENOMEM,
  isErr,
  MAP,
  PAGE_SIZE,
  type ProgramImage,
  PROT,
  type Result,
  s32,
  type UAddr,
  utf8Decode,
} from "@alien-ts/abi";
import { isElfError, parseNotes, PF_R, PF_W, PF_X, PHDR_SIZE } from "@alien-ts/elf";
import type { Cx } from "../../core/cx.ts";
import { KERN } from "../../core/printk.ts";
import { type Blocking, sleepingFn } from "../../core/row.ts";
import { type AddressSpace, TASK_SIZE } from "../../mm/address-space.ts";
import { do_mmap, pageAlign, set_brk } from "../../mm/mmap.ts";
import { clear_user } from "../../mm/uaccess.ts";
import { startProgram } from "../../task/program.ts";
import { settle } from "../../vfs/blocking.ts";
import { type File, path_noexec } from "../../vfs/file.ts";
import { kernel_read } from "../../vfs/read-write.ts";
import { type Bprm, bprmp } from "./binprm.ts";
import {
  type ElfHead,
  isElf,
  parseElfHead,
  parseSegments,
  type Segment,
  type Segments,
} from "./elf-image.ts";
import { begin_new_exec, computeCreds } from "./new-exec.ts";
import { setUpStack } from "./stack.ts";

/** The note that names a TypeScript program. */
const NOTE_OWNER = "alien";
const NOTE_TYPE = 1;
const NOTE_BYTES_MAX = 65_536;

/** Where static-pie images are put: two thirds of the address space (ELF_ET_DYN_BASE), up to 1 GiB further. */
const ET_DYN_BASE = Math.floor(TASK_SIZE / 3 / PAGE_SIZE) * 2 * PAGE_SIZE;
const ET_DYN_RANDOM_PAGES = 1 << 18;

/** AT_HWCAP of rv64gc: one bit per letter of the ISA string. */
const HWCAP = [..."imafdc"].reduce((sum, letter) => sum | (1 << (letter.charCodeAt(0) - 97)), 0);
const CLOCK_TICKS = 100;
const AT_HWCAP2 = 26;

/** Bytes from a function's start to the instruction that its system calls count as. */
const ECALL_OFFSET = 4;

export const load_elf_binary = sleepingFn("load_elf_binary", [["bprm", bprmp]], s32, loadElf, {
  local: true,
  doc: "Maps an ELF image and starts it.",
  fidelity: { simplified: "no interpreter (PT_INTERP), and only images whose program the host runs" },
});

function* loadElf(cx: Cx, bprm: Bprm): Blocking<Result<number>> {
  const { kernel } = cx;
  const head = parseElfHead(bprm.buf, kernel.text.arch.elfMachine);
  if (head === undefined || bprm.file.f_op.mmap === undefined) return ENOEXEC;
  const segments = yield* readSegments(cx, bprm.file, head);
  if (segments === undefined) return ENOEXEC;
  const program = yield* findProgram(cx, bprm.file, segments);
  if (program === undefined || kernel.programHost?.has(program) !== true) {
    explain(cx, bprm, program);
    return ENOEXEC;
  }
  const mapped = mapImage(cx, bprm, head, segments);
  if (isErr(mapped)) return mapped;
  computeCreds(cx, bprm);
  const sp = setUpStack(cx, bprm, auxiliaryVector(cx, bprm, head, mapped), segments.hasExecutableStack);
  if (isErr(sp)) return sp;
  const begun = yield* begin_new_exec(cx, bprm);
  if (isErr(begun)) return begun;
  startThread(cx, { pc: mapped.entry, sp });
  const image: ProgramImage = { program, path: utf8Decode(pathBytes(bprm)), base: mapped.base };
  startProgram(cx.task, image, { sp, ecallPc: mapped.entry + ECALL_OFFSET });
  return 0;
}

const pathBytes = (bprm: Bprm): Uint8Array =>
  Uint8Array.from(bprm.filename.text, (letter) => letter.charCodeAt(0));

/** Says in the log why an ELF file for this machine does not run. */
function explain(cx: Cx, bprm: Bprm, program: string | undefined): void {
  if (!isElf(bprm.buf)) return;
  const path = bprm.filename.text;
  const why =
    program === undefined
      ? "machine code, and this kernel has no processor for user programs"
      : `the program "${program}", which the host does not have`;
  cx.kernel.log.once(`exec:${path}`, KERN.INFO, `exec: ${path} is ${why}: ENOEXEC`);
}

function* readSegments(cx: Cx, file: File, head: ElfHead): Blocking<Segments | undefined> {
  const bytes = yield* readExactly(cx, file, head.phoff, head.phnum * PHDR_SIZE);
  return bytes === undefined ? undefined : parseSegments(bytes, head.phnum);
}

function* readExactly(cx: Cx, file: File, pos: number, size: number): Blocking<Uint8Array | undefined> {
  if (!(pos >= 0 && pos + size <= file.inode.size)) return undefined;
  const bytes = new Uint8Array(size);
  const count = yield* settle(kernel_read(cx, file, bytes, pos));
  return count === size ? bytes : undefined;
}

/** The program that an image names in its note. */
function* findProgram(cx: Cx, file: File, { notes }: Segments): Blocking<string | undefined> {
  for (const segment of notes) {
    if (segment.fileSize > NOTE_BYTES_MAX) continue;
    const bytes = yield* readExactly(cx, file, segment.offset, segment.fileSize);
    if (bytes === undefined) continue;
    const parsed = parseNotes(bytes, {
      littleEndian: true,
      fileOffset: segment.offset,
      align: segment.align,
    });
    if (isElfError(parsed)) continue;
    const note = parsed.find(({ name, type }) => name === NOTE_OWNER && type === NOTE_TYPE);
    if (note === undefined) continue;
    const end = note.desc.indexOf(0);
    return utf8Decode(end < 0 ? note.desc : note.desc.subarray(0, end));
  }
  return undefined;
}

interface MappedImage {
  /** Address of the first segment. */
  readonly base: UAddr;
  readonly entry: UAddr;
  /** Where the program headers are in memory; 0 when no segment has them. */
  readonly phdrs: UAddr;
}

function mapImage(cx: Cx, bprm: Bprm, head: ElfHead, segments: Segments): Result<MappedImage> {
  const mm = bprm.mm;
  if (mm === undefined) return ENOMEM;
  const bias = head.isPositionIndependent
    ? ET_DYN_BASE + cx.kernel.prng.below(ET_DYN_RANDOM_PAGES) * PAGE_SIZE
    : 0;
  const { loads } = segments;
  for (const load of loads) {
    const mapped = mapSegment(cx, mm, bprm.file, load, bias);
    if (isErr(mapped)) return mapped;
  }
  const first = loads[0]!;
  const last = loads.at(-1)!;
  const isIn = (s: Segment): boolean => s.offset <= head.phoff && head.phoff < s.offset + s.fileSize;
  const holder = loads.find(isIn);
  setBounds(mm, loads, bias);
  set_brk(mm, bias + last.vaddr + last.memSize, cx.kernel.prng);
  return {
    base: bias + Math.floor(first.vaddr / PAGE_SIZE) * PAGE_SIZE,
    entry: bias + head.entry,
    phdrs: holder === undefined ? 0 : bias + holder.vaddr + (head.phoff - holder.offset),
  };
}

/** One PT_LOAD: its file pages private, then zeroes. Linux: elf_load(). */
function mapSegment(cx: Cx, mm: AddressSpace, file: File, load: Segment, bias: number): Result<0> {
  const inPage = load.vaddr % PAGE_SIZE;
  const start = bias + load.vaddr - inPage;
  const fileEnd = bias + load.vaddr + load.fileSize;
  const end = bias + load.vaddr + load.memSize;
  const prot =
    ((load.flags & PF_R) !== 0 ? PROT.READ : 0) |
    ((load.flags & PF_W) !== 0 ? PROT.WRITE : 0) |
    ((load.flags & PF_X) !== 0 ? PROT.EXEC : 0);
  const flags = MAP.PRIVATE | MAP.FIXED_NOREPLACE;
  if (load.fileSize > 0) {
    const mapped = do_mmap(mm, {
      addr: start,
      length: load.fileSize + inPage,
      prot,
      flags,
      offset: load.offset - inPage,
      file: {
        readable: true,
        writable: false,
        appendOnly: false,
        noexec: path_noexec(file.path),
        mmap: (request) => file.f_op.mmap?.(cx, file, request) ?? ENOEXEC,
      },
    });
    if (isErr(mapped)) return mapped;
  }
  const zeroStart = load.fileSize > 0 ? pageAlign(fileEnd) : start;
  if (load.memSize > load.fileSize && load.fileSize > 0)
    clear_user(mm, fileEnd, Math.min(zeroStart, end) - fileEnd);
  if (zeroStart >= end) return 0;
  const length = pageAlign(end) - zeroStart;
  const zeroes = do_mmap(mm, {
    addr: zeroStart,
    length,
    prot,
    flags: flags | MAP.ANONYMOUS,
    offset: 0,
    file: undefined,
  });
  return isErr(zeroes) ? zeroes : 0;
}

/** start_code and its like, for /proc and brk. */
function setBounds({ t }: AddressSpace, loads: readonly Segment[], bias: number): void {
  const code = loads.filter((load) => (load.flags & PF_X) !== 0);
  const least = (list: readonly Segment[]): number => Math.min(...list.map((s) => bias + s.vaddr));
  const most = (list: readonly Segment[]): number =>
    Math.max(...list.map((s) => bias + s.vaddr + s.fileSize));
  const text = code.length > 0 ? code : loads;
  const data = loads.filter((load) => (load.flags & PF_X) === 0);
  t.start_code = least(text);
  t.end_code = most(text);
  t.start_data = data.length > 0 ? least(data) : t.end_code;
  t.end_data = data.length > 0 ? most(data) : t.end_code;
}

/** Linux: create_elf_tables(). AT_RANDOM and AT_EXECFN are added where the stack is laid out. No vDSO. */
function auxiliaryVector(
  cx: Cx,
  bprm: Bprm,
  head: ElfHead,
  mapped: MappedImage,
): readonly (readonly [number, number])[] {
  const cred = bprm.cred ?? cx.task.cred;
  return [
    [AUX.HWCAP, HWCAP],
    [AUX.PAGESZ, PAGE_SIZE],
    [AUX.CLKTCK, CLOCK_TICKS],
    [AUX.PHDR, mapped.phdrs],
    [AUX.PHENT, PHDR_SIZE],
    [AUX.PHNUM, head.phnum],
    [AUX.BASE, 0],
    [AUX.FLAGS, 0],
    [AUX.ENTRY, mapped.entry],
    [AUX.UID, cred.uid],
    [AUX.EUID, cred.euid],
    [AUX.GID, cred.gid],
    [AUX.EGID, cred.egid],
    [AUX.SECURE, bprm.isSecure ? 1 : 0],
    [AT_HWCAP2, 0],
  ];
}

/** The registers of a fresh program: zero but pc and sp. Linux: start_thread(). */
function startThread(cx: Cx, { pc, sp }: { readonly pc: UAddr; readonly sp: UAddr }): void {
  const { mem, text } = cx.kernel;
  const { roles, ptRegsBytes } = text.arch;
  const base = cx.task.userRegs;
  mem.u8.fill(0, base, base + ptRegsBytes);
  for (const [offset, value] of [
    [roles.pc, pc],
    [roles.sp, sp],
  ] as const) {
    mem.dv.setInt32(base + offset, value | 0, true);
    mem.dv.setInt32(base + offset + 4, Math.floor(value / 2 ** 32), true);
  }
}
