/** What a guest can see of a terminal (include/linux/tty.h, termios_internal.h), and the settings of a new one. */
import {
  bool,
  bytes,
  CFLAG,
  chars,
  IFLAG,
  LFLAG,
  nested,
  OFLAG,
  ptr,
  s32,
  struct,
  u32,
  u8,
  ulong,
  VCC,
  type ViewOf,
  winsize,
} from "@alien-ts/abi";

export const ktermios = struct("ktermios", {
  c_iflag: u32,
  c_oflag: u32,
  c_cflag: u32,
  c_lflag: u32,
  c_line: u8,
  c_cc: bytes(19),
  c_ispeed: u32,
  c_ospeed: u32,
});

export type Termios = ViewOf<typeof ktermios>;

export const tty_flow = struct("tty_flow", { stopped: bool, tco_stopped: bool });

export const tty_struct = struct("tty_struct", {
  index: s32,
  driver: ptr("tty_driver"),
  ops: ptr("tty_operations"),
  termios: nested(ktermios),
  termios_locked: nested(ktermios),
  name: chars(64),
  flags: ulong,
  count: s32,
  winsize: nested(winsize),
  flow: nested(tty_flow),
  link: ptr("tty_struct"),
  disc_data: ptr("void"),
  driver_data: ptr("void"),
});

const B38400 = 38_400;
const HUPCL = CFLAG.HUPCL;

/** INIT_C_CC (include/asm-generic/termios.h), by index of c_cc. */
const INITIAL_CC: readonly (readonly [number, number])[] = [
  [VCC.INTR, 3],
  [VCC.QUIT, 28],
  [VCC.ERASE, 127],
  [VCC.KILL, 21],
  [VCC.EOF, 4],
  [VCC.TIME, 0],
  [VCC.MIN, 1],
  [VCC.SWTC, 0],
  [VCC.START, 17],
  [VCC.STOP, 19],
  [VCC.SUSP, 26],
  [VCC.EOL, 0],
  [VCC.REPRINT, 18],
  [VCC.DISCARD, 15],
  [VCC.WERASE, 23],
  [VCC.LNEXT, 22],
  [VCC.EOL2, 0],
];

/** Linux: tty_std_termios (drivers/tty/tty_io.c). */
export function setStandardTermios(termios: Termios): void {
  termios.c_iflag = IFLAG.ICRNL | IFLAG.IXON;
  termios.c_oflag = OFLAG.OPOST | OFLAG.ONLCR;
  termios.c_cflag = CFLAG.B38400 | CFLAG.CS8 | CFLAG.CREAD | HUPCL;
  termios.c_lflag =
    LFLAG.ISIG |
    LFLAG.ICANON |
    LFLAG.ECHO |
    LFLAG.ECHOE |
    LFLAG.ECHOK |
    LFLAG.ECHOCTL |
    LFLAG.ECHOKE |
    LFLAG.IEXTEN;
  termios.c_line = 0;
  for (const [index, value] of INITIAL_CC) termios.c_cc[index] = value;
  termios.c_ispeed = B38400;
  termios.c_ospeed = B38400;
}

/** A pty's master end passes bytes as they are (drivers/tty/pty.c, pty_install). */
export function setRawTermios(termios: Termios): void {
  setStandardTermios(termios);
  termios.c_iflag = 0;
  termios.c_oflag = 0;
  termios.c_lflag = 0;
}
