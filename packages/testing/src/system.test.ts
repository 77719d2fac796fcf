/**
 * The whole system: boot, shell, tools, and the demo programs with their clang-built objects, from the libc down to a breakpoint
 * in kernel text. What holds for one machine holds in every layout, on any number of CPUs, and beside another machine.
 */
import { isErr, Layout } from "@alien-ts/abi";
import { Sha256 } from "@alien-ts/testkit";
import { KprobeBuilder, register_kprobe } from "@alien-ts/kprobe";
import type { Observer } from "@alien-ts/kernel";
import { describe, expect, test } from "vitest";
import { bootTestKernel, type TestKernel, type TestKernelOptions } from "./index.ts";

const WORKLOAD = `
mkdir /work && cd /work
seq 1 50 | sort -rn | head -3 >top
cat top top | wc -l
for i in 1 2 3; do echo "file $i" >f$i; done
ls | tr '\\n' ' '; echo
grep -c file f1 f2 f3
(sleep 1; echo slept) & wait
sed s/file/File/ f2
rm -r /work; ls -d /work 2>&1
`;
const EXPECTED =
  "6\nf1 f2 f3 top \nf1:1\nf2:1\nf3:1\nslept\nFile 2\nls: cannot access '/work': No such file or directory\n";

const VARIANTS: readonly TestKernelOptions[] = [
  { layout: Layout.natural(), cpus: 2, seed: 1 },
  { layout: Layout.shuffled(11), cpus: 1, seed: 2 },
  { layout: Layout.shuffled(12), cpus: 2, seed: 3 },
  { layout: Layout.shuffled(13), cpus: 4, seed: 4 },
];

const nameOf = ({ layout, cpus }: TestKernelOptions): string =>
  `${layout?.name ?? "natural"} on ${cpus} CPUs`;

/** Every event that a run is defined by. */
class Digest implements Observer {
  readonly #hash = new Sha256();
  trap: Observer["trap"] = (cx, nr, args, result) =>
    void this.#hash.numbers(1, cx.task.pid, cx.cpu.id, nr, ...args, result, cx.kernel.clock.nowNs());
  contextSwitch: Observer["contextSwitch"] = (...values) => void this.#hash.numbers(2, ...values);
  textTrap: Observer["textTrap"] = (cx, pc, cause) =>
    void this.#hash.numbers(
      3,
      cx.task.pid,
      cx.cpu.id,
      pc,
      cause === "break" ? 0 : 1,
      cx.kernel.clock.nowNs(),
    );
  timer: Observer["timer"] = (ns) => void this.#hash.numbers(4, ns);
  console: Observer["console"] = (bytes) => void this.#hash.numbers(5, bytes.length).update(bytes);
  hex(): string {
    return this.#hash.hex();
  }
}

describe.each(VARIANTS.map((options) => [nameOf(options), options] as const))("%s", (_, options) => {
  test("a shell runs pipelines, jobs and tools", async () => {
    await using machine = await bootTestKernel(options);
    expect(await machine.run(WORKLOAD)).toEqual({ stdout: EXPECTED, stderr: "", status: 2 });
  });

  test("syscall_count counts what tasks call, through a hash map, and logs through a perf ring", async () => {
    await using machine = await bootTestKernel(options);
    const counting = await machine.spawn("syscall_count -s 2");
    await machine.advance(500);
    await machine.run("for i in 1 2 3 4 5; do /bin/uname >/dev/null; done");
    const { stdout, stderr, status } = await counting.wait();
    expect(status).toBe(0);
    expect(/^ +(\d+) {2}execve$/m.exec(stdout)?.[1]).toBe("6");
    expect(stdout).toMatch(/^after 1 s:\n[^]*^after 2 s:\n/m);
    expect(stderr).toContain("[INFO syscall_count] new system call: 221\n");
    expect(stderr.match(/new system call: 280\n/g)?.length).toBe(1);
  });

  test("kprobe_trace prints the files that tasks open, and leaves no probe behind", async () => {
    await using machine = await bootTestKernel(options);
    const tracing = await machine.spawn("kprobe_trace -n 3");
    await machine.advance(100);
    await machine.run("cat /etc/hostname /no/such/file; : </dev/null");
    const { stdout, status } = await tracing.wait();
    expect(stdout.replace(/^\d+ +/gm, "N ")).toMatch(
      /^PID +COMM +PATH\n(N \S+ +\S+\n)*N cat +\/etc\/hostname\nN cat +\/no\/such\/file\n/,
    );
    expect(status).toBe(0);
    expect((await machine.run("kprobe_trace -n 0")).stdout).toBe("PID     COMM             PATH\n");
    expect(await machine.run("cat /sys/kernel/debug/kprobes/list")).toMatchObject({ stdout: "" });
    expect([...machine.kernel.text.armed].some((armed) => armed !== 0)).toBe(false);
  });

  test("Ctrl-C ends a tracer, and closing its descriptors takes the probe away", async () => {
    await using machine = await bootTestKernel(options);
    const tracing = await machine.spawn("exec syscall_count -q");
    await machine.advance(1500);
    expect((await machine.run("cat /sys/kernel/debug/kprobes/list")).stdout).toMatch(
      / {2}k {2}do_trap_ecall_u\+0x0 /,
    );
    await tracing.kill(2);
    expect((await tracing.wait()).stdout).toContain("after 1 s:");
    expect((await machine.run("cat /sys/kernel/debug/kprobes/list")).stdout).toBe("");
  });

  test("SIGKILL of a tracer takes the probe away too", async () => {
    await using machine = await bootTestKernel(options);
    const tracing = await machine.spawn("exec kprobe_trace");
    await machine.advance(200);
    await tracing.kill(9);
    expect((await tracing.wait()).status).toBe(128 + 9);
    expect((await machine.run("cat /sys/kernel/debug/kprobes/list")).stdout).toBe("");
  });
});

