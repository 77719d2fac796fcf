/** All programs of the root file system: to add one, a file in `programs/` and a line here. */
import type { Program } from "./host/program.ts";
import { kprobeTrace } from "./apps/kprobe-trace.ts";
import { syscallCount } from "./apps/syscall-count.ts";
import { chmod, chown, touch } from "./programs/attributes.ts";
import { cat, tee } from "./programs/cat.ts";
import { cp, ln, mv } from "./programs/cp.ts";
import { cut, tr } from "./programs/cut.ts";
import { date } from "./programs/date.ts";
import { mkdir, rmdir } from "./programs/directories.ts";
import { echo, printf } from "./programs/echo.ts";
import { expr } from "./programs/expr.ts";
import { find } from "./programs/find.ts";
import { egrep, fgrep, grep } from "./programs/grep.ts";
import { head, tail } from "./programs/head.ts";
import { hexdump } from "./programs/hexdump.ts";
import { init } from "./programs/init.ts";
import { ls } from "./programs/ls.ts";
import { env, id, kill } from "./programs/process-tools.ts";
import { ps } from "./programs/ps.ts";
import { rm } from "./programs/rm.ts";
import { sed } from "./programs/sed.ts";
import { sh } from "./programs/sh.ts";
import * as small from "./programs/small.ts";
import { sort, uniq } from "./programs/sort.ts";
import { stat } from "./programs/stat.ts";
import { df, du } from "./programs/storage.ts";
import * as system from "./programs/system.ts";
import { stty, tty } from "./programs/terminal-tools.ts";
import { bracket, test } from "./programs/test.ts";
import { wc } from "./programs/wc.ts";
import { xargs } from "./programs/xargs.ts";

export const PROGRAMS: readonly Program[] = [
  bracket,
  small.basename,
  cat,
  chmod,
  chown,
  small.clear,
  cp,
  cut,
  date,
  df,
  small.dirname,
  system.dmesg,
  du,
  echo,
  egrep,
  env,
  expr,
  small.falseTool,
  fgrep,
  find,
  system.free,
  grep,
  system.halt,
  head,
  hexdump,
  system.hostname,
  id,
  init,
  kill,
  kprobeTrace,
  ln,
  ls,
  mkdir,
  system.mount,
  mv,
  system.poweroff,
  printf,
  ps,
  small.pwd,
  small.readlink,
  system.reboot,
  rm,
  rmdir,
  sed,
  small.seq,
  sh,
  small.sleep,
  sort,
  stat,
  stty,
  small.sync,
  syscallCount,
  tail,
  tee,
  test,
  touch,
  tr,
  small.trueTool,
  tty,
  system.umount,
  system.uname,
  uniq,
  system.uptime,
  wc,
  small.which,
  small.whoami,
  xargs,
  small.yes,
];
