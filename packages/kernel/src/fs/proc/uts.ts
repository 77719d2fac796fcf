/** The names of the machine: what uname(2), sethostname(2), /proc/sys/kernel and /proc/version read and set (struct uts_namespace). */
import type { Kernel } from "../../core/kernel.ts";
import { bytesText } from "./format.ts";

declare module "../../core/kernel.ts" {
  interface Kernel {
    uts: Uts;
  }
}

/** Longest node name and domain name, without the NUL (__NEW_UTS_LEN). */
export const UTS_NAME_MAX = 64;

/** Byte strings. */
export class Uts {
  readonly sysname = "Linux";
  nodename: string;
  domainname = "(none)";
  readonly release: string;
  readonly version: string;
  readonly machine: string;

  constructor({ config, text }: Kernel) {
    this.nodename = bytesText(config.hostname).slice(0, UTS_NAME_MAX);
    this.release = bytesText(config.release);
    this.version = bytesText(config.version);
    this.machine = text.arch.machine;
  }

  /** linux_proc_banner. */
  get banner(): string {
    return `Linux version ${this.release} (alien-ts) ${this.version}`;
  }
}
