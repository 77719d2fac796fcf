/** Signals (include/uapi/asm-generic/signal.h, siginfo.h; riscv's ucontext.h). */
import { bytes, s32, u32, u64, ulong } from "../ctype.ts";
import { abiStruct, anonymousStruct, anonymousUnion } from "../struct.ts";

export const SIG = {
  HUP: 1,
  INT: 2,
  QUIT: 3,
  ILL: 4,
  TRAP: 5,
  ABRT: 6,
  BUS: 7,
  FPE: 8,
  KILL: 9,
  USR1: 10,
  SEGV: 11,
  USR2: 12,
  PIPE: 13,
  ALRM: 14,
  TERM: 15,
  STKFLT: 16,
  CHLD: 17,
  CONT: 18,
  STOP: 19,
  TSTP: 20,
  TTIN: 21,
  TTOU: 22,
  URG: 23,
  XCPU: 24,
  XFSZ: 25,
  VTALRM: 26,
  PROF: 27,
  WINCH: 28,
  IO: 29,
  PWR: 30,
  SYS: 31,
  RTMIN: 32,
  RTMAX: 64,
} as const;
export const NSIG = 64;

export const SIG_DFL = 0;
export const SIG_IGN = 1;
export const SIG_BLOCK = 0;
export const SIG_UNBLOCK = 1;
export const SIG_SETMASK = 2;

export const SA = {
  NOCLDSTOP: 1,
  NOCLDWAIT: 2,
  SIGINFO: 4,
  RESTORER: 0x0400_0000,
  ONSTACK: 0x0800_0000,
  RESTART: 0x1000_0000,
  NODEFER: 0x4000_0000,
  RESETHAND: 0x8000_0000,
} as const;

export const SI = {
  USER: 0,
  KERNEL: 0x80,
  QUEUE: -1,
  TIMER: -2,
  MESGQ: -3,
  ASYNCIO: -4,
  SIGIO: -5,
  TKILL: -6,
} as const;
export const CLD = { EXITED: 1, KILLED: 2, DUMPED: 3, TRAPPED: 4, STOPPED: 5, CONTINUED: 6 } as const;
export const SEGV_MAPERR = 1;
export const SEGV_ACCERR = 2;

/** riscv64: no sa_restorer; the mask follows the flags. */
export const sigaction = abiStruct("sigaction", { sa_handler: ulong, sa_flags: ulong, sa_mask: u64 });

/** 128 bytes. */
export const siginfo = abiStruct("siginfo", {
  si_signo: s32,
  si_errno: s32,
  si_code: s32,
  __pad: s32,
  fields: anonymousUnion({
    kill: anonymousStruct({ si_pid: s32, si_uid: u32, si_status: s32, si_utime: ulong, si_stime: ulong }),
    rt: anonymousStruct({ __rt_pid: s32, __rt_uid: u32, si_value: u64 }),
    fault: anonymousStruct({ si_addr: ulong }),
    __bytes: bytes(112),
  }),
});

export const stack_t = abiStruct("stack_t", { ss_sp: ulong, ss_flags: s32, ss_size: ulong });
export const SS = { ONSTACK: 1, DISABLE: 2, AUTODISARM: 0x8000_0000 } as const;
export const MINSIGSTKSZ = 2048;

/** signalfd(2): 128 bytes. */
export const signalfd_siginfo = abiStruct("signalfd_siginfo", {
  ssi_signo: u32,
  ssi_errno: s32,
  ssi_code: s32,
  ssi_pid: u32,
  ssi_uid: u32,
  ssi_fd: s32,
  ssi_tid: u32,
  ssi_band: u32,
  ssi_overrun: u32,
  ssi_trapno: u32,
  ssi_status: s32,
  ssi_int: s32,
  ssi_ptr: u64,
  ssi_utime: u64,
  ssi_stime: u64,
  ssi_addr: u64,
  __pad: bytes(48),
});
