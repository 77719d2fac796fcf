/** Strings from user memory. */
import { EFAULT, type KAddr, type LinearMemory, type Result, type UAddr } from "@alien-ts/abi";
import type { UserCopyOps } from "./ports.ts";

interface Source {
  readonly ports: UserCopyOps;
  readonly m: LinearMemory;
  /** At least one byte. */
  readonly scratch: KAddr;
}

/** The characters (one per byte) before the NUL, at most `limit`: as `strncpy_from_user`. EFAULT. */
export function readUserString({ ports, m, scratch }: Source, from: UAddr, limit: number): Result<string> {
  let text = "";
  while (text.length < limit) {
    if (!ports.copyFromUser(scratch, from + text.length, 1)) return EFAULT;
    const byte = m.u8[scratch]!;
    if (byte === 0) break;
    text += String.fromCharCode(byte);
  }
  return text;
}
