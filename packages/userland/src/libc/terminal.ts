/** Terminals: termios(3), window size, foreground process group (tcsetpgrp(3)). */
import { IOCTL, NR, termios, winsize } from "@alien-ts/abi";
import { check, failed } from "./errors.ts";
import type { Process } from "./process.ts";
import { fill, pass, withBlock } from "./structs.ts";

export interface Termios {
  c_iflag: number;
  c_oflag: number;
  c_cflag: number;
  c_lflag: number;
  c_line: number;
  c_cc: Uint8Array;
}

/** isatty(3): whether the descriptor answers TCGETS. */
export async function isTerminal(process: Process, fd: number): Promise<boolean> {
  return (await getTermios(process, fd)) !== undefined;
}

/** tcgetattr(3); undefined where `fd` is no terminal. */
export async function getTermios(process: Process, fd: number): Promise<Termios | undefined> {
  const got = await fill(process, termios, (addr) => process.trap(NR.ioctl, fd, IOCTL.TCGETS, addr));
  if (typeof got === "number") return undefined;
  const { c_iflag, c_oflag, c_cflag, c_lflag, c_line, c_cc } = got;
  return { c_iflag, c_oflag, c_cflag, c_lflag, c_line, c_cc: c_cc.slice() };
}

/** tcsetattr(3) with TCSADRAIN. */
export async function setTermios(process: Process, fd: number, value: Termios): Promise<void> {
  const set = (view: Termios): void => {
    const { c_cc, ...flags } = value;
    Object.assign(view, flags);
    view.c_cc = c_cc;
  };
  const result = await pass(process, termios, set, (addr) => process.trap(NR.ioctl, fd, IOCTL.TCSETSW, addr));
  check(result, "ioctl");
}

/** Rows and columns; 24 × 80 where the terminal does not know, or there is none. */
export async function windowSize(process: Process, fd: number): Promise<{ rows: number; columns: number }> {
  const got = await fill(process, winsize, (addr) => process.trap(NR.ioctl, fd, IOCTL.TIOCGWINSZ, addr));
  if (typeof got === "number") return { rows: 24, columns: 80 };
  return { rows: got.ws_row || 24, columns: got.ws_col || 80 };
}

/** tcgetpgrp(3); negative where `fd` is not the controlling terminal. */
export async function foregroundGroup(process: Process, fd: number): Promise<number> {
  return withBlock(process, 16, async (addr) => {
    const result = await process.trap(NR.ioctl, fd, IOCTL.TIOCGPGRP, addr);
    return failed(result) ? result : process.memory.readU32(addr);
  });
}

/** tcsetpgrp(3): a raw result. */
export async function setForegroundGroup(process: Process, fd: number, group: number): Promise<number> {
  return withBlock(process, 16, async (addr) => {
    process.memory.writeU32(addr, group);
    return process.trap(NR.ioctl, fd, IOCTL.TIOCSPGRP, addr);
  });
}
