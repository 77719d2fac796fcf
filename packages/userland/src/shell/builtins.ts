/**
 * The commands that the shell runs itself: the special builtins of XCU 2.14, those that change the shell, and a few tools
 * that scripts call often and that are the same code as in `/bin`.
 *
 * To add one: a function `(shell, words) => status` and a line in `BUILTINS`; `words[0]` is the name.
 */
import { type ToolSpec, runTool } from "../libc/tool.ts";
import { echo, printf } from "../programs/echo.ts";
import { bracket, test } from "../programs/test.ts";
import * as control from "./builtins-control.ts";
import * as files from "./builtins-files.ts";
import * as jobs from "./builtins-jobs.ts";
import * as variables from "./builtins-variables.ts";
import type { Builtin, Builtins } from "./builtin.ts";
import type { Shell } from "./shell.ts";

const inShell = (spec: ToolSpec): Builtin => ({
  run: (shell, words) => runTool(spec, shell.process, words.slice(1)),
  usage: spec.usage,
});

export const BUILTINS: Builtins = new Map<string, Builtin>([
  [":", { run: () => 0, special: true, usage: ": [word ...]" }],
  [".", { run: control.dot, special: true, usage: ". file [argument ...]" }],
  ["[", inShell(bracket.spec)],
  ["alias", { run: variables.alias, usage: "alias [name[=value] ...]" }],
  ["bg", { run: jobs.bg, usage: "bg [job ...]" }],
  ["break", { run: control.breakLoop, special: true, usage: "break [n]" }],
  ["cd", { run: files.cd, usage: "cd [-L|-P] [directory]" }],
  ["command", { run: control.command, usage: "command [-pvV] command [argument ...]" }],
  ["continue", { run: control.continueLoop, special: true, usage: "continue [n]" }],
  ["echo", inShell(echo.spec)],
  ["eval", { run: control.evaluate, special: true, usage: "eval [word ...]" }],
  ["exec", { run: control.exec, special: true, usage: "exec [command [argument ...]]" }],
  ["exit", { run: control.exit, special: true, usage: "exit [n]" }],
  ["export", { run: variables.exportVariables, special: true, usage: "export [-p] [name[=value] ...]" }],
  ["false", { run: () => 1, usage: "false" }],
  ["fg", { run: jobs.fg, usage: "fg [job]" }],
  ["getopts", { run: variables.getopts, usage: "getopts optstring name [argument ...]" }],
  ["hash", { run: () => 0, usage: "hash [-r] [name ...]" }],
  ["help", { run: help, usage: "help" }],
  ["history", { run: control.history, usage: "history [-c] [n]" }],
  ["jobs", { run: jobs.jobs, usage: "jobs [-lp] [job ...]" }],
  ["kill", { run: jobs.kill, usage: "kill [-s signal | -signal] pid|job ... | kill -l [status]" }],
  ["local", { run: variables.local, usage: "local [name[=value] ...]" }],
  ["printf", inShell(printf.spec)],
  ["pwd", { run: files.pwd, usage: "pwd [-L|-P]" }],
  ["read", { run: files.read, usage: "read [-r] [-p prompt] name ..." }],
  [
    "readonly",
    { run: variables.readonlyVariables, special: true, usage: "readonly [-p] [name[=value] ...]" },
  ],
  ["return", { run: control.returnFrom, special: true, usage: "return [n]" }],
  ["set", { run: variables.set, special: true, usage: "set [-abCefmnuvx] [-o option] [--] [argument ...]" }],
  ["shift", { run: variables.shift, special: true, usage: "shift [n]" }],
  ["source", { run: control.dot, usage: "source file [argument ...]" }],
  ["test", inShell(test.spec)],
  ["times", { run: jobs.times, special: true, usage: "times" }],
  ["trap", { run: control.trap, special: true, usage: "trap [action condition ...]" }],
  ["true", { run: () => 0, usage: "true" }],
  ["type", { run: control.type, usage: "type name ..." }],
  ["ulimit", { run: jobs.ulimit, usage: "ulimit [-HS] [-a | -cdflnpstv [limit]]" }],
  ["umask", { run: files.umask, usage: "umask [-S] [mask]" }],
  ["unalias", { run: variables.unalias, usage: "unalias -a | unalias name ..." }],
  ["unset", { run: variables.unset, special: true, usage: "unset [-fv] name ..." }],
  ["wait", { run: jobs.wait, usage: "wait [pid|job ...]" }],
]);

async function help(shell: Shell): Promise<number> {
  for (const { usage } of BUILTINS.values()) await shell.process.stdout.writeLine(usage);
  return 0;
}
