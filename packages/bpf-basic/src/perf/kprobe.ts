/**
 * `KprobePerfEvent`: a kprobe as a perf event. The probe is armed while the event exists; each hit runs the attached program
 * with the trap frame as context. As in Linux, programs run whether or not the event is enabled, and on every CPU.
 */
import { BPF_PROG_TYPE, isErr, type Result } from "@alien-ts/abi";
import type { BpfEngine } from "../engine.ts";
import type { KprobeHandle, KprobeSpec } from "../ports.ts";
import type { BpfProgram } from "../programs/program.ts";
import { PerfEvent, type PerfEventOptions } from "./event.ts";

export class KprobePerfEvent extends PerfEvent {
  readonly spec: KprobeSpec;
  readonly #engine: BpfEngine;
  #probe: KprobeHandle | undefined;
  /** Hits so far. */
  hits = 0;

  constructor(engine: BpfEngine, options: PerfEventOptions, spec: KprobeSpec) {
    super(engine.ports, options);
    this.#engine = engine;
    this.spec = spec;
  }

  /** Plants the probe; the errno of `register_kprobe` where that fails. */
  arm(): Result<0> {
    const probe = this.ports.kprobes.register(this.spec, (regs) => {
      this.hits += 1;
      const { program } = this;
      if (program !== undefined) this.#engine.runTracing(program, regs);
    });
    if (isErr(probe)) return probe;
    this.#probe = probe;
    return 0;
  }

  protected override accepts(program: BpfProgram): boolean {
    return program.type === BPF_PROG_TYPE.KPROBE && !program.isSleepable;
  }

  protected override destroy(): void {
    this.#probe?.unregister();
    this.#probe = undefined;
  }
}
