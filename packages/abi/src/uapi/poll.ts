/** poll(2), epoll(7), eventfd(2), timerfd(2), signalfd(2), pidfd_open(2), pipe2(2) flags. */
import { s16, s32, u32, u64 } from "../ctype.ts";
import { abiStruct } from "../struct.ts";

export const POLL = {
  IN: 1,
  PRI: 2,
  OUT: 4,
  ERR: 8,
  HUP: 0x10,
  NVAL: 0x20,
  RDNORM: 0x40,
  RDBAND: 0x80,
  WRNORM: 0x100,
  WRBAND: 0x200,
  MSG: 0x400,
  RDHUP: 0x2000,
} as const;

/** EPOLLIN … have the values of POLLIN … */
export const EPOLL = {
  CTL_ADD: 1,
  CTL_DEL: 2,
  CTL_MOD: 3,
  CLOEXEC: 0x8_0000,
  EXCLUSIVE: 0x1000_0000,
  WAKEUP: 0x2000_0000,
  ONESHOT: 0x4000_0000,
  ET: 0x8000_0000,
} as const;

export const pollfd = abiStruct("pollfd", { fd: s32, events: s16, revents: s16 });
/** Not packed, except on x86-64: 16 bytes. */
export const epoll_event = abiStruct("epoll_event", { events: u32, data: u64 });

export const EFD = { SEMAPHORE: 1, NONBLOCK: 0x800, CLOEXEC: 0x8_0000 } as const;
export const TFD = { NONBLOCK: 0x800, CLOEXEC: 0x8_0000, TIMER_ABSTIME: 1, TIMER_CANCEL_ON_SET: 2 } as const;
export const SFD = { NONBLOCK: 0x800, CLOEXEC: 0x8_0000 } as const;
export const PIDFD_NONBLOCK = 0x800;
export const PIPE_BUF = 4096;
