/** prctl(2): what a task may set about itself. Linux: kernel/sys.c; prctl(2). */
import {
  CAP,
  CAP_LAST_CAP,
  EFAULT,
  EINVAL,
  EPERM,
  isErr,
  NR,
  NSIG,
  PR,
  type Result,
  type UAddr,
} from "@alien-ts/abi";
import { capable } from "../core/cred.ts";
import type { Cx } from "../core/cx.ts";
import { int, syscall, ulongArg } from "../core/syscall.ts";
import { put_user_u32, put_user_u64, readUserString, writeUserBytes } from "../mm/uaccess.ts";
import { byteString, bytesOf } from "../vfs/dentry.ts";
import { userMm } from "../vfs/user.ts";
import { changeCreds } from "./creds.ts";

const TASK_COMM_LEN = 16;
const SECBIT_KEEP_CAPS = 1 << 4;
const SECBIT_KEEP_CAPS_LOCKED = 1 << 5;
const SECURE_ALL_BITS = 0x55;
const SECURE_ALL_LOCKS = SECURE_ALL_BITS << 1;
const DEFAULT_TIMER_SLACK_NS = 50_000;
const PR_CAP_AMBIENT = 47;
const CAP_AMBIENT = { IS_SET: 1, RAISE: 2, LOWER: 3, CLEAR_ALL: 4 } as const;

type Options = readonly [number, number, number, number];

export const sys_prctl = syscall(
  NR.prctl,
  "prctl",
  [
    ["option", int],
    ["arg2", ulongArg],
    ["arg3", ulongArg],
    ["arg4", ulongArg],
    ["arg5", ulongArg],
  ],
  (cx, option, arg2, arg3, arg4, arg5): Result<number> =>
    HANDLERS.get(option)?.(cx, [arg2, arg3, arg4, arg5]) ?? EINVAL,
);

const areZero = (...args: readonly number[]): boolean => args.every((arg) => arg === 0);

const HANDLERS: ReadonlyMap<number, (cx: Cx, args: Options) => Result<number>> = new Map<
  number,
  (cx: Cx, args: Options) => Result<number>
>([
  [PR.SET_PDEATHSIG, ({ task }, [signo]) => (signo > NSIG ? EINVAL : ((task.parentDeathSignal = signo), 0))],
  [PR.GET_PDEATHSIG, (cx, [addr]) => put_user_u32(userMm(cx), addr, cx.task.parentDeathSignal)],
  [PR.GET_DUMPABLE, (cx) => userMm(cx).t.flags & 3],
  [PR.SET_DUMPABLE, (cx, [value]) => (value > 1 ? EINVAL : ((userMm(cx).t.flags = value), 0))],
  [PR.GET_KEEPCAPS, ({ task }) => ((task.cred.t.securebits & SECBIT_KEEP_CAPS) !== 0 ? 1 : 0)],
  [PR.SET_KEEPCAPS, (cx, [value]) => setKeepCaps(cx, value)],
  [PR.SET_NAME, (cx, [addr]) => setName(cx, addr)],
  [PR.GET_NAME, (cx, [addr]) => getName(cx, addr)],
  [PR.CAPBSET_READ, (cx, [cap]) => bitOf(cx.task.cred.t.cap_bset.val, cap)],
  [PR.CAPBSET_DROP, (cx, [cap]) => dropBounding(cx, cap)],
  [PR.GET_SECUREBITS, ({ task }) => task.cred.t.securebits],
  [PR.SET_SECUREBITS, (cx, [bits]) => setSecureBits(cx, bits)],
  [PR.GET_TIMERSLACK, ({ task }) => task.timerSlackNs],
  [
    PR.SET_TIMERSLACK,
    ({ task }, [ns]) => ((task.timerSlackNs = ns === 0 || ns >= 2 ** 63 ? DEFAULT_TIMER_SLACK_NS : ns), 0),
  ],
  [PR.SET_CHILD_SUBREAPER, ({ task }, [value]) => ((task.process.isSubreaper = value !== 0), 0)],
  [
    PR.GET_CHILD_SUBREAPER,
    (cx, [addr]) => put_user_u32(userMm(cx), addr, cx.task.process.isSubreaper ? 1 : 0),
  ],
  [
    PR.SET_NO_NEW_PRIVS,
    ({ task }, [value, ...rest]) =>
      value !== 1 || !areZero(...rest) ? EINVAL : ((task.noNewPrivs = true), 0),
  ],
  [PR.GET_NO_NEW_PRIVS, ({ task }, args) => (areZero(...args) ? (task.noNewPrivs ? 1 : 0) : EINVAL)],
  [PR.GET_TID_ADDRESS, (cx, [addr]) => put_user_u64(userMm(cx), addr, cx.task.clearChildTid)],
  // Huge pages do not exist: switching them off succeeds.
  [PR.SET_THP_DISABLE, (_, [, ...rest]) => (areZero(...rest) ? 0 : EINVAL)],
  [PR.GET_THP_DISABLE, (_, args) => (areZero(...args) ? 0 : EINVAL)],
  [PR_CAP_AMBIENT, (cx, args) => ambient(cx, args)],
]);

