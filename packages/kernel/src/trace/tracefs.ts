/**
 * tracefs (/sys/kernel/tracing): the trace buffer and the switches of trace events. Linux: kernel/trace/trace.c, fs/tracefs.
 *
 *     trace            header and records; opening it for writing (`> trace`) clears the buffer
 *     trace_pipe       records, consumed (trace-pipe.ts)
 *     trace_marker     a line written to it is recorded
 *     tracing_on       whether anything is recorded
 *     available_events, set_event
 *     current_tracer, available_tracers     "nop": there is no function tracer
 *     events/enable, events/<system>/enable, events/<system>/<event>/{enable,format,id}
 *
 * Differs from Linux: `trace` and `set_event` are cleared by every open for writing without O_APPEND, where Linux looks at
 * O_TRUNC; shells open with both or with none.
 */
import { EINVAL, FS_MAGIC, isErr, O, type Result } from "@alien-ts/abi";
import { formatFile } from "@alien-ts/tracepoint";
import type { Kernel } from "../core/kernel.ts";
import { dir, file, type SimpleDir, simpleFileSystem, special } from "../fs/simple.ts";
import type { File } from "../vfs/file.ts";
import { addAt } from "../fs/sysfs/tree.ts";
import { register_filesystem } from "../vfs/vfs.ts";
import { EventSwitches, fullName, type KernelEvent, parseSwitch } from "./event-switches.ts";
import { tracing_pipe_fops } from "./trace-pipe.ts";

const DIR_MODE = 0o750;
const READ_WRITE = 0o640;
const READ_ONLY = 0o440;
const WRITE_ONLY = 0o220;

/** Needs the trace buffer, the trace events and the VFS. */
export function initTracefs(kernel: Kernel): void {
  kernel.tracePipe = undefined;
  const root = tracingDirectory(kernel);
  const registered = register_filesystem(
    kernel,
    simpleFileSystem({ name: "tracefs", magic: FS_MAGIC.TRACEFS, root }),
  );
  if (isErr(registered)) throw new Error(`tracefs: ${registered.name}`);
}

function tracingDirectory(kernel: Kernel): SimpleDir {
  const { traceBuffer, traceEvents } = kernel;
  const switches = new EventSwitches(kernel);
  const readOnly = { mode: READ_ONLY };
  return dir(
    {
      available_events: file(
        () =>
          traceEvents
            .all()
            .map((event) => `${fullName(event)}\n`)
            .join(""),
        readOnly,
      ),
      available_tracers: file(() => "nop\n", readOnly),
      current_tracer: file(() => "nop\n", {
        mode: READ_WRITE,
        write: (_cx, text): Result<0> => (text.trim() === "nop" ? 0 : EINVAL),
      }),
      events: eventsDirectory(kernel, switches),
      set_event: file(() => switches.list(traceEvents.all()), {
        mode: READ_WRITE,
        open: (_cx, opened) => {
          if (truncates(opened)) switches.set(traceEvents.all(), false);
          return 0;
        },
        write: (_cx, text) => switches.writeNames(text),
      }),
      trace: file((cx) => traceText(cx.kernel), {
        mode: READ_WRITE,
        open: (_cx, opened) => {
          if (truncates(opened)) traceBuffer.clear();
          return 0;
        },
        write: () => 0,
      }),
      trace_marker: file(undefined, {
        mode: WRITE_ONLY,
        write: (cx, text) => traceBuffer.append(cx, "tracing_mark_write", text),
      }),
      trace_pipe: special(tracing_pipe_fops, readOnly),
      tracing_on: file(() => (traceBuffer.isOn ? "1\n" : "0\n"), {
        mode: READ_WRITE,
        write: (_cx, text): Result<0> => {
          const value = parseSwitch(text);
          if (value === undefined) return EINVAL;
          traceBuffer.isOn = value;
          return 0;
        },
      }),
    },
    { mode: 0o700 },
  );
}

const truncates = (opened: File): boolean => opened.canWrite && (opened.flags & O.APPEND) === 0;

/** Events that are registered later, by extensions, appear when they are. */
function eventsDirectory({ traceEvents }: Kernel, switches: EventSwitches): SimpleDir {
  const events = dir({ enable: enableFile(switches, () => traceEvents.all()) }, { mode: DIR_MODE });
  const show = (member: KernelEvent): void => {
    const { system, name } = member.event;
    if (events.get(system) === undefined) {
      const members = (): KernelEvent[] => traceEvents.all().filter(({ event }) => event.system === system);
      events.add(system, dir({ enable: enableFile(switches, members) }, { mode: DIR_MODE }));
    }
    addAt(events, `${system}/${name}`, eventDirectory(member, switches), DIR_MODE);
  };
  traceEvents.all().forEach(show);
  traceEvents.onRegistered = show;
  return events;
}

const eventDirectory = (member: KernelEvent, switches: EventSwitches): SimpleDir =>
  dir(
    {
      enable: enableFile(switches, () => [member]),
      format: file(() => formatFile(member.event, member.id), { mode: READ_ONLY }),
      id: file(() => `${member.id}\n`, { mode: READ_ONLY }),
    },
    { mode: DIR_MODE },
  );

const enableFile = (switches: EventSwitches, events: () => readonly KernelEvent[]) =>
  file(() => switches.show(events()), {
    mode: READ_WRITE,
    write: (_cx, text) => switches.write(events(), text),
  });

/** Linux: print_func_help_header_irq(). */
const COLUMNS = `#                                _-----=> irqs-off/BH-disabled
#                               / _----=> need-resched
#                              | / _---=> hardirq/softirq
#                              || / _--=> preempt-depth
#                              ||| / _-=> migrate-disable
#                              |||| /     delay
#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION
#              | |         |   |||||     |         |
`;

function traceText({ traceBuffer, config }: Kernel): string {
  const lines = traceBuffer.lines();
  const counts = `${lines.length}/${lines.length + traceBuffer.overruns}`;
  return `# tracer: nop\n#\n# entries-in-buffer/entries-written: ${counts}   #P:${config.cpus}\n#\n${COLUMNS}${lines.join("")}`;
}