/** Plants an empty probe at the entry of every function that takes one; what they count is the functions reached. */
function probeEverything(machine: TestKernel): Map<string, number> {
  const reached = new Map<string, number>();
  for (const { row, symbol } of machine.kernel.text.rows) {
    if (row.options.noprobe === true) continue;
    const hit = (): number => {
      reached.set(symbol, (reached.get(symbol) ?? 0) + 1);
      return 0;
    };
    const probe = register_kprobe(
      machine.kernel.kprobes,
      new KprobeBuilder().with_symbol(symbol).with_pre_handler(hit),
    );
    if (isErr(probe)) throw new Error(`${symbol}: ${probe.name}`);
  }
  return reached;
}

test("with a probe on every function the system does the same, and reaches the functions that Linux would", async () => {
  await using machine = await bootTestKernel({ seed: 5 });
  const reached = probeEverything(machine);
  expect(await machine.run(WORKLOAD)).toEqual({ stdout: EXPECTED, stderr: "", status: 2 });
  for (const name of [
    "do_trap_ecall_u",
    "__riscv_sys_openat",
    "do_sys_openat2",
    "do_filp_open",
    "vfs_open",
    "vfs_read",
    "vfs_write",
    "ksys_write",
    "iterate_dir",
    "vfs_mkdir",
    "vfs_unlink",
    "vfs_rmdir",
    "vfs_statx",
    "pipe_read",
    "pipe_write",
    "kernel_clone",
    "do_execveat_common",
    "load_elf_binary",
    "wake_up_new_task",
    "try_to_wake_up",
    "do_exit",
    "release_task",
    "fput",
    "filp_close",
  ])
    expect([name, (reached.get(name) ?? 0) > 0]).toEqual([name, true]);
  expect(reached.size).toBeGreaterThan(80);
});

const RUN = `${WORKLOAD}
kprobe_trace -s 1 & syscall_count -q -s 2 & sleep 1
cat /etc/passwd | sort | uniq -c
wait; echo end >/dev/console`;

async function digestOf(
  seed: number,
  bpf: TestKernelOptions["bpf"] = "jit",
): Promise<{ readonly digest: string; readonly stdout: string }> {
  const observer = new Digest();
  await using machine = await bootTestKernel({ seed, cpus: 2, observer, bpf });
  const { stdout, status } = await machine.run(RUN);
  expect(status).toBe(0);
  return { digest: observer.hex(), stdout };
}

test("one seed, one run: every trap, switch, breakpoint, timer and console byte repeats, on either BPF engine", async () => {
  const first = await digestOf(42);
  expect(await digestOf(42)).toEqual(first);
  expect((await digestOf(43)).digest).not.toBe(first.digest);
  expect(await digestOf(42, "interpreter")).toEqual(first);
});

test("net.core.bpf_jit_enable chooses the engine of programs that are loaded after it was set", async () => {
  await using machine = await bootTestKernel();
  const enable = "/proc/sys/net/core/bpf_jit_enable";
  const trace = async (): Promise<readonly boolean[]> => {
    const tracing = await machine.spawn("exec kprobe_trace");
    await machine.advance(100);
    const compiled = Array.from(machine.kernel.bpf.engine.programs, ({ isCompiled }) => isCompiled);
    await machine.run("cat /etc/hostname");
    await tracing.kill(2);
    expect((await tracing.wait()).stdout).toMatch(/\d+ +cat +\/etc\/hostname\n/);
    return compiled;
  };
  expect((await machine.run(`cat ${enable}`)).stdout).toBe("1\n");
  expect(await trace()).toEqual([true]);
  await machine.run(`echo 0 >${enable}`);
  expect(await trace()).toEqual([false]);
  await machine.run(`echo 2 >${enable}`);
  expect(await trace()).toEqual([true]);
  const log = (await machine.run("dmesg")).stdout;
  expect(log).toContain(
    "bpf_jit_enable = 2 was set! NEVER use this in production, only for JIT debugging!\n",
  );
  expect(log).toMatch(/ flen=\d+ proglen=\d+ pass=1 image=0+ from=kprobe_trace pid=\d+\n/);
  // The beginning of every WebAssembly module.
  expect(log).toMatch(/ JIT code: 00000000: 00 61 73 6d 01 00 00 00 /);
  expect(await machine.run(`echo 3 >${enable}`)).not.toMatchObject({ status: 0 });
});

test("without a compiler, programs are interpreted, and the parameter says so", async () => {
  await using machine = await bootTestKernel({ bpf: "interpreter" });
  const enable = "/proc/sys/net/core/bpf_jit_enable";
  expect((await machine.run(`cat ${enable}`)).stdout).toBe("0\n");
  expect(await machine.run(`echo 1 >${enable}`)).not.toMatchObject({ status: 0 });
});

test("two machines side by side do what each does alone", async () => {
  const alone = await digestOf(7);
  const [a, b] = await Promise.all([digestOf(7), digestOf(8)]);
  expect(a).toEqual(alone);
  expect(b.digest).not.toBe(a.digest);
});
