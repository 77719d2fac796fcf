/** The BPF objects of the demo programs, as files of the root file system. */
import { S } from "@alien-ts/abi";
import type { ImageFile } from "../image.ts";
import { object as kprobeTrace } from "./bpf/kprobe-trace.object.ts";
import { object as syscallCount } from "./bpf/syscall-count.object.ts";

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/** base64 (RFC 4648), without the platform's atob. */
export function fromBase64(text: string): Uint8Array {
  const values = new Uint8Array(128);
  for (let i = 0; i < ALPHABET.length; i++) values[ALPHABET.charCodeAt(i)] = i;
  const length = text.indexOf("=") < 0 ? text.length : text.indexOf("=");
  const bytes = new Uint8Array(Math.floor((length * 3) / 4));
  let bits = 0;
  let held = 0;
  let at = 0;
  for (let i = 0; i < length; i++) {
    held = ((held << 6) | values[text.charCodeAt(i)]!) & 0xf_ffff;
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    bytes[at++] = held >> bits;
  }
  return bytes;
}

const file = (path: string, text: string): ImageFile => ({
  path,
  mode: S.IFREG | 0o644,
  bytes: fromBase64(text),
});

export const OBJECTS: readonly ImageFile[] = [
  file("/lib/bpf/syscall_count.bpf.o", syscallCount),
  file("/lib/bpf/kprobe_trace.bpf.o", kprobeTrace),
];
