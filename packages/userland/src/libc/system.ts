/** The system as a whole: names, memory, mounts, the kernel log, power. */
import { NR, REBOOT, type ViewOf, new_utsname, sysinfo } from "@alien-ts/abi";
import { check } from "./errors.ts";
import type { Process } from "./process.ts";
import { fill, withBlock, withString } from "./structs.ts";
import { fromBytes } from "./text.ts";

export async function uname(process: Process): Promise<ViewOf<typeof new_utsname>> {
  const got = await fill(process, new_utsname, (addr) => process.trap(NR.uname, addr));
  if (typeof got !== "number") return got;
  check(got, "uname");
  throw new Error("uname gave nothing");
}

export async function systemInformation(process: Process): Promise<ViewOf<typeof sysinfo>> {
  const got = await fill(process, sysinfo, (addr) => process.trap(NR.sysinfo, addr));
  if (typeof got !== "number") return got;
  check(got, "sysinfo");
  throw new Error("sysinfo gave nothing");
}

export async function setHostName(process: Process, name: string): Promise<void> {
  check(
    await withString(process, name, (at) => process.trap(NR.sethostname, at, name.length)),
    "sethostname",
  );
}

export interface MountRequest {
  readonly source: string;
  readonly target: string;
  readonly type: string;
  readonly flags?: number;
  /** Options for the file system itself. */
  readonly data?: string;
}

/** mount(2): a raw result. */
export async function tryMount(process: Process, request: MountRequest): Promise<number> {
  const { source, target, type, flags = 0, data = "" } = request;
  return withString(process, source, (a) =>
    withString(process, target, (b) =>
      withString(process, type, (c) =>
        withString(process, data, (d) => process.trap(NR.mount, a, b, c, flags, data === "" ? 0 : d)),
      ),
    ),
  );
}

export async function unmount(process: Process, target: string, flags: number): Promise<void> {
  check(await withString(process, target, (at) => process.trap(NR.umount2, at, flags)), "umount", target);
}

/** syslog(2) actions. */
export const SYSLOG = { READ_ALL: 3, READ_CLEAR: 4, CLEAR: 5, CONSOLE_LEVEL: 8, SIZE_BUFFER: 10 } as const;

/** The kernel's log, with `<level>` before every line. */
export async function readKernelLog(process: Process, action: number): Promise<string> {
  const size = check(await process.trap(NR.syslog, SYSLOG.SIZE_BUFFER, 0, 0), "klogctl");
  return withBlock(process, size, async (buffer) => {
    const length = check(await process.trap(NR.syslog, action, buffer, size), "klogctl");
    return fromBytes(process.memory.read(buffer, length));
  });
}

export type PowerAction = "halt" | "poweroff" | "restart";

const POWER_COMMANDS: Readonly<Record<PowerAction, number>> = {
  halt: REBOOT.CMD_HALT,
  poweroff: REBOOT.CMD_POWER_OFF,
  restart: REBOOT.CMD_RESTART,
};

/**
 * Writes what is cached and stops the machine; `status` goes along as reboot(2)'s fourth argument, which Linux ignores here
 * and the emulator gives its host as exit status. Returns only where the kernel refuses, with the raw result.
 */
export async function stopMachine(process: Process, action: PowerAction, status = 0): Promise<number> {
  await process.trap(NR.sync);
  return process.trap(NR.reboot, REBOOT.MAGIC1, REBOOT.MAGIC2, POWER_COMMANDS[action], status);
}
