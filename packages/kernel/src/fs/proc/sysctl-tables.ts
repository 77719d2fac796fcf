/**
 * The kernel's own parameters under /proc/sys: kernel, net/core, vm and fs (Documentation/admin-guide/sysctl). Parameters of a
 * subsystem above this layer are registered by that subsystem.
 *
 * Differs from Linux: pid_max, threads-max, max_map_count, mmap_min_addr, nr_open and pipe-max-size cannot be changed.
 */
import { CAP, CAP_LAST_CAP, EPERM, type Result } from "@alien-ts/abi";
import { capable } from "../../core/cred.ts";
import type { Cx } from "../../core/cx.ts";
import type { Kernel } from "../../core/kernel.ts";
import type { Prng } from "../../core/prng.ts";
import { PIPE_MAX_SIZE } from "../../ipc/pipe.ts";
import { MAX_MAP_COUNT, MMAP_MIN_ADDR } from "../../mm/address-space.ts";
import { PID_MAX } from "../../task/process.ts";
import { NR_OPEN } from "../../vfs/fd-table.ts";
import {
  cell,
  constantSysctl,
  type IntCell,
  intSysctl,
  registerSysctl,
  stringSysctl,
  textCell,
  symbolInt,
  type SysctlRow,
} from "./sysctl.ts";
import { UTS_NAME_MAX } from "./uts.ts";

/** Bytes of core_pattern with its NUL (include/linux/binfmts.h). */
const CORENAME_MAX_SIZE = 128;

type Table = Readonly<Record<string, SysctlRow>>;

export function registerKernelSysctls(kernel: Kernel): void {
  const tables: Readonly<Record<string, Table>> = {
    kernel: kernelTable(kernel),
    "kernel/random": randomTable(kernel.prng.fork()),
    "net/core": NET_CORE(),
    vm: VM_TABLE(),
    fs: fsTable(kernel),
    "fs/epoll": { max_user_watches: intSysctl([cell(maxUserWatches(kernel))], { min: 0, max: 2 ** 53 - 1 }) },
  };
  for (const [folder, table] of Object.entries(tables))
    for (const [name, row] of Object.entries(table)) registerSysctl(kernel, `${folder}/${name}`, row);
}

const adminOnly = { writeCapability: CAP.SYS_ADMIN } as const;

function kernelTable(kernel: Kernel): Table {
  const { uts } = kernel;
  return {
    ...identityTable(kernel),
    kptr_restrict: intSysctl([symbolInt(kernel, "kptr_restrict")], { min: 0, max: 2, ...adminOnly }),
    dmesg_restrict: intSysctl([cell(0)], { min: 0, max: 1, ...adminOnly }),
    panic: intSysctl([cell(0)]),
    panic_on_oops: intSysctl([symbolInt(kernel, "panic_on_oops")]),
    perf_event_max_contexts_per_stack: intSysctl([cell(8)], { min: 0, max: 1000 }),
    perf_event_max_sample_rate: intSysctl([cell(100_000)], { min: 1 }),
    perf_event_max_stack: intSysctl([cell(127)], { min: 0, max: 640 * 1024 }),
    perf_event_mlock_kb: intSysctl([cell(516)]),
    perf_event_paranoid: intSysctl([symbolInt(kernel, "sysctl_perf_event_paranoid")]),
    perf_cpu_time_max_percent: intSysctl([cell(25)], { min: 0, max: 100 }),
    printk: intSysctl([consoleLevel(kernel), cell(4), cell(1), cell(7)], adminOnly),
    printk_ratelimit: intSysctl([cell(5)], { min: 0 }),
    printk_ratelimit_burst: intSysctl([cell(10)]),
    sched_rr_timeslice_ms: intSysctl([cell(100)]),
    sched_rt_period_us: intSysctl([cell(1_000_000)], { min: 1 }),
    sched_rt_runtime_us: intSysctl([cell(950_000)], { min: -1 }),
    sched_schedstats: intSysctl([cell(0)], { min: 0, max: 1, ...adminOnly }),
    unprivileged_bpf_disabled: unprivilegedBpf(symbolInt(kernel, "sysctl_unprivileged_bpf_disabled")),
    bpf_stats_enabled: intSysctl([cell(0)], { min: 0, max: 1, ...adminOnly }),
    randomize_va_space: intSysctl([cell(2)]),
    tainted: constantSysctl(() => 0),
    core_pattern: stringSysctl(textCell("core"), CORENAME_MAX_SIZE),
    hostname: stringSysctl(
      {
        get: () => uts.nodename,
        set: (text) => {
          uts.nodename = text;
        },
      },
      UTS_NAME_MAX + 1,
    ),
    domainname: stringSysctl(
      {
        get: () => uts.domainname,
        set: (text) => {
          uts.domainname = text;
        },
      },
      UTS_NAME_MAX + 1,
    ),
  };
}

