/** date(1), in UTC. */
import { CLOCK, NR, timespec } from "@alien-ts/abi";
import { parseDate } from "../libc/dates.ts";
import { ToolError, UsageError, check } from "../libc/errors.ts";
import { stat } from "../libc/files.ts";
import type { Options } from "../libc/getopt.ts";
import type { Process } from "../libc/process.ts";
import { pass } from "../libc/structs.ts";
import { type Instant, clockGetTime, formatTime } from "../libc/time.ts";
import { tool } from "../libc/tool.ts";

const ISO: Readonly<Record<string, string>> = {
  "": "%Y-%m-%d",
  date: "%Y-%m-%d",
  hours: "%Y-%m-%dT%H+00:00",
  minutes: "%Y-%m-%dT%H:%M+00:00",
  seconds: "%Y-%m-%dT%H:%M:%S+00:00",
  ns: "%Y-%m-%dT%H:%M:%S,%N+00:00",
};

export const date = tool({
  name: "date",
  usage: "date [-Ru] [-d STRING] [-r FILE] [-s STRING] [-I[SPEC]] [+FORMAT]",
  options: "Rud:r:s:",
  long: {
    date: "d",
    reference: "r",
    "rfc-email": "R",
    set: "s",
    utc: "u",
    universal: "u",
    "iso-8601": "iso?",
  },
  rewrite: (words) => words.map((word) => (word.startsWith("-I") ? `--iso-8601=${word.slice(2)}` : word)),
  main: async (process, { options, operands }) => {
    const [format] = operands;
    if (operands.length > 1) throw new UsageError(`extra operand '${operands[1]!}'`);
    if (format !== undefined && !format.startsWith("+")) throw new ToolError(`invalid date '${format}'`);
    const instant = await chooseTime(process, options);
    if (options.has("s")) await setClock(process, instant);
    await process.stdout.writeLine(formatTime(chooseFormat(options, format), instant));
    return 0;
  },
});

function chooseFormat(options: Options, format: string | undefined): string {
  if (format !== undefined) return format.slice(1);
  if (options.has("R")) return "%a, %d %b %Y %H:%M:%S %z";
  const iso = options.value("iso");
  if (iso === undefined) return "%a %b %e %H:%M:%S %Z %Y";
  const found = Object.keys(ISO).find((name) => name.startsWith(iso) && (iso !== "" || name === ""));
  if (found === undefined) throw new UsageError(`invalid argument '${iso}' for '--iso-8601'`);
  return ISO[found]!;
}

async function chooseTime(process: Process, options: Options): Promise<Instant> {
  const file = options.value("r");
  if (file !== undefined) {
    const { st_mtime, st_mtime_nsec } = await stat(process, file);
    return { seconds: st_mtime, nanoseconds: st_mtime_nsec };
  }
  const now = await clockGetTime(process);
  const text = options.value("s") ?? options.value("d");
  if (text === undefined) return now;
  const parsed = parseDate(text, now);
  if (parsed === undefined) throw new ToolError(`invalid date '${text}'`);
  return parsed;
}

async function setClock(process: Process, { seconds, nanoseconds }: Instant): Promise<void> {
  const set = (view: { tv_sec: number; tv_nsec: number }): void => {
    view.tv_sec = seconds;
    view.tv_nsec = nanoseconds;
  };
  const result = await pass(process, timespec, set, (addr) =>
    process.trap(NR.clock_settime, CLOCK.REALTIME, addr),
  );
  check(result, "clock_settime", "cannot set date");
}
