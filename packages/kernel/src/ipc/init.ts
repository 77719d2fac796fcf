/** What `ipc` adds to a kernel at boot, in order. The VFS and tasks are there already. */
import type { Cx } from "../core/cx.ts";
import { initEpoll } from "./epoll.ts";
import { initFutexes } from "./futex.ts";
import { initPipes } from "./pipe-files.ts";
import { initShm } from "./shm.ts";
import { initSignalFds } from "./signalfd.ts";
import { initSockets } from "./socket/socket.ts";
import { initUnixSockets } from "./socket/unix.ts";
import { initTimerFds } from "./timerfd.ts";
import { initConsole } from "./tty/console.ts";
import { initPtys } from "./tty/pty.ts";

export function initIpc(cx: Cx): void {
  const { kernel } = cx;
  kernel.nextEventfdId = 0;
  initPipes(cx);
  initSockets(cx);
  initUnixSockets(kernel);
  initEpoll(kernel);
  initTimerFds(kernel);
  initSignalFds(kernel);
  initFutexes(kernel);
  initShm(kernel);
  initConsole(kernel);
  initPtys(kernel);
}
