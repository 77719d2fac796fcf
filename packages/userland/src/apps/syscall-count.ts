/**
 * syscall_count: counts the system calls of all tasks by number, with a BPF program on the kernel's system call entry, and
 * prints the counts every second. The program logs each number that it sees for the first time.
 */
import { NR } from "@alien-ts/abi";
import { AyaError, count64, Ebpf, EbpfLogger, HashMap, Runtime, u32 } from "aya-ts";
import type { Process } from "../libc/process.ts";
import { complain, parseCount, tool } from "../libc/tool.ts";
import { sysOf } from "./sys.ts";

const OBJECT = "/lib/bpf/syscall_count.bpf.o";
const NAMES = new Map(Object.entries(NR).map(([name, nr]) => [nr as number, name]));

export const syscallCount = tool({
  name: "syscall_count",
  usage:
    "syscall_count [-s SECONDS] [-q] [-o OBJECT]\n  -s, --seconds N  end after N seconds (default: at Ctrl-C)\n  -q, --quiet      do not show the program's log\n  -o, --object F   the object to load",
  options: "s:qo:",
  long: { seconds: "s", quiet: "q", object: "o" },
  main: async (process, { options }) => {
    const limit = options.value("s");
    const seconds =
      limit === undefined ? Number.POSITIVE_INFINITY : parseCount(limit, "invalid number of seconds");
    try {
      await run(process, { seconds, isQuiet: options.has("q"), object: options.value("o") ?? OBJECT });
      return 0;
    } catch (error) {
      if (!(error instanceof AyaError)) throw error;
      await complain(process, "syscall_count", error.message);
      return 1;
    }
  },
});

interface Run {
  readonly seconds: number;
  readonly isQuiet: boolean;
  readonly object: string;
}

async function run(process: Process, { seconds, isQuiet, object }: Run): Promise<void> {
  await using rt = await Runtime.open(sysOf(process));
  await rt.blockOn(async () => {
    await using ebpf = await Ebpf.loadFile(rt.sys, object);
    const logger = await EbpfLogger.init(ebpf, (record) => {
      if (!isQuiet) log.push(`[${record.level.toUpperCase()} ${record.target}] ${record.message}\n`);
    });
    const log: string[] = [];
    const probe = ebpf.kprobe("syscall_count");
    await probe.load();
    await using _link = await probe.attach("do_trap_ecall_u");
    const counts = new HashMap(ebpf.map("SYSCALL_LIST"), u32, count64);
    let isInterrupted = false;
    rt.spawn(async () => {
      await rt.signal.ctrlC();
      isInterrupted = true;
    });
    for (let second = 1; second <= seconds && !isInterrupted; second++) {
      await untilInterrupted(rt, 1000, () => isInterrupted);
      await logger.flush();
      for (const line of log.splice(0)) await process.stderr.write(line);
      await printCounts(process, second, counts);
    }
  });
}

/** Sleeps in steps, so that Ctrl-C ends it soon. */
async function untilInterrupted(rt: Runtime, ms: number, isInterrupted: () => boolean): Promise<void> {
  const step = 100;
  for (let left = ms; left > 0 && !isInterrupted(); left -= step) await rt.sleep(Math.min(step, left));
}

async function printCounts(process: Process, second: number, counts: HashMap<number, number>): Promise<void> {
  const rows: (readonly [number, number])[] = [];
  for await (const row of counts) rows.push(row);
  rows.sort(([a, x], [b, y]) => y - x || a - b);
  await process.stdout.write(`after ${second} s:\n`);
  for (const [nr, count] of rows)
    await process.stdout.write(`${String(count).padStart(8)}  ${NAMES.get(nr) ?? `syscall_${nr}`}\n`);
  await process.stdout.flush();
}