/** One capability of a set; EINVAL for a number that is none. */
const bitOf = (set: bigint, cap: number): Result<number> =>
  cap > CAP_LAST_CAP ? EINVAL : Number((set >> BigInt(cap)) & 1n);

function setName(cx: Cx, addr: UAddr): Result<number> {
  const bytes = readUserString(userMm(cx), addr, TASK_COMM_LEN - 1);
  if (isErr(bytes)) return EFAULT;
  cx.task.t.comm = byteString(bytes);
  return 0;
}

function getName(cx: Cx, addr: UAddr): Result<number> {
  const bytes = new Uint8Array(TASK_COMM_LEN);
  bytes.set(bytesOf(cx.task.t.comm));
  return writeUserBytes(userMm(cx), addr, bytes);
}

function setKeepCaps(cx: Cx, value: number): Result<number> {
  if (value > 1) return EINVAL;
  if ((cx.task.cred.t.securebits & SECBIT_KEEP_CAPS_LOCKED) !== 0) return EPERM;
  return changeCreds(cx, ({ t }) => {
    t.securebits = value === 1 ? t.securebits | SECBIT_KEEP_CAPS : t.securebits & ~SECBIT_KEEP_CAPS;
    return 0;
  });
}

function dropBounding(cx: Cx, cap: number): Result<number> {
  if (!capable(cx, CAP.SETPCAP)) return EPERM;
  if (cap > CAP_LAST_CAP) return EINVAL;
  return changeCreds(cx, ({ t }) => {
    t.cap_bset.val &= ~(1n << BigInt(cap));
    return 0;
  });
}

/** Linux: cap_task_prctl(): locked bits stay, locks are never undone. */
function setSecureBits(cx: Cx, bits: number): Result<number> {
  const old = cx.task.cred.t.securebits;
  const locked = ((old & SECURE_ALL_LOCKS) >> 1) & (old ^ bits);
  const unlocks = old & SECURE_ALL_LOCKS & ~bits;
  const unknown = bits > 0xff || (bits & ~(SECURE_ALL_LOCKS | SECURE_ALL_BITS)) !== 0;
  if (locked !== 0 || unlocks !== 0 || unknown || !capable(cx, CAP.SETPCAP)) return EPERM;
  return changeCreds(cx, ({ t }) => {
    t.securebits = bits;
    return 0;
  });
}

function ambient(cx: Cx, [action, cap, arg4, arg5]: Options): Result<number> {
  if (action === CAP_AMBIENT.CLEAR_ALL) {
    if (!areZero(cap, arg4, arg5)) return EINVAL;
    return changeCreds(cx, ({ t }) => {
      t.cap_ambient.val = 0n;
      return 0;
    });
  }
  if (!areZero(arg4, arg5) || cap > CAP_LAST_CAP) return EINVAL;
  const bit = 1n << BigInt(cap);
  const { t: mine } = cx.task.cred;
  switch (action) {
    case CAP_AMBIENT.IS_SET:
      return bitOf(mine.cap_ambient.val, cap);
    case CAP_AMBIENT.RAISE:
      if ((mine.cap_permitted.val & mine.cap_inheritable.val & bit) === 0n) return EPERM;
      break;
    case CAP_AMBIENT.LOWER:
      break;
    default:
      return EINVAL;
  }
  return changeCreds(cx, ({ t }) => {
    t.cap_ambient.val = action === CAP_AMBIENT.RAISE ? t.cap_ambient.val | bit : t.cap_ambient.val & ~bit;
    return 0;
  });
}

export const PRCTL_SYSCALLS = [sys_prctl] as const;
