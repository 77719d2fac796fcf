import {
  CPUS_MAX,
  DEFAULT_MEMORY_BYTES,
  DEFAULT_RELEASE,
  MEMORY_BYTES_MAX,
  MEMORY_BYTES_MIN,
} from "@alien-ts/kernel";
import { expect, test } from "vitest";
import { Problem } from "../options.ts";
import { BOOT_USAGE, parseBootArguments } from "./arguments.ts";

test("nothing given boots two CPUs with 256 MiB, and leaves the clock to the terminal", () => {
  expect(parseBootArguments([])).toEqual({
    commands: undefined,
    cpus: 2,
    seed: 1,
    clock: undefined,
    release: undefined,
    memoryMiB: 256,
    layoutSeed: undefined,
    strictTasks: false,
    quiet: false,
    timing: false,
    watchdogSeconds: 20,
    commandLine: "",
  });
});

for (const [what, args, expected] of [
  ["commands", ["-c", "ls -l; echo"], { commands: "ls -l; echo" }],
  ["commands that look like an option", ["-c", "--help"], { commands: "--help" }],
  ["no commands at all", ["-c", ""], { commands: "" }],
  ["values after a space and after =", ["--cpus", "4", "--seed=0x10"], { cpus: 4, seed: 16 }],
  ["the last of two values", ["--cpus", "4", "--cpus", "8"], { cpus: 8 }],
  ["a shuffled layout", ["--layout", "shuffled:7"], { layoutSeed: 7 }],
  ["flags", ["--quiet", "--strict-tasks"], { quiet: true, strictTasks: true }],
  ["a release", ["--release", "5.15.0-91-generic"], { release: "5.15.0-91-generic" }],
  [
    "a kernel command line",
    ["--quiet", "--", "loglevel=3", "--quiet"],
    { commandLine: "loglevel=3 --quiet" },
  ],
] as const) {
  test(`${what} can be given`, () => expect(parseBootArguments(args)).toMatchObject(expected));
}

for (const [what, args, message] of [
  ["an unknown option", ["--cpu", "4"], "unknown option --cpu"],
  ["an unknown short option", ["-x"], "unknown option -x"],
  ["no CPU", ["--cpus", "0"], "--cpus 0: expected an integer from 1 to 64"],
  ["half a CPU", ["--cpus", "1.5"], "--cpus 1.5: expected an integer from 1 to 64"],
  ["a negative seed", ["--seed", "-1"], "--seed -1: expected an integer from 0 to 4294967295"],
  ["an empty number", ["--seed="], "--seed : expected an integer from 0 to 4294967295"],
  ["too much memory", ["--mem", "2048"], "--mem 2048: expected an integer from 16 to 1024"],
  ["another clock", ["--clock", "wall"], "--clock wall: expected virtual or host"],
  ["another layout", ["--layout", "random"], "--layout random: expected natural or shuffled:SEED"],
  [
    "a layout without a seed",
    ["--layout", "shuffled:"],
    "--layout shuffled:: expected natural or shuffled:SEED",
  ],
  ["a release that is no version", ["--release", "new"], "--release new: expected a version such as 6.18.0"],
  ["an option without its value", ["-c"], "-c expects a value: -c COMMANDS"],
  ["a flag with a value", ["--quiet=1"], "--quiet takes no value"],
  ["an operand", ["ls"], "unexpected argument ls: commands follow -c"],
] as const) {
  test(`${what} is refused, and the message names it`, () => {
    const problem = parseBootArguments(args);
    expect(problem).toBeInstanceOf(Problem);
    expect((problem as Problem).message).toContain(message);
  });
}

test("every option is in the usage text", () => {
  expect(parseBootArguments(["--cpus", "x", "--help"])).toBe("help");
  for (const name of [
    "-c ",
    "--cpus",
    "--seed",
    "--clock",
    "--release",
    "--mem",
    "--layout",
    "--watchdog",
    "--quiet",
  ])
    expect(BOOT_USAGE).toContain(`  ${name}`);
});

/** The command line does not load the kernel, so it has the limits as text. */
test("the limits and defaults of the usage text are the kernel's", () => {
  const mib = (bytes: number): number => bytes / (1024 * 1024);
  expect(BOOT_USAGE).toContain(`simulated CPUs, 1 to ${CPUS_MAX} (2)`);
  expect(BOOT_USAGE).toContain(`uname -r prints (${DEFAULT_RELEASE})`);
  expect(BOOT_USAGE).toContain(
    `memory, ${mib(MEMORY_BYTES_MIN)} to ${mib(MEMORY_BYTES_MAX)} (${mib(DEFAULT_MEMORY_BYTES)})`,
  );
  expect(
    parseBootArguments(["--mem", String(mib(MEMORY_BYTES_MAX)), "--cpus", String(CPUS_MAX)]),
  ).toMatchObject({
    memoryMiB: mib(MEMORY_BYTES_MAX),
    cpus: CPUS_MAX,
  });
});
