/** User and group ids, supplementary groups, capabilities. Linux: kernel/sys.c, kernel/groups.c, kernel/capability.c; capabilities(7). */
import { CAP, EFAULT, EINVAL, EPERM, ESRCH, isErr, NR, type Result, type UAddr } from "@alien-ts/abi";
import { capable, type Cred, FULL_CAPABILITIES } from "../core/cred.ts";
import type { Cx } from "../core/cx.ts";
import { int, syscall, uint, userPointer } from "../core/syscall.ts";
import { get_user_s32, get_user_u32, put_user_u32 } from "../mm/uaccess.ts";
import { commitCreds, prepareCreds, putCred } from "../task/create.ts";
import { userMm } from "../vfs/user.ts";

const KEEP = 0xffff_ffff;
const NGROUPS_MAX = 65_536;
/** securebits: capabilities do not follow the uid; they survive a change from root. */
const SECBIT_NO_SETUID_FIXUP = 1 << 2;
const SECBIT_KEEP_CAPS = 1 << 4;
/** Capabilities that follow fsuid: CHOWN to FSETID, LINUX_IMMUTABLE, MKNOD, MAC_OVERRIDE. */
const FS_CAPABILITIES = [0, 1, 2, 3, 4, 9, 27, 32].reduce((mask, cap) => mask | (1n << BigInt(cap)), 0n);

export const sys_getuid = syscall(NR.getuid, "getuid", [], (cx) => cx.task.cred.uid);
export const sys_geteuid = syscall(NR.geteuid, "geteuid", [], (cx) => cx.task.cred.euid);
export const sys_getgid = syscall(NR.getgid, "getgid", [], (cx) => cx.task.cred.gid);
export const sys_getegid = syscall(NR.getegid, "getegid", [], (cx) => cx.task.cred.egid);

/** Changes a copy of the credentials, and makes it the task's when `change` allows it. Linux: prepare_creds … commit_creds. */
export function changeCreds(cx: Cx, change: (made: Cred, old: Cred) => Result<0>): Result<0> {
  const { task, kernel } = cx;
  const { euid, egid } = task.cred;
  const made = prepareCreds(kernel, task.cred);
  if (isErr(made)) return made;
  const result = change(made, task.cred);
  if (isErr(result)) {
    putCred(kernel, made);
    return result;
  }
  commitCreds(task, made);
  if (task.mm !== null && (made.euid !== euid || made.egid !== egid)) task.mm.t.flags = 0;
  return 0;
}

/** What a change of uids does to the capabilities. Linux: cap_emulate_setxuid(). */
function fixCapabilities({ t }: Cred, old: Cred): void {
  if ((t.securebits & SECBIT_NO_SETUID_FIXUP) !== 0) return;
  const hadRoot = [old.uid, old.euid, old.t.suid.val].includes(0);
  const hasRoot = [t.uid.val, t.euid.val, t.suid.val].includes(0);
  if (hadRoot && !hasRoot) {
    if ((t.securebits & SECBIT_KEEP_CAPS) === 0) {
      t.cap_permitted.val = 0n;
      t.cap_effective.val = 0n;
    }
    t.cap_ambient.val = 0n;
  }
  if (old.euid === 0 && t.euid.val !== 0) t.cap_effective.val = 0n;
  if (old.euid !== 0 && t.euid.val === 0) t.cap_effective.val = t.cap_permitted.val;
}

export const sys_setuid = syscall(NR.setuid, "setuid", [["uid", uint]], (cx, uid) =>
  uid === KEEP
    ? EINVAL
    : changeCreds(cx, (made, old) => {
        if (capable(cx, CAP.SETUID)) {
          made.t.uid.val = uid;
          made.t.suid.val = uid;
        } else if (uid !== old.uid && uid !== old.t.suid.val) return EPERM;
        made.t.euid.val = uid;
        made.t.fsuid.val = uid;
        fixCapabilities(made, old);
        return 0;
      }),
);

