/**
 * What a system call costs a TypeScript task: getppid beside an awaited call of a plain function; and what a kprobe with a small
 * BPF program (syscall_count's: a lookup in a hash map, an atomic addition) adds to every call.
 */
import { NR } from "@alien-ts/abi";
import { boot, jitMemory, type WasmHost } from "@alien-ts/kernel";
import {
  createProgramHost,
  imageFiles,
  type Process,
  type Program,
  PROGRAMS,
  tool,
} from "@alien-ts/userland";
import { Ebpf, Runtime } from "aya-ts";
import { sysOf } from "../packages/userland/src/apps/sys.ts";
import { printTable, SIDE_BY_SIDE_HEADER } from "./measure.ts";

const CALLS = 50_000;
const ROUNDS = 9;
const MEMORY_BYTES = 64 * 1024 * 1024;
const OBJECT = "/lib/bpf/syscall_count.bpf.o";

interface Times {
  plain: number;
  call: number;
  probed: number;
}

const plain = (a: number): number | Promise<number> => a + 1;

/** The least time of an awaited operation, in nanoseconds. */
async function measure(operation: () => number | Promise<number>, best: number): Promise<number> {
  const start = performance.now();
  for (let i = 0; i < CALLS; i++) await operation();
  return Math.min(best, ((performance.now() - start) * 1e6) / CALLS);
}

/** Measures itself, inside the machine. Rounds with and without the probe alternate. */
async function measureAll(process: Process, times: Times): Promise<void> {
  const call = (): number | Promise<number> => process.trap(NR.getppid);
  await using rt = await Runtime.open(sysOf(process));
  await rt.blockOn(async () => {
    await using ebpf = await Ebpf.loadFile(rt.sys, OBJECT);
    const probe = ebpf.kprobe("syscall_count");
    await probe.load();
    for (let round = 0; round < ROUNDS; round++) {
      times.plain = await measure(() => plain(round), times.plain);
      times.call = await measure(call, times.call);
      await using _link = await probe.attach("do_trap_ecall_u");
      times.probed = await measure(call, times.probed);
    }
  });
}

const benchProgram = (times: Times): Program =>
  tool({
    name: "bench",
    path: "/bin/bench",
    usage: "bench",
    options: "",
    main: async (process) => {
      await measureAll(process, times);
      return 0;
    },
  });

export async function benchSyscall(): Promise<void> {
  const none = Number.POSITIVE_INFINITY;
  const times: Times = { plain: none, call: none, probed: none };
  const programs = [...PROGRAMS, benchProgram(times)];
  const kernel = boot({
    ...jitMemory((globalThis as { readonly WebAssembly?: WasmHost }).WebAssembly, MEMORY_BYTES),
    programHost: createProgramHost(programs),
    files: imageFiles(programs),
    init: ["/sbin/init", "-c", "/bin/bench"],
  });
  kernel.console.isTerminal = false;
  kernel.console.onOutput = (bytes) => void process.stderr.write(bytes);
  const status = await new Promise<number>((resolve) => {
    const turn = (): void => {
      const turned = kernel.sched.turn();
      if (turned.state === "halted") resolve(turned.status);
      else setImmediate(turn);
    };
    turn();
  });
  if (status !== 0) throw new Error(`the benchmark program exited with ${status}`);
  const row = (name: string, ns: number): string[] => [
    name,
    ns.toFixed(0),
    ns === times.plain ? "" : `+${(ns - times.plain).toFixed(0)}`,
    `${(ns / times.plain).toFixed(2)}x`,
  ];
  printTable("A system call from a TypeScript task", SIDE_BY_SIDE_HEADER, [
    row("awaited plain call", times.plain),
    row("getppid", times.call),
    row("getppid, a BPF program on its kprobe", times.probed),
  ]);
  const hit = times.probed - times.call;
  process.stdout.write(`\nA kprobe hit with a small BPF program: ${hit.toFixed(0)} ns\n`);
}
