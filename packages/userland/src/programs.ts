/** All programs of the root file system: to add one, a file in `programs/` and a line here. */
import type { Program } from "./host/program.ts";
import { echo, printf } from "./programs/echo.ts";
import { sh } from "./programs/sh.ts";
import { bracket, test } from "./programs/test.ts";

export const PROGRAMS: readonly Program[] = [bracket, echo, printf, sh, test];