export const sys_setgid = syscall(NR.setgid, "setgid", [["gid", uint]], (cx, gid) =>
  gid === KEEP
    ? EINVAL
    : changeCreds(cx, (made, old) => {
        if (capable(cx, CAP.SETGID)) {
          made.t.gid.val = gid;
          made.t.sgid.val = gid;
        } else if (gid !== old.gid && gid !== old.t.sgid.val) return EPERM;
        made.t.egid.val = gid;
        made.t.fsgid.val = gid;
        return 0;
      }),
);

export const sys_setreuid = syscall(
  NR.setreuid,
  "setreuid",
  [
    ["ruid", uint],
    ["euid", uint],
  ],
  (cx, ruid, euid) =>
    changeCreds(cx, (made, old) => {
      const may = capable(cx, CAP.SETUID);
      if (ruid !== KEEP && !may && ruid !== old.uid && ruid !== old.euid) return EPERM;
      if (euid !== KEEP && !may && ![old.uid, old.euid, old.t.suid.val].includes(euid)) return EPERM;
      if (ruid !== KEEP) made.t.uid.val = ruid;
      if (euid !== KEEP) made.t.euid.val = euid;
      if (ruid !== KEEP || (euid !== KEEP && euid !== old.uid)) made.t.suid.val = made.euid;
      made.t.fsuid.val = made.euid;
      fixCapabilities(made, old);
      return 0;
    }),
);

export const sys_setregid = syscall(
  NR.setregid,
  "setregid",
  [
    ["rgid", uint],
    ["egid", uint],
  ],
  (cx, rgid, egid) =>
    changeCreds(cx, (made, old) => {
      const may = capable(cx, CAP.SETGID);
      if (rgid !== KEEP && !may && rgid !== old.gid && rgid !== old.egid) return EPERM;
      if (egid !== KEEP && !may && ![old.gid, old.egid, old.t.sgid.val].includes(egid)) return EPERM;
      if (rgid !== KEEP) made.t.gid.val = rgid;
      if (egid !== KEEP) made.t.egid.val = egid;
      if (rgid !== KEEP || (egid !== KEEP && egid !== old.gid)) made.t.sgid.val = made.egid;
      made.t.fsgid.val = made.egid;
      return 0;
    }),
);

export const sys_setresuid = syscall(
  NR.setresuid,
  "setresuid",
  [
    ["ruid", uint],
    ["euid", uint],
    ["suid", uint],
  ],
  (cx, ruid, euid, suid) =>
    changeCreds(cx, (made, old) => {
      const known = [old.uid, old.euid, old.t.suid.val, KEEP];
      if (!capable(cx, CAP.SETUID) && ![ruid, euid, suid].every((id) => known.includes(id))) return EPERM;
      if (ruid !== KEEP) made.t.uid.val = ruid;
      if (euid !== KEEP) made.t.euid.val = euid;
      if (suid !== KEEP) made.t.suid.val = suid;
      made.t.fsuid.val = made.euid;
      fixCapabilities(made, old);
      return 0;
    }),
);

export const sys_setresgid = syscall(
  NR.setresgid,
  "setresgid",
  [
    ["rgid", uint],
    ["egid", uint],
    ["sgid", uint],
  ],
  (cx, rgid, egid, sgid) =>
    changeCreds(cx, (made, old) => {
      const known = [old.gid, old.egid, old.t.sgid.val, KEEP];
      if (!capable(cx, CAP.SETGID) && ![rgid, egid, sgid].every((id) => known.includes(id))) return EPERM;
      if (rgid !== KEEP) made.t.gid.val = rgid;
      if (egid !== KEEP) made.t.egid.val = egid;
      if (sgid !== KEEP) made.t.sgid.val = sgid;
      made.t.fsgid.val = made.egid;
      return 0;
    }),
);

function putIds(cx: Cx, addresses: readonly UAddr[], ids: readonly number[]): Result<0> {
  const mm = userMm(cx);
  for (const [i, addr] of addresses.entries()) if (isErr(put_user_u32(mm, addr, ids[i]!))) return EFAULT;
  return 0;
}

