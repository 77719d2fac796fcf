/** tty(1), stty(1). */
import { IFLAG, IOCTL, LFLAG, NR, OFLAG, VCC, winsize } from "@alien-ts/abi";
import { SystemError, ToolError, UsageError, check } from "../libc/errors.ts";
import { readlink } from "../libc/files.ts";
import type { Process } from "../libc/process.ts";
import { pass } from "../libc/structs.ts";
import { type Termios, getTermios, isTerminal, setTermios, windowSize } from "../libc/terminal.ts";
import { tool } from "../libc/tool.ts";

export const tty = tool({
  name: "tty",
  usage: "tty [-s]",
  usageStatus: 2,
  options: "s",
  long: { silent: "s", quiet: "s" },
  main: async (process, { options }) => {
    const isOne = await isTerminal(process, 0);
    if (!options.has("s")) await process.stdout.writeLine(isOne ? await nameOf(process) : "not a tty");
    return isOne ? 0 : 1;
  },
});

async function nameOf(process: Process): Promise<string> {
  try {
    return await readlink(process, "/proc/self/fd/0");
  } catch (error) {
    if (error instanceof SystemError) return "/dev/tty";
    throw error;
  }
}

type FlagWord = "c_iflag" | "c_oflag" | "c_lflag";

const FLAGS: Readonly<Record<string, readonly [FlagWord, number]>> = {
  brkint: ["c_iflag", IFLAG.BRKINT],
  icrnl: ["c_iflag", IFLAG.ICRNL],
  igncr: ["c_iflag", IFLAG.IGNCR],
  inlcr: ["c_iflag", IFLAG.INLCR],
  ixon: ["c_iflag", IFLAG.IXON],
  iutf8: ["c_iflag", IFLAG.IUTF8],
  opost: ["c_oflag", OFLAG.OPOST],
  onlcr: ["c_oflag", OFLAG.ONLCR],
  isig: ["c_lflag", LFLAG.ISIG],
  icanon: ["c_lflag", LFLAG.ICANON],
  iexten: ["c_lflag", LFLAG.IEXTEN],
  echo: ["c_lflag", LFLAG.ECHO],
  echoe: ["c_lflag", LFLAG.ECHOE],
  echok: ["c_lflag", LFLAG.ECHOK],
  echonl: ["c_lflag", LFLAG.ECHONL],
  echoctl: ["c_lflag", LFLAG.ECHOCTL],
  echoke: ["c_lflag", LFLAG.ECHOKE],
  noflsh: ["c_lflag", LFLAG.NOFLSH],
  tostop: ["c_lflag", LFLAG.TOSTOP],
};

const CHARACTERS: Readonly<Record<string, number>> = {
  intr: VCC.INTR,
  quit: VCC.QUIT,
  erase: VCC.ERASE,
  kill: VCC.KILL,
  eof: VCC.EOF,
  start: VCC.START,
  stop: VCC.STOP,
  susp: VCC.SUSP,
  werase: VCC.WERASE,
  lnext: VCC.LNEXT,
};

const RAW = ["-icanon", "-isig", "-iexten", "-icrnl", "-ixon", "-brkint", "-opost"];
const SANE = [
  "icanon",
  "isig",
  "iexten",
  "echo",
  "echoe",
  "echok",
  "-echonl",
  "icrnl",
  "ixon",
  "brkint",
  "-inlcr",
  "-igncr",
  "opost",
  "onlcr",
];
const COMBINATIONS: Readonly<Record<string, readonly string[]>> = {
  raw: RAW,
  "-raw": SANE,
  cooked: SANE,
  cbreak: ["-icanon"],
  "-cbreak": ["icanon"],
  sane: SANE,
};

export const stty = tool({
  name: "stty",
  usage: "stty [-a | -g] [SETTING]... | stty size | stty rows N | stty cols N",
  options: "",
  raw: true,
  main: async (process, { words }) => {
    const modes = await getTermios(process, 0);
    if (modes === undefined) throw new ToolError("standard input: Inappropriate ioctl for device");
    if (words.length === 0 || words[0] === "-a") return show(process, modes);
    if (words[0] === "-g") {
      const { c_iflag, c_oflag, c_cflag, c_lflag, c_cc } = modes;
      const parts = [c_iflag, c_oflag, c_cflag, c_lflag, ...c_cc].map((value) => value.toString(16));
      await process.stdout.writeLine(parts.join(":"));
      return 0;
    }
    if (words[0] === "size") {
      const { rows, columns } = await windowSize(process, 0);
      await process.stdout.writeLine(`${rows} ${columns}`);
      return 0;
    }
    return change(process, modes, words);
  },
});

const caret = (value: number): string =>
  value === 0
    ? "<undef>"
    : value < 32 || value === 127
      ? `^${String.fromCharCode(value ^ 64)}`
      : String.fromCharCode(value);

async function show(process: Process, modes: Termios): Promise<number> {
  const { rows, columns } = await windowSize(process, 0);
  const characters = Object.entries(CHARACTERS).map(
    ([name, index]) => `${name} = ${caret(modes.c_cc[index] ?? 0)};`,
  );
  const flags = Object.entries(FLAGS).map(([name, [word, bit]]) =>
    (modes[word] & bit) === 0 ? `-${name}` : name,
  );
  await process.stdout.write(
    `speed 38400 baud; rows ${rows}; columns ${columns}; line = ${modes.c_line};\n${characters.join(" ")}\n${flags.join(" ")}\n`,
  );
  return 0;
}

async function change(process: Process, modes: Termios, words: readonly string[]): Promise<number> {
  let isChanged = false;
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    const index = CHARACTERS[word];
    if (word === "rows" || word === "cols" || word === "columns" || index !== undefined) {
      i += 1;
      const value = words[i];
      if (value === undefined) throw new UsageError(`missing argument to '${word}'`);
      if (index === undefined) await resize(process, word, value);
      else modes.c_cc[index] = characterOf(value);
      isChanged ||= index !== undefined;
      continue;
    }
    for (const setting of COMBINATIONS[word] ?? [word]) applyFlag(modes, setting);
    isChanged = true;
  }
  if (isChanged) await setTermios(process, 0, modes);
  return 0;
}

function applyFlag(modes: Termios, setting: string): void {
  const isOff = setting.startsWith("-");
  const flag = FLAGS[isOff ? setting.slice(1) : setting];
  if (flag === undefined) throw new UsageError(`invalid argument '${setting}'`);
  const [word, bit] = flag;
  modes[word] = isOff ? modes[word] & ~bit : modes[word] | bit;
}

/** `^C`, `undef`, or the character itself. */
function characterOf(text: string): number {
  if (text === "undef" || text === "^-") return 0;
  if (text === "^?") return 127;
  return text.startsWith("^") && text.length === 2 ? text.charCodeAt(1) & 31 : text.charCodeAt(0);
}

async function resize(process: Process, word: string, value: string): Promise<void> {
  if (!/^\d+$/.test(value)) throw new UsageError(`invalid integer argument: '${value}'`);
  const size = await windowSize(process, 0);
  const set = (view: { ws_row: number; ws_col: number }): void => {
    view.ws_row = word === "rows" ? Number(value) : size.rows;
    view.ws_col = word === "rows" ? size.columns : Number(value);
  };
  check(
    await pass(process, winsize, set, (addr) => process.trap(NR.ioctl, 0, IOCTL.TIOCSWINSZ, addr)),
    "ioctl",
  );
}