/** What the kernel is, and cannot be changed. */
function identityTable({ uts }: Kernel): Table {
  return {
    cap_last_cap: constantSysctl(() => CAP_LAST_CAP),
    ngroups_max: constantSysctl(() => 65_536),
    osrelease: { mode: 0o444, read: () => `${uts.release}\n` },
    ostype: { mode: 0o444, read: () => `${uts.sysname}\n` },
    overflowgid: intSysctl([cell(65_534)], { min: 0, max: 65_535 }),
    overflowuid: intSysctl([cell(65_534)], { min: 0, max: 65_535 }),
    pid_max: constantSysctl(() => PID_MAX),
    "threads-max": constantSysctl(() => PID_MAX),
    version: { mode: 0o444, read: () => `${uts.version}\n` },
    arch: { mode: 0o444, read: () => `${uts.machine}\n` },
  };
}

const consoleLevel = ({ log }: Kernel): IntCell => ({
  get: () => log.consoleLevel,
  set: (level) => {
    log.consoleLevel = level;
  },
});

/** 0, 1 or 2; 1 cannot be left again (bpf_unpriv_handler). */
function unprivilegedBpf(value: IntCell): SysctlRow {
  const check = (cx: Cx, next: number): Result<0> => {
    if (!capable(cx, CAP.SYS_ADMIN)) return EPERM;
    return value.get() === 1 && next !== 1 ? EPERM : 0;
  };
  return intSysctl([value], { min: 0, max: 2, check });
}

const ENTROPY_BITS = 256;

function randomTable(prng: Prng): Table {
  const bootId = uuid(prng);
  return {
    boot_id: { mode: 0o444, read: () => `${bootId}\n` },
    entropy_avail: constantSysctl(() => ENTROPY_BITS),
    poolsize: constantSysctl(() => ENTROPY_BITS),
    urandom_min_reseed_secs: intSysctl([cell(60)]),
    uuid: { mode: 0o444, read: () => `${uuid(prng)}\n` },
    write_wakeup_threshold: intSysctl([cell(ENTROPY_BITS)]),
  };
}

/** A random UUID (RFC 9562 §5.4, version 4). */
function uuid(prng: Prng): string {
  const bytes = new Uint8Array(16);
  prng.fill(bytes);
  bytes[6] = (bytes[6]! & 0x0f) | 0x40;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const text = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return [text.slice(0, 8), text.slice(8, 12), text.slice(12, 16), text.slice(16, 20), text.slice(20)].join(
    "-",
  );
}

/** Default and limit of BPF JIT memory on 64-bit machines, in bytes. */
const BPF_JIT_LIMIT = 264_241_152;

const NET_CORE = (): Table => ({
  bpf_jit_harden: intSysctl([cell(0)], { mode: 0o600, min: 0, max: 2, ...adminOnly }),
  bpf_jit_kallsyms: intSysctl([cell(1)], { mode: 0o600, min: 0, max: 1, ...adminOnly }),
  bpf_jit_limit: intSysctl([cell(BPF_JIT_LIMIT)], { mode: 0o600, min: 1, max: 2 ** 53 - 1, ...adminOnly }),
  somaxconn: intSysctl([cell(4096)], { min: 0 }),
});

const VM_TABLE = (): Table => ({
  max_map_count: constantSysctl(() => MAX_MAP_COUNT),
  mmap_min_addr: constantSysctl(() => MMAP_MIN_ADDR),
  overcommit_memory: intSysctl([cell(0)], { min: 0, max: 2 }),
  overcommit_ratio: intSysctl([cell(50)], { min: 0 }),
  panic_on_oom: intSysctl([cell(0)], { min: 0, max: 2 }),
  swappiness: intSysctl([cell(60)], { min: 0, max: 200 }),
});

function fsTable({ vfs }: Kernel): Table {
  const fileMax: IntCell = {
    get: () => vfs.maxFiles,
    set: (count) => {
      vfs.maxFiles = count;
    },
  };
  return {
    "file-max": intSysctl([fileMax], { min: 0, max: 2 ** 53 - 1 }),
    "file-nr": { mode: 0o444, read: () => `${vfs.openFiles}\t0\t${vfs.maxFiles}\n` },
    nr_open: constantSysctl(() => NR_OPEN),
    "pipe-max-size": constantSysctl(() => PIPE_MAX_SIZE),
    overflowgid: intSysctl([cell(65_534)], { min: 0, max: 65_535 }),
    overflowuid: intSysctl([cell(65_534)], { min: 0, max: 65_535 }),
    suid_dumpable: intSysctl([cell(0)], { min: 0, max: 2 }),
  };
}

/** A 25th of low memory, in watches of 160 bytes (fs/eventpoll.c, eventpoll_init). */
const maxUserWatches = ({ mem }: Kernel): number => Math.floor(mem.size / 25 / 160);