export const sys_getresuid = syscall(
  NR.getresuid,
  "getresuid",
  [
    ["ruidp", userPointer("uid_t")],
    ["euidp", userPointer("uid_t")],
    ["suidp", userPointer("uid_t")],
  ],
  (cx, ruidp, euidp, suidp) => {
    const { cred } = cx.task;
    return putIds(cx, [ruidp, euidp, suidp], [cred.uid, cred.euid, cred.t.suid.val]);
  },
);

export const sys_getresgid = syscall(
  NR.getresgid,
  "getresgid",
  [
    ["rgidp", userPointer("gid_t")],
    ["egidp", userPointer("gid_t")],
    ["sgidp", userPointer("gid_t")],
  ],
  (cx, rgidp, egidp, sgidp) => {
    const { cred } = cx.task;
    return putIds(cx, [rgidp, egidp, sgidp], [cred.gid, cred.egid, cred.t.sgid.val]);
  },
);

/** The old fsuid, whether or not it is changed. */
export const sys_setfsuid = syscall(NR.setfsuid, "setfsuid", [["uid", uint]], (cx, uid) => {
  const old = cx.task.cred;
  const known = [old.uid, old.euid, old.t.suid.val, old.fsuid];
  const previous = old.fsuid;
  if (uid === KEEP || uid === previous || (!known.includes(uid) && !capable(cx, CAP.SETUID))) return previous;
  const changed = changeCreds(cx, ({ t }) => {
    t.fsuid.val = uid;
    if ((t.securebits & SECBIT_NO_SETUID_FIXUP) !== 0) return 0;
    if (previous === 0 && uid !== 0) t.cap_effective.val &= ~FS_CAPABILITIES;
    if (previous !== 0 && uid === 0) t.cap_effective.val |= t.cap_permitted.val & FS_CAPABILITIES;
    return 0;
  });
  return isErr(changed) ? changed : previous;
});

export const sys_setfsgid = syscall(NR.setfsgid, "setfsgid", [["gid", uint]], (cx, gid) => {
  const old = cx.task.cred;
  const known = [old.gid, old.egid, old.t.sgid.val, old.fsgid];
  const previous = old.fsgid;
  if (gid === KEEP || gid === previous || (!known.includes(gid) && !capable(cx, CAP.SETGID))) return previous;
  const changed = changeCreds(cx, ({ t }) => {
    t.fsgid.val = gid;
    return 0;
  });
  return isErr(changed) ? changed : previous;
});

export const sys_getgroups = syscall(
  NR.getgroups,
  "getgroups",
  [
    ["gidsetsize", int],
    ["grouplist", userPointer("gid_t")],
  ],
  (cx, size, list) => {
    const { groups } = cx.task.cred;
    if (size < 0) return EINVAL;
    if (size === 0) return groups.length;
    if (groups.length > size) return EINVAL;
    const put = putIds(
      cx,
      groups.map((_, i) => list + i * 4),
      groups,
    );
    return isErr(put) ? put : groups.length;
  },
);

export const sys_setgroups = syscall(
  NR.setgroups,
  "setgroups",
  [
    ["gidsetsize", int],
    ["grouplist", userPointer("gid_t")],
  ],
  (cx, size, list) => {
    if (!capable(cx, CAP.SETGID)) return EPERM;
    if (size < 0 || size > NGROUPS_MAX) return EINVAL;
    const groups: number[] = [];
    for (let i = 0; i < size; i++) {
      const gid = get_user_u32(userMm(cx), list + i * 4);
      if (isErr(gid)) return gid;
      if (gid === KEEP) return EINVAL;
      groups.push(gid);
    }
    groups.sort((a, b) => a - b);
    return changeCreds(cx, (made) => {
      made.groups = groups;
      return 0;
    });
  },
);

