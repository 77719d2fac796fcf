/** Kretprobes: the same on every architecture. */
import { EINVAL, ENOENT, ENOMEM, isErr, type KAddr } from "@alien-ts/abi";
import { describe, expect, test } from "vitest";
import {
  disable_kprobe,
  formatKprobe,
  type Kretprobe,
  KretprobeBuilder,
  kprobe_flush_task,
  KprobeBuilder,
  register_kprobe,
  register_kretprobe,
  unregister_kretprobe,
} from "../src/index.ts";
import { FakeMachine, type Isa, ISAS } from "./fake-machine.ts";

/** f: host 7; inc; ret. The body adds 10, so f returns 11; what the body calls is up to the test. */
function boot(isa: Isa) {
  const machine = new FakeMachine(isa);
  const f = machine.define("f", [isa.host(7), isa.inc, isa.ret]);
  const g = machine.define("g", [isa.inc, isa.ret]);
  return { machine, f: f[0]!, g: g[0]!, second: f[1]! };
}

function plant(machine: FakeMachine, name: string, addr: KAddr, builder = new KretprobeBuilder()): Kretprobe {
  builder.with_symbol_addr(addr).with_ret_handler((instance, args) => {
    const data = instance.data === undefined ? "" : ` data ${String(instance.data)}`;
    machine.log.push(`ret ${name} ${args.returnValueLow()} to 0x${args.pc().toString(16)}${data}`);
  });
  const kretprobe = register_kretprobe(machine.manager, builder);
  if (isErr(kretprobe)) throw new Error(kretprobe.name);
  return kretprobe;
}
const returns = (machine: FakeMachine): string[] => machine.log.filter((line) => line.startsWith("ret "));

