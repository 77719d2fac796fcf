/** sh(1): the shell, in `shell/`. */
import type { Program } from "../host/program.ts";
import { openProcess } from "../libc/process.ts";
import { shellMain } from "../shell/main.ts";

export const sh: Program = {
  name: "sh",
  path: "/bin/sh",
  main: async (task) => {
    const process = openProcess(task);
    return process.exit(await shellMain(process));
  },
};