const CAPABILITY_VERSIONS: ReadonlyMap<number, number> = new Map([
  [0x1998_0330, 1],
  [0x2007_1026, 2],
  [0x2008_0522, 2],
]);
const CAPABILITY_VERSION_3 = 0x2008_0522;
const HEADER_PARAM = [
  ["header", userPointer("struct __user_cap_header_struct")],
  ["dataptr", userPointer("struct __user_cap_data_struct")],
] as const;

interface CapHeader {
  /** Words of each set that the version has. */
  readonly words: number;
  readonly pid: number;
}

/** The header: an unknown version is EINVAL, and the kernel's own is written back. Undefined: only that was asked for. */
function readHeader(cx: Cx, header: UAddr, data: UAddr): Result<CapHeader | undefined> {
  const mm = userMm(cx);
  const version = get_user_u32(mm, header);
  if (isErr(version)) return version;
  const words = CAPABILITY_VERSIONS.get(version);
  if (words === undefined) {
    if (isErr(put_user_u32(mm, header, CAPABILITY_VERSION_3))) return EFAULT;
    return data === 0 ? undefined : EINVAL;
  }
  const pid = get_user_s32(mm, header + 4);
  return isErr(pid) ? pid : { words, pid };
}

export const sys_capget = syscall(NR.capget, "capget", HEADER_PARAM, (cx, header, data) => {
  const asked = readHeader(cx, header, data);
  if (isErr(asked)) return asked;
  if (asked === undefined || data === 0) return 0;
  if (asked.pid < 0) return EINVAL;
  const target = asked.pid === 0 ? cx.task : cx.kernel.pids.find(asked.pid);
  if (target === undefined) return ESRCH;
  const { t } = target.cred;
  const sets = [t.cap_effective.val, t.cap_permitted.val, t.cap_inheritable.val];
  for (let word = 0; word < asked.words; word++) {
    const addresses = sets.map((_, i) => data + word * 12 + i * 4);
    const values = sets.map((set) => Number((set >> BigInt(word * 32)) & 0xffff_ffffn));
    const put = putIds(cx, addresses, values);
    if (isErr(put)) return put;
  }
  return 0;
});

export const sys_capset = syscall(NR.capset, "capset", HEADER_PARAM, (cx, header, data) => {
  const asked = readHeader(cx, header, data);
  if (isErr(asked)) return asked;
  if (asked === undefined) return EINVAL;
  if (asked.pid !== 0 && asked.pid !== cx.task.pid) return EPERM;
  const sets: [bigint, bigint, bigint] = [0n, 0n, 0n];
  for (let word = 0; word < asked.words; word++)
    for (let i = 0; i < 3; i++) {
      const value = get_user_u32(userMm(cx), data + word * 12 + i * 4);
      if (isErr(value)) return value;
      sets[i]! |= BigInt(value) << BigInt(word * 32);
    }
  const [effective, permitted, inheritable] = sets.map((set) => set & FULL_CAPABILITIES) as typeof sets;
  return changeCreds(cx, (made, { t: old }) => {
    const adds = inheritable & ~(old.cap_inheritable.val | old.cap_permitted.val);
    if (adds !== 0n && !capable(cx, CAP.SETPCAP)) return EPERM;
    if ((inheritable & ~(old.cap_inheritable.val | old.cap_bset.val)) !== 0n) return EPERM;
    if ((permitted & ~old.cap_permitted.val) !== 0n || (effective & ~permitted) !== 0n) return EPERM;
    made.t.cap_effective.val = effective;
    made.t.cap_permitted.val = permitted;
    made.t.cap_inheritable.val = inheritable;
    made.t.cap_ambient.val &= permitted & inheritable;
    return 0;
  });
});

export const CRED_SYSCALLS = [
  sys_getuid,
  sys_geteuid,
  sys_getgid,
  sys_getegid,
  sys_setuid,
  sys_setgid,
  sys_setreuid,
  sys_setregid,
  sys_setresuid,
  sys_setresgid,
  sys_getresuid,
  sys_getresgid,
  sys_setfsuid,
  sys_setfsgid,
  sys_getgroups,
  sys_setgroups,
  sys_capget,
  sys_capset,
] as const;
