/**
 * The files whose exported rows are the kernel's text, in text order. A new file with rows is one line in each list; rows of a
 * file that is not listed have no address, and a call of an armed one stops the kernel.
 */
import type { RowModule } from "./core/image.ts";
import * as schedWakeup from "./sched/wakeup.ts";
import * as taskExit from "./task/exit.ts";
import * as taskFork from "./task/fork.ts";
import * as taskPort from "./task/port.ts";
import * as taskSignal from "./task/signal.ts";
import * as vfsAttr from "./vfs/attr.ts";
import * as vfsDentry from "./vfs/dentry.ts";
import * as vfsFdTable from "./vfs/fd-table.ts";
import * as vfsFile from "./vfs/file.ts";
import * as vfsFilename from "./vfs/filename.ts";
import * as vfsInode from "./vfs/inode.ts";
import * as vfsNameiOps from "./vfs/namei-ops.ts";
import * as vfsNamei from "./vfs/namei.ts";
import * as vfsNamespace from "./vfs/namespace.ts";
import * as vfsOpen from "./vfs/open.ts";
import * as vfsPermission from "./vfs/permission.ts";
import * as vfsReadWrite from "./vfs/read-write.ts";
import * as vfsReadv from "./vfs/readv.ts";
import * as vfsStat from "./vfs/stat.ts";
import * as vfsVfsNames from "./vfs/vfs-names.ts";
import * as ipcEpoll from "./ipc/epoll.ts";
import * as ipcEventfd from "./ipc/eventfd.ts";
import * as ipcFutex from "./ipc/futex.ts";
import * as ipcPidfd from "./ipc/pidfd.ts";
import * as ipcPipeFiles from "./ipc/pipe-files.ts";
import * as ipcPipe from "./ipc/pipe.ts";
import * as ipcPoll from "./ipc/poll.ts";
import * as ipcSignalfd from "./ipc/signalfd.ts";
import * as ipcSocketSocket from "./ipc/socket/socket.ts";
import * as ipcSocketUnixDgram from "./ipc/socket/unix-dgram.ts";
import * as ipcSocketUnixStream from "./ipc/socket/unix-stream.ts";
import * as ipcTimerfd from "./ipc/timerfd.ts";
import * as ipcTtyConsole from "./ipc/tty/console.ts";
import * as ipcTtyJobControl from "./ipc/tty/job-control.ts";
import * as ipcTtyTtyFile from "./ipc/tty/tty-file.ts";
import * as fsBinfmtElf from "./fs/binfmt/elf.ts";
import * as fsBinfmtNewExec from "./fs/binfmt/new-exec.ts";
import * as fsBinfmtScript from "./fs/binfmt/script.ts";
import * as fsDevtmpfsKmsg from "./fs/devtmpfs/kmsg.ts";
import * as fsDevtmpfsMemDevices from "./fs/devtmpfs/mem-devices.ts";
import * as fsExec from "./fs/exec.ts";
import * as fsProcAccess from "./fs/proc/access.ts";
import * as fsTmpfsFileOperations from "./fs/tmpfs/file-operations.ts";
import * as fsTmpfsMemfd from "./fs/tmpfs/memfd.ts";
import * as traceTracePipe from "./trace/trace-pipe.ts";
import * as bpfKfuncs from "./bpf/kfuncs.ts";
import * as bpfStringKfuncs from "./bpf/string-kfuncs.ts";
import * as syscallsBpf from "./syscalls/bpf.ts";
import * as syscallsCreds from "./syscalls/creds.ts";
import * as syscallsDirectories from "./syscalls/directories.ts";
import * as syscallsExec from "./syscalls/exec.ts";
import * as syscallsFd from "./syscalls/fd.ts";
import * as syscallsFutex from "./syscalls/futex.ts";
import * as syscallsIds from "./syscalls/ids.ts";
import * as syscallsLinks from "./syscalls/links.ts";
import * as syscallsMisc from "./syscalls/misc.ts";
import * as syscallsMm from "./syscalls/mm.ts";
import * as syscallsMount from "./syscalls/mount.ts";
import * as syscallsOpen from "./syscalls/open.ts";
import * as syscallsPipe from "./syscalls/pipe.ts";
import * as syscallsPoll from "./syscalls/poll.ts";
import * as syscallsPrctl from "./syscalls/prctl.ts";
import * as syscallsProcess from "./syscalls/process.ts";
import * as syscallsReadWrite from "./syscalls/read-write.ts";
import * as syscallsResource from "./syscalls/resource.ts";
import * as syscallsSched from "./syscalls/sched.ts";
import * as syscallsSignal from "./syscalls/signal.ts";
import * as syscallsSocket from "./syscalls/socket.ts";
import * as syscallsStat from "./syscalls/stat.ts";
import * as syscallsSync from "./syscalls/sync.ts";
import * as syscallsTime from "./syscalls/time.ts";
import * as syscallsTimerfd from "./syscalls/timerfd.ts";
import * as syscallsTimers from "./syscalls/timers.ts";
import * as syscallsWait from "./syscalls/wait.ts";
import * as syscallsXattr from "./syscalls/xattr.ts";

export const TEXT: readonly RowModule[] = [
  schedWakeup,
  taskExit,
  taskFork,
  taskPort,
  taskSignal,
  vfsAttr,
  vfsDentry,
  vfsFdTable,
  vfsFile,
  vfsFilename,
  vfsInode,
  vfsNameiOps,
  vfsNamei,
  vfsNamespace,
  vfsOpen,
  vfsPermission,
  vfsReadWrite,
  vfsReadv,
  vfsStat,
  vfsVfsNames,
  ipcEpoll,
  ipcEventfd,
  ipcFutex,
  ipcPidfd,
  ipcPipeFiles,
  ipcPipe,
  ipcPoll,
  ipcSignalfd,
  ipcSocketSocket,
  ipcSocketUnixDgram,
  ipcSocketUnixStream,
  ipcTimerfd,
  ipcTtyConsole,
  ipcTtyJobControl,
  ipcTtyTtyFile,
  fsBinfmtElf,
  fsBinfmtNewExec,
  fsBinfmtScript,
  fsDevtmpfsKmsg,
  fsDevtmpfsMemDevices,
  fsExec,
  fsProcAccess,
  fsTmpfsFileOperations,
  fsTmpfsMemfd,
  traceTracePipe,
  bpfKfuncs,
  bpfStringKfuncs,
  syscallsBpf,
  syscallsCreds,
  syscallsDirectories,
  syscallsExec,
  syscallsFd,
  syscallsFutex,
  syscallsIds,
  syscallsLinks,
  syscallsMisc,
  syscallsMm,
  syscallsMount,
  syscallsOpen,
  syscallsPipe,
  syscallsPoll,
  syscallsPrctl,
  syscallsProcess,
  syscallsReadWrite,
  syscallsResource,
  syscallsSched,
  syscallsSignal,
  syscallsSocket,
  syscallsStat,
  syscallsSync,
  syscallsTime,
  syscallsTimerfd,
  syscallsTimers,
  syscallsWait,
  syscallsXattr,
];
