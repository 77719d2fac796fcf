/** `alien asm`: BPF instructions as text to bytes. Interface: `assembleText`. */
import { AssembleError, assemble, encode } from "@alien-ts/bpf-isa";

/** The bytes of the program, or the message for `name:line`. */
export function assembleText(text: string, name: string): Uint8Array | string {
  const insns = assemble(text);
  if (insns instanceof AssembleError) return `${name}:${insns.line}: ${insns.message}`;
  return encode(insns);
}