describe.each(ISAS)("kretprobes on $name", (isa) => {
  test("the handler sees the result, at the real return address", () => {
    const { machine, f } = boot(isa);
    const pages = machine.freePages.length;
    const kretprobe = plant(machine, "p", f);
    expect(machine.call(f)).toBe(11);
    expect(returns(machine)).toEqual(["ret p 11 to 0xff0"]);
    expect(unregister_kretprobe(machine.manager, kretprobe)).toBeUndefined();
    expect([machine.call(f), returns(machine).length, machine.freePages.length]).toEqual([11, 1, pages]);
    expect(unregister_kretprobe(machine.manager, kretprobe)).toBe(EINVAL);
  });

  test("several on one function run in the opposite order, and each call has data of its own", () => {
    const { machine, f } = boot(isa);
    let calls = 0;
    const entry = (): KretprobeBuilder =>
      new KretprobeBuilder().with_entry_handler((instance) => {
        instance.data = ++calls;
        return 0;
      });
    plant(machine, "a", f, entry());
    plant(machine, "b", f, entry());
    machine.call(f);
    expect(returns(machine)).toEqual(["ret b 11 to 0xff0 data 2", "ret a 11 to 0xff0 data 1"]);
  });

  test("recursion takes one instance a call, and an empty pool counts the misses", () => {
    const { machine, f } = boot(isa);
    const kretprobe = plant(machine, "p", f, new KretprobeBuilder(2));
    let depth = 0;
    machine.body = () => {
      if (++depth < 4) machine.call(f);
    };
    expect(machine.call(f)).toBe(11);
    expect([returns(machine).length, kretprobe.nmissed]).toEqual([2, 2]);
    machine.call(f);
    expect(returns(machine).length).toBe(3);
  });

  test("an entry handler that answers non-zero leaves the call alone", () => {
    const { machine, f } = boot(isa);
    plant(
      machine,
      "p",
      f,
      new KretprobeBuilder(1).with_entry_handler(() => 1),
    );
    expect([machine.call(f), machine.call(f), returns(machine)]).toEqual([11, 11, []]);
  });

  test("calls of two tasks on two CPUs find their own instances", () => {
    const { machine, f } = boot(isa);
    plant(machine, "p", f);
    const [a, b] = [{}, {}];
    machine.task = a;
    let isNested = false;
    machine.body = () => {
      if (isNested) return;
      isNested = true;
      machine.task = b;
      machine.cpu = 1;
      machine.call(f);
      machine.task = a;
    };
    expect(machine.call(f)).toBe(11);
    expect(returns(machine)).toHaveLength(2);
  });

  test("unregistering while the function is inside lets it return without the handler, and frees everything", () => {
    const { machine, f } = boot(isa);
    const pages = machine.freePages.length;
    const kretprobe = plant(machine, "p", f);
    machine.body = () => void unregister_kretprobe(machine.manager, kretprobe);
    expect(machine.call(f)).toBe(11);
    expect([returns(machine), machine.freePages.length]).toEqual([[], pages]);
  });

  test("unregistering in the return handler is safe", () => {
    const { machine, f } = boot(isa);
    const pages = machine.freePages.length;
    const builder = new KretprobeBuilder().with_event_callback(1, { call: () => machine.log.push("late") });
    const kretprobe = register_kretprobe(
      machine.manager,
      builder
        .with_symbol("f")
        .with_ret_handler(() => void unregister_kretprobe(machine.manager, kretprobe as Kretprobe)),
    );
    expect(machine.call(f)).toBe(11);
    expect([machine.log.includes("late"), machine.freePages.length]).toEqual([false, pages]);
  });

  test("callbacks run at the return, and a probe hit in one is nested", () => {
    const { machine, f, g } = boot(isa);
    const inner = register_kprobe(machine.manager, new KprobeBuilder().with_symbol("g"));
    const results: number[] = [];
    plant(
      machine,
      "p",
      f,
      new KretprobeBuilder().with_event_callback(1, { call: () => results.push(machine.call(g)) }),
    );
    expect(machine.call(f)).toBe(11);
    expect([results, isErr(inner) ? inner : inner.nmissed]).toEqual([[1], 1]);
    expect(machine.manager.kprobe_running()).toBe(false);
  });

  test("a disabled one hooks nothing", () => {
    const { machine, f } = boot(isa);
    const kretprobe = plant(machine, "p", f);
    disable_kprobe(machine.manager, kretprobe.probe);
    expect([machine.call(f), returns(machine)]).toEqual([11, []]);
  });

  test("a task that ends inside a hooked call gives its instances back", () => {
    const { machine, f } = boot(isa);
    const pages = machine.freePages.length;
    const kretprobe = plant(machine, "p", f, new KretprobeBuilder(1));
    class Killed extends Error {}
    machine.body = () => {
      throw new Killed();
    };
    expect(() => machine.call(f)).toThrow(Killed);
    machine.body = () => {};
    kprobe_flush_task(machine.manager, machine.task);
    machine.call(f);
    expect([returns(machine).length, kretprobe.nmissed]).toEqual([1, 0]);
    unregister_kretprobe(machine.manager, kretprobe);
    expect(machine.freePages.length).toBe(pages);
  });

  test("only a function's entry can be probed", () => {
    const { machine, second } = boot(isa);
    const pages = machine.freePages.length;
    const register = (builder: KretprobeBuilder): unknown => register_kretprobe(machine.manager, builder);
    expect(register(new KretprobeBuilder().with_symbol_addr(second))).toBe(EINVAL);
    expect(register(new KretprobeBuilder().with_symbol("nowhere"))).toBe(ENOENT);
    expect(machine.freePages.length).toBe(pages);
    machine.freePages = [];
    expect(register(new KretprobeBuilder().with_symbol("f"))).toBe(ENOMEM);
  });

  test("the debug list shows it as r", () => {
    const { machine, f } = boot(isa);
    plant(machine, "p", f);
    expect([...machine.manager.kprobes()].map((entry) => formatKprobe(entry, "ffffffd600001000"))).toEqual([
      "ffffffd600001000  r  f+0x0    \n",
    ]);
  });
});
