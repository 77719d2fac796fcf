/** What a program asks about the machine: CPUs, kernel version, kernel symbols. Aya's `util`. */
import { new_utsname, NR, utf8Decode } from "@alien-ts/abi";
import { FileError, SyscallError } from "./errors.ts";
import { readText, tryReadFile } from "./sys/files.ts";
import { readRecord, recordSize } from "./sys/record.ts";
import { withParts } from "./sys/sys.ts";
import type { Sys } from "./sys/sys.ts";

const CPU_FOLDER = "/sys/devices/system/cpu";

/** Numbers of the CPUs that are online. */
export const onlineCpus = (sys: Sys): Promise<number[]> => cpuList(sys, `${CPU_FOLDER}/online`);

/** Number of possible CPUs: per-CPU maps have that many values. */
export async function nrCpus(sys: Sys): Promise<number> {
  return (await cpuList(sys, `${CPU_FOLDER}/possible`)).length;
}

async function cpuList(sys: Sys, path: string): Promise<number[]> {
  const text = (await readText(sys, path)).trim();
  const cpus = parseCpuList(text);
  if (cpus === undefined)
    throw new FileError(path, `expected a list of CPUs such as 0-3,5, found ${JSON.stringify(text)}`);
  return cpus;
}

/** "0-2,5" → [0, 1, 2, 5]; undefined when it is no such list. */
export function parseCpuList(text: string): number[] | undefined {
  const out: number[] = [];
  for (const range of text.split(",")) {
    const match = /^(\d+)(?:-(\d+))?$/.exec(range);
    if (match === null) return undefined;
    const first = Number(match[1]);
    const last = Number(match[2] ?? match[1]);
    for (let cpu = first; cpu <= last; cpu++) out.push(cpu);
  }
  return out;
}

/** Names by address, of `/proc/kallsyms`. Addresses are bigints: kernel addresses need all 64 bits. */
export async function kernelSymbols(sys: Sys): Promise<Map<bigint, string>> {
  return new Map(await readKallsyms(sys));
}

/** Every line of /proc/kallsyms, aliases too. */
export async function readKallsyms(sys: Sys): Promise<(readonly [address: bigint, name: string])[]> {
  const lines = (await readText(sys, "/proc/kallsyms")).split("\n");
  return lines.flatMap((line) => {
    const [address, , name] = line.split(/\s+/);
    return name === undefined ? [] : [[BigInt(`0x${address}`), name] as const];
  });
}

export class KernelVersion {
  readonly major: number;
  readonly minor: number;
  readonly patch: number;

  constructor(major: number, minor: number, patch: number) {
    this.major = major;
    this.minor = minor;
    this.patch = patch;
  }

  /** Of the running kernel: Ubuntu's signature, Debian's version, else the release. */
  static async current(sys: Sys): Promise<KernelVersion> {
    const signature = await tryReadFile(sys, "/proc/version_signature");
    if (typeof signature !== "number") {
      const version = KernelVersion.parse(utf8Decode(signature).split(" ")[2] ?? "");
      if (version !== undefined) return version;
    }
    const { release, version } = await uname(sys);
    const debian = /Debian (\S+)/.exec(version)?.[1];
    const parsed = KernelVersion.parse(debian ?? release);
    if (parsed === undefined)
      throw new FileError("uname", `expected a release such as 6.18.0, found ${release}`);
    return parsed;
  }

  /** "6.18.44-generic" → 6.18.44. */
  static parse(text: string): KernelVersion | undefined {
    const match = /^(\d+)\.(\d+)(?:\.(\d+))?/.exec(text);
    return match === null
      ? undefined
      : new KernelVersion(Number(match[1]), Number(match[2]), Number(match[3] ?? 0));
  }

  /** KERNEL_VERSION(a, b, c), with the patch level capped as in Linux. */
  get code(): number {
    return (this.major << 16) + (this.minor << 8) + Math.min(this.patch, 255);
  }

  isAtLeast(major: number, minor: number, patch = 0): boolean {
    return this.code >= new KernelVersion(major, minor, patch).code;
  }

  toString(): string {
    return `${this.major}.${this.minor}.${this.patch}`;
  }
}

export function uname(
  sys: Sys,
): Promise<{ readonly release: string; readonly version: string; readonly machine: string }> {
  const size = recordSize(new_utsname);
  return withParts(sys, [size], async ([at = 0]) => {
    const result = await sys.trap(NR.uname, at);
    if (result < 0) throw new SyscallError("uname", -result);
    const { release, version, machine } = readRecord(new_utsname, sys.memory.read(at, size));
    return { release, version, machine };
  });
}
