/** execve, execveat. Linux: fs/exec.c. */
import { AT, isErr, NR } from "@alien-ts/abi";
import { int, syscall, userPointer } from "../core/syscall.ts";
import { do_execveat_common } from "../fs/exec.ts";
import { getname_flags, LOOKUP_EMPTY } from "../vfs/filename.ts";

export const sys_execve = syscall(
  NR.execve,
  "execve",
  [
    ["filename", userPointer("const char")],
    ["argv", userPointer("const char *const")],
    ["envp", userPointer("const char *const")],
  ],
  (cx, filename, argv, envp) => {
    const name = getname_flags(cx, filename, 0);
    return isErr(name) ? name : do_execveat_common(cx, AT.FDCWD, name, argv, envp, 0);
  },
);

export const sys_execveat = syscall(
  NR.execveat,
  "execveat",
  [
    ["fd", int],
    ["filename", userPointer("const char")],
    ["argv", userPointer("const char *const")],
    ["envp", userPointer("const char *const")],
    ["flags", int],
  ],
  (cx, fd, filename, argv, envp, flags) => {
    const name = getname_flags(cx, filename, (flags & AT.EMPTY_PATH) !== 0 ? LOOKUP_EMPTY : 0);
    return isErr(name) ? name : do_execveat_common(cx, fd, name, argv, envp, flags);
  },
);

export const EXEC_SYSCALLS = [sys_execve, sys_execveat] as const;
