/** Whole machines in this process: from boot to the exit status, as `alien boot` runs them. */
import { NR, utf8Decode, utf8Encode } from "@alien-ts/abi";
import { expect, test } from "vitest";
import type { BootArguments } from "./arguments.ts";
import { Machine } from "./machine.ts";
import { STATUS_BUG } from "./messages.ts";

const DEFAULTS: BootArguments = {
  commands: undefined,
  cpus: 2,
  seed: 1,
  clock: undefined,
  release: undefined,
  memoryMiB: 32,
  layoutSeed: undefined,
  strictTasks: false,
  quiet: true,
  timing: false,
  watchdogSeconds: 0,
  commandLine: "",
};

interface Run {
  readonly status: number;
  readonly output: string;
  readonly log: string;
}

/** Boots, gives it `input`, and waits for its end. */
function run(
  given: Partial<BootArguments>,
  input?: string,
  prepare?: (machine: Machine) => void,
): Promise<Run> {
  return new Promise((resolve) => {
    let output = "";
    const log: string[] = [];
    const machine = new Machine(
      { arguments: { ...DEFAULTS, ...given }, isTerminal: false },
      {
        output: (bytes) => {
          output += utf8Decode(bytes);
        },
        errorOutput: (bytes) => void log.push(utf8Decode(bytes)),
        log: (line) => void log.push(line),
        ended: (status) => resolve({ status, output, log: log.join("\n") }),
      },
    );
    prepare?.(machine);
    machine.start();
    if (input !== undefined) machine.input(utf8Encode(input));
    if (input !== undefined) machine.hangup();
  });
}

for (const [what, given, input, expected] of [
  [
    "commands print, and their status is the machine's",
    { commands: "echo hello; exit 3" },
    undefined,
    ["hello\n", 3],
  ],
  ["commands read standard input", { commands: "cat" }, "one\ntwo\n", ["one\ntwo\n", 0]],
  ["the shell reads a script from standard input", {}, "echo a b\nexit 4\n", ["a b\n", 4]],
  [
    "the release is what was asked for",
    { commands: "uname -r", release: "5.15.0" },
    undefined,
    ["5.15.0\n", 0],
  ],
  ["virtual time does not wait", { commands: "sleep 100000" }, undefined, ["", 0]],
  ["one CPU is enough", { commands: "echo a | cat", cpus: 1 }, undefined, ["a\n", 0]],
  ["a shuffled layout changes nothing", { commands: "echo a | cat", layoutSeed: 5 }, undefined, ["a\n", 0]],
] as const) {
  test(what, async () => {
    const { output, status, log } = await run(given, input);
    expect([output, status, log]).toEqual([...expected, ""]);
  });
}

test("standard error of commands is a stream of its own", async () => {
  const { output, log, status } = await run({
    commands: "echo out; echo err >&2; cat /none; readlink /dev/stderr",
  });
  expect([output, log, status]).toEqual([
    "out\n/proc/self/fd/2\n",
    "err\n\ncat: /none: No such file or directory\n",
    0,
  ]);
});

test("the kernel log has time stamps, and does not mix with the output", async () => {
  const { output, log } = await run({ commands: "echo x", quiet: false });
  expect(output).toBe("x\n");
  expect(log).toMatch(/^\[ {4}0\.000000\] Linux version 6\.18\.0-alien /);
});

test("two machines run side by side", async () => {
  const [a, b] = await Promise.all([run({ commands: "echo a" }), run({ commands: "echo b", seed: 2 })]);
  expect([a.output, b.output]).toEqual(["a\n", "b\n"]);
});

test("a kernel bug in a system call prints an oops with registers and a call trace, and the status says so", async () => {
  const { status, log } = await run({ commands: "uname" }, undefined, ({ kernel }) => {
    const row = kernel.syscallTable[NR.uname]!;
    const bug = (): never => {
      throw new TypeError("planted");
    };
    kernel.syscallTable[NR.uname] = { ...row, gate: Object.assign(bug, { row: row.gate.row }) };
  });
  expect(status).toBe(STATUS_BUG);
  expect(log).toContain("kernel BUG: TypeError: planted");
  expect(log).toMatch(/CPU: \d UID: 0 PID: \d+ Comm: uname Not tainted 6\.18\.0-alien/);
  expect(log).toMatch(/ a7 : 00000000000000a0/);
  expect(log).toMatch(/Call Trace:\n\[ *\d+\.\d+\] \[<ffffffd6[0-9a-f]{8}>\] do_trap_ecall_u\+0x/);
});
