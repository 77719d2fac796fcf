/** The BPF objects of the demo programs, as files of the root file system. */
import { S } from "@alien-ts/abi";
import type { ImageFile } from "../image.ts";
import { object as kprobeTrace } from "./bpf/kprobe-trace.object.ts";
import { object as syscallCount } from "./bpf/syscall-count.object.ts";

/** Node and browsers have it; the library of types that the packages share has it not. */
const { atob } = globalThis as unknown as { atob(text: string): string };

const fromBase64 = (text: string): Uint8Array => {
  const characters = atob(text);
  const bytes = new Uint8Array(characters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = characters.charCodeAt(i);
  return bytes;
};

const file = (path: string, text: string): ImageFile => ({
  path,
  mode: S.IFREG | 0o644,
  bytes: fromBase64(text),
});

export const OBJECTS: readonly ImageFile[] = [
  file("/lib/bpf/syscall_count.bpf.o", syscallCount),
  file("/lib/bpf/kprobe_trace.bpf.o", kprobeTrace),
];
