/** Small files of procfs and sysfs, read whole; closing descriptors. */
import { AT, NR, O, utf8Decode } from "@alien-ts/abi";
import { FileError, SyscallError } from "../errors.ts";
import { cStringPart, withParts } from "./sys.ts";
import type { Sys } from "./sys.ts";

const CHUNK_BYTES = 0x1_0000;

/** The bytes of a file, or a negated errno. */
export function tryReadFile(sys: Sys, path: string): Promise<Uint8Array | number> {
  return withParts(sys, [cStringPart(path), CHUNK_BYTES], async ([pathAt = 0, bufferAt = 0]) => {
    const fd = await sys.trap(NR.openat, AT.FDCWD, pathAt, O.RDONLY | O.CLOEXEC);
    if (fd < 0) return fd;
    const chunks: Uint8Array[] = [];
    let count = await sys.trap(NR.read, fd, bufferAt, CHUNK_BYTES);
    while (count > 0) {
      chunks.push(sys.memory.read(bufferAt, count));
      count = await sys.trap(NR.read, fd, bufferAt, CHUNK_BYTES);
    }
    await closeFd(sys, fd);
    return count < 0 ? count : concat(chunks);
  });
}

/** The text of a file. Throws `FileError` with the errno as its cause. */
export async function readText(sys: Sys, path: string): Promise<string> {
  const bytes = await tryReadFile(sys, path);
  if (typeof bytes !== "number") return utf8Decode(bytes);
  const cause = new SyscallError("open", -bytes);
  throw new FileError(path, cause.message, { cause });
}

export async function readFile(sys: Sys, path: string): Promise<Uint8Array> {
  const bytes = await tryReadFile(sys, path);
  if (typeof bytes !== "number") return bytes;
  const cause = new SyscallError("open", -bytes);
  throw new FileError(path, cause.message, { cause });
}

/** Errors of close(2) are of no use to anyone here. */
export async function closeFd(sys: Sys, fd: number): Promise<void> {
  await sys.trap(NR.close, fd);
}

function concat(chunks: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    out.set(chunk, at);
    at += chunk.length;
  }
  return out;
}
