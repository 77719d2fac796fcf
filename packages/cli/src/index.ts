/** The alien command: boots the kernel on this machine's terminal and files. */
export { type BootArguments, parseBootArguments } from "./boot/arguments.ts";
export { Machine, type MachineHost } from "./boot/machine.ts";
