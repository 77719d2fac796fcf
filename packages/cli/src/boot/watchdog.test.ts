import { expect, test } from "vitest";
import { Progress } from "./progress.ts";
import { Watchdog } from "./watchdog.ts";

const LIMIT = 3;

/** Runs a check per entry; each says what the kernel's thread did before it. Gives the check that reported, or undefined. */
function watch(before: readonly ("steps" | "waits" | "loops")[]): number | undefined {
  const progress = new Progress();
  progress.setTask(12, () => "spin");
  const watchdog = new Watchdog(new Progress(progress.buffer), LIMIT);
  const index = before.findIndex((what) => {
    progress.setBusy(what !== "waits");
    if (what === "steps") progress.step();
    return watchdog.check() !== undefined;
  });
  return index < 0 ? undefined : index;
}

for (const [what, before, expected] of [
  ["a kernel that steps is left alone", ["steps", "steps", "steps", "steps", "steps"], undefined],
  ["a kernel that waits is left alone", ["steps", "waits", "waits", "waits", "waits", "waits"], undefined],
  ["a loop is reported after the limit", ["steps", "loops", "loops", "loops", "loops"], 3],
  [
    "a loop that ends in time is left alone",
    ["steps", "loops", "loops", "steps", "loops", "loops"],
    undefined,
  ],
  ["a loop after a wait is reported", ["waits", "waits", "waits", "loops", "loops", "loops"], 5],
] as const) {
  test(what, () => expect(watch(before)).toBe(expected));
}

test("the report names the task", () => {
  const progress = new Progress();
  progress.setBusy(true);
  progress.setTask(12, () => "spin");
  const watchdog = new Watchdog(progress, 1);
  watchdog.check();
  expect(watchdog.check()).toMatch(/^task 12 \(spin\) made no system call for 1 s/);
});
