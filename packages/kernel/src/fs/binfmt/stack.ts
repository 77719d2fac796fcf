/**
 * The initial stack of a program (System V ABI, process initialization; Linux: create_elf_tables): from the top down a zero
 * word, the path, the environment's and the arguments' strings, sixteen random bytes, the auxiliary vector, envp, argv, argc.
 */
import { AUX, EFAULT, ENOMEM, isErr, type Result, type UAddr } from "@alien-ts/abi";
import type { Cx } from "../../core/cx.ts";
import { setup_arg_pages } from "../../mm/mmap.ts";
import { writeUserBytes } from "../../mm/uaccess.ts";
import { VM } from "../../mm/vma.ts";
import { bytesOf } from "../../vfs/dentry.ts";
import type { Bprm } from "./binprm.ts";

const WORD = 8;
const STACK_ALIGN = 16;
const RANDOM_BYTES = 16;
/** Linux: arch_align_stack() draws the stack pointer within two pages. */
const STACK_RANDOM_BYTES = 8192;

/** Builds the stack in the new address space and gives the stack pointer. ENOMEM. */
export function setUpStack(
  cx: Cx,
  bprm: Bprm,
  auxv: readonly (readonly [number, number])[],
  isExecutable: boolean,
): Result<UAddr> {
  const { mm, args, environment } = bprm;
  if (mm === undefined) return ENOMEM;
  const path = bytesOf(bprm.filename.text);
  const strings = [...args, ...environment, path];
  const textBytes = strings.reduce((sum, string) => sum + string.length + 1, 0);
  const words = 1 + args.length + 1 + environment.length + 1 + (auxv.length + 3) * 2;
  const slack = STACK_RANDOM_BYTES + RANDOM_BYTES + STACK_ALIGN * 4;
  const top = setup_arg_pages(mm, WORD + textBytes + slack + words * WORD);
  if (isErr(top)) return top;
  const stringsAt = top - WORD - textBytes;
  const addresses = placeStrings(strings, stringsAt);
  const randomAt =
    alignDown(stringsAt - cx.kernel.prng.below(STACK_RANDOM_BYTES), STACK_ALIGN) - RANDOM_BYTES;
  const random = new Uint8Array(RANDOM_BYTES);
  cx.kernel.prng.fill(random);
  const sp = alignDown(randomAt - words * WORD, STACK_ALIGN);
  const execfn = addresses.at(-1) ?? 0;
  const table = [
    args.length,
    ...addresses.slice(0, args.length),
    0,
    ...addresses.slice(args.length, -1),
    0,
    ...[
      ...auxv,
      [AUX.RANDOM, randomAt] as const,
      [AUX.EXECFN, execfn] as const,
      [AUX.NULL, 0] as const,
    ].flat(),
  ];
  const parts: readonly (readonly [UAddr, Uint8Array])[] = [
    [stringsAt, joinStrings(strings, textBytes)],
    [randomAt, random],
    [sp, wordBytes(table)],
  ];
  for (const [at, bytes] of parts) if (writeUserBytes(mm, at, bytes) === EFAULT) return ENOMEM;
  if (isExecutable) mm.changeFlags(top - 1 - ((top - 1) % 4096), top, (flags) => flags | VM.EXEC);
  const { t } = mm;
  const argumentsEnd = addresses[args.length] ?? execfn;
  t.arg_start = stringsAt;
  t.arg_end = argumentsEnd;
  t.env_start = argumentsEnd;
  t.env_end = execfn;
  t.start_stack = sp;
  bprm.t.p = stringsAt;
  bprm.t.exec = execfn;
  return sp;
}

const alignDown = (value: number, to: number): number => Math.floor(value / to) * to;

function placeStrings(strings: readonly Uint8Array[], start: UAddr): UAddr[] {
  let at = start;
  return strings.map((string) => {
    const addr = at;
    at += string.length + 1;
    return addr;
  });
}

function joinStrings(strings: readonly Uint8Array[], size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const string of strings) {
    bytes.set(string, at);
    at += string.length + 1;
  }
  return bytes;
}

function wordBytes(words: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(words.length * WORD);
  const view = new DataView(bytes.buffer);
  words.forEach((word, i) => {
    view.setUint32(i * WORD, word >>> 0, true);
    view.setUint32(i * WORD + 4, Math.floor(word / 2 ** 32), true);
  });
  return bytes;
}
