/**
 * The command line of `alien boot`. Interface: `parseBootArguments`, `BOOT_USAGE`.
 */
import { type OptionSpec, parseInteger, parseOptions, Problem } from "../options.ts";

/** Plain data: it crosses to the kernel's thread. */
export interface BootArguments {
  /** Shell commands to run instead of an interactive session. */
  readonly commands: string | undefined;
  readonly cpus: number;
  readonly seed: number;
  /** Undefined: the host's on a terminal, virtual otherwise. */
  readonly clock: "virtual" | "host" | undefined;
  readonly release: string | undefined;
  readonly memoryMiB: number;
  /** Seed of a shuffled layout; undefined for the natural one. */
  readonly layoutSeed: number | undefined;
  readonly strictTasks: boolean;
  readonly quiet: boolean;
  /** Print how long the boot took. */
  readonly timing: boolean;
  /** Seconds without progress after which the watchdog ends the run; 0 turns it off. */
  readonly watchdogSeconds: number;
  /** The kernel's command line (/proc/cmdline). */
  readonly commandLine: string;
}

export const BOOT_USAGE = `usage: alien boot [OPTION]... [-- KERNEL-ARGUMENT...]

Boots the emulated Linux. On a terminal it is a session at a shell; otherwise the shell reads standard input.

  -c COMMANDS           run COMMANDS in the shell, halt, and exit with their status; standard output holds only
                        their output
  --cpus N              simulated CPUs, 1 to 64 (2)
  --seed N              seed of every random choice (1)
  --clock virtual|host  virtual time repeats exactly and never waits; the host's time passes as on the wall
                        (host on a terminal, virtual with -c or without a terminal)
  --release R           what uname -r prints (6.18.0-alien)
  --mem MiB             memory, 16 to 1024 (256)
  --layout natural|shuffled:SEED
                        offsets of the fields of kernel structs (natural)
  --strict-tasks        a program that awaits something foreign to the system stops the kernel
  --watchdog SECONDS    end a run that makes no progress for so long; 0 never does (20)
  --quiet               no kernel log on standard error or the terminal
  --timing              print on standard error when the shell first reads or executes
  --help                print this text

KERNEL-ARGUMENTs are the kernel's command line, as in /proc/cmdline.
Exit status: that of the commands or the shell; 2 for a bad command line, 70 after a kernel bug.
`;

const OPTIONS: readonly OptionSpec[] = [
  { name: "-c", value: "COMMANDS" },
  { name: "--cpus", value: "N" },
  { name: "--seed", value: "N" },
  { name: "--clock", value: "virtual|host" },
  { name: "--release", value: "R" },
  { name: "--mem", value: "MiB" },
  { name: "--layout", value: "natural|shuffled:SEED" },
  { name: "--watchdog", value: "SECONDS" },
  { name: "--strict-tasks" },
  { name: "--quiet" },
  { name: "--timing" },
  { name: "--help" },
];

/** new_utsname has 65 bytes for it. */
const RELEASE_MOST = 64;
const SEED_MOST = 0xffff_ffff;

export function parseBootArguments(args: readonly string[]): BootArguments | "help" | Problem {
  const parsed = parseOptions(args, OPTIONS);
  if (parsed instanceof Problem) return parsed;
  const { values, operands, rest } = parsed;
  if (values.has("--help")) return "help";
  if (operands.length > 0)
    return new Problem(`unexpected argument ${operands[0]}: commands follow -c, kernel arguments follow --`);
  const cpus = parseInteger("--cpus", values.get("--cpus") ?? "2", 1, 64);
  const seed = parseInteger("--seed", values.get("--seed") ?? "1", 0, SEED_MOST);
  const memoryMiB = parseInteger("--mem", values.get("--mem") ?? "256", 16, 1024);
  const watchdogSeconds = parseInteger("--watchdog", values.get("--watchdog") ?? "20", 0, 86_400);
  const layoutSeed = parseLayout(values.get("--layout") ?? "natural");
  const clock = parseClock(values.get("--clock"));
  const release = parseRelease(values.get("--release"));
  for (const part of [cpus, seed, memoryMiB, watchdogSeconds, layoutSeed, clock, release])
    if (part instanceof Problem) return part;
  return {
    commands: values.get("-c"),
    cpus: cpus as number,
    seed: seed as number,
    clock: clock as BootArguments["clock"],
    release: release as string | undefined,
    memoryMiB: memoryMiB as number,
    layoutSeed: layoutSeed as number | undefined,
    strictTasks: values.has("--strict-tasks"),
    quiet: values.has("--quiet"),
    timing: values.has("--timing"),
    watchdogSeconds: watchdogSeconds as number,
    commandLine: rest.join(" "),
  };
}

function parseLayout(text: string): number | undefined | Problem {
  if (text === "natural") return undefined;
  const seed = /^shuffled:(.+)$/.exec(text)?.[1];
  if (seed === undefined) return new Problem(`--layout ${text}: expected natural or shuffled:SEED`);
  return parseInteger("--layout", seed, 0, SEED_MOST);
}

function parseClock(text: string | undefined): BootArguments["clock"] | Problem {
  if (text === undefined || text === "virtual" || text === "host") return text;
  return new Problem(`--clock ${text}: expected virtual or host`);
}

function parseRelease(text: string | undefined): string | undefined | Problem {
  if (text === undefined) return undefined;
  if (/^\d+\.\d+[\x21-\x7e]*$/.test(text) && text.length <= RELEASE_MOST) return text;
  return new Problem(
    `--release ${text}: expected a version such as 6.18.0, at most ${RELEASE_MOST} characters without spaces`,
  );
}
