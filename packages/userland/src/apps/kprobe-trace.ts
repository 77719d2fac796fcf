/**
 * kprobe_trace: prints the name of every file that a task opens, with a BPF program on do_sys_openat2. Events come through a
 * perf event array, a ring per CPU.
 */
import { cString } from "@alien-ts/abi";
import { AyaError, Ebpf, PerfEventArray, Runtime } from "aya-ts";
import type { Process } from "../libc/process.ts";
import { complain, parseCount, tool } from "../libc/tool.ts";
import { sysOf } from "./sys.ts";

const OBJECT = "/lib/bpf/kprobe_trace.bpf.o";

export const kprobeTrace = tool({
  name: "kprobe_trace",
  usage:
    "kprobe_trace [-p PID] [-s SECONDS] [-n COUNT] [-o OBJECT]\n  -p, --pid PID    only this process\n  -s, --seconds N  end after N seconds (default: at Ctrl-C)\n  -n, --count N    end after N events\n  -o, --object F   the object to load",
  options: "p:s:n:o:",
  long: { pid: "p", seconds: "s", count: "n", object: "o" },
  main: async (process, { options }) => {
    const number = (key: string, what: string): number | undefined => {
      const text = options.value(key);
      return text === undefined ? undefined : parseCount(text, what);
    };
    const request: Request = {
      pid: number("p", "invalid process id") ?? 0,
      seconds: number("s", "invalid number of seconds"),
      count: number("n", "invalid number of events") ?? Number.POSITIVE_INFINITY,
      object: options.value("o") ?? OBJECT,
    };
    try {
      await run(process, request);
      return 0;
    } catch (error) {
      if (!(error instanceof AyaError)) throw error;
      await complain(process, "kprobe_trace", error.message);
      return 1;
    }
  },
});

interface Request {
  readonly pid: number;
  readonly seconds: number | undefined;
  readonly count: number;
  readonly object: string;
}

async function run(process: Process, request: Request): Promise<void> {
  await using rt = await Runtime.open(sysOf(process));
  await rt.blockOn(async () => {
    await using ebpf = await Ebpf.loadFile(rt.sys, request.object, {
      globals: { target_pid: { value: u32Bytes(request.pid) } },
    });
    const probe = ebpf.kprobe("kprobe_trace");
    await probe.load();
    await using _link = await probe.attach("do_sys_openat2");
    await print(process, "PID     COMM             PATH\n");
    if (request.count === 0) return;
    const done = rt.future<void>();
    const reader = rt.spawn(async () => {
      let seen = 0;
      for await (const event of new PerfEventArray(ebpf.map("EVENTS")).readable(rt)) {
        await print(
          process,
          event.kind === "sample" ? formatEvent(event.data) : `lost ${event.count} events\n`,
        );
        seen += 1;
        if (seen >= request.count) break;
      }
      done.complete();
    });
    if (request.seconds === undefined) await rt.select({ interrupt: rt.signal.ctrlC(), done });
    else await rt.select({ interrupt: rt.signal.ctrlC(), done, time: rt.sleep(request.seconds * 1000) });
    reader.abort();
  });
}

/** At once, whether or not the output is a terminal: an event may be the last for long. */
async function print(process: Process, line: string): Promise<void> {
  await process.stdout.write(line);
  await process.stdout.flush();
}

function u32Bytes(number: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, number, true);
  return bytes;
}

/** struct event of kprobe_trace.bpf.c. */
function formatEvent(data: Uint8Array): string {
  const pid = new DataView(data.buffer, data.byteOffset, data.byteLength).getUint32(0, true);
  const comm = cString(data.subarray(8, 24));
  const filename = cString(data.subarray(24, 152));
  return `${String(pid).padEnd(7)} ${comm.padEnd(16)} ${filename}\n`;
}
