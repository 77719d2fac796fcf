/** The kprobe suite: every architecture behaves the same. */
import { EILSEQ, EINVAL, ENOENT, ENOMEM, isErr, type KAddr } from "@alien-ts/abi";
import { describe, expect, test } from "vitest";
import {
  disable_kprobe,
  enable_kprobe,
  kprobes_text_gone,
  formatKprobe,
  type Kprobe,
  KprobeBuilder,
  register_kprobe,
  unregister_kprobe,
} from "../src/index.ts";
import { EXIT, FakeMachine, type Isa, ISAS } from "./fake-machine.ts";

/** f: inc; inc; skip; (inc); host 7; inc; ret. It returns 13: three incs, and ten from the body. */
const RESULT = 13;
const NAMES = ["inc", "second inc", "skip", "skipped inc", "host call", "third inc", "ret"] as const;

interface World {
  readonly machine: FakeMachine;
  /** Addresses of f's instructions. */
  readonly f: readonly KAddr[];
  readonly g: readonly KAddr[];
  readonly length: number;
}

function boot(isa: Isa): World {
  const machine = new FakeMachine(isa);
  const { inc, skip, ret, host, refused, wild } = isa;
  machine.define("secret", [inc, ret]);
  const f = machine.define("f", [inc, inc, skip, inc, host(7), inc, ret]);
  const g = machine.define("g", [inc, inc, ret, wild, refused], "mod");
  return { machine, f, g, length: inc.length };
}

/** A registered probe whose handlers write to the log. */
function plant(
  { machine }: World,
  name: string,
  addr: KAddr,
  also: (builder: KprobeBuilder) => unknown = () => {},
): Kprobe {
  const builder = new KprobeBuilder()
    .with_symbol_addr(addr)
    .with_pre_handler((_, args) => {
      machine.log.push(`pre ${name} at ${machine.where(args.break_address())}`);
      return 0;
    })
    .with_post_handler((_, args) => void machine.log.push(`post ${name}, pc ${machine.where(args.pc())}`));
  also(builder);
  const probe = register_kprobe(machine.manager, builder);
  if (isErr(probe)) throw new Error(probe.name);
  return probe;
}

const at = (addr: KAddr): KprobeBuilder => new KprobeBuilder().with_symbol_addr(addr);

describe.each(ISAS)("kprobes on $name", (isa) => {
  test("an unprobed call traps nowhere", () => {
    const { machine, f } = boot(isa);
    expect([machine.call(f[0]!), machine.log]).toEqual([RESULT, ["body 7"]]);
  });

  test("the breakpoint is in the text, and unregistering restores every byte and gives the slot back", () => {
    const world = boot(isa);
    const { machine, f } = world;
    const before = machine.memory.slice(0x1000, machine.textEnd);
    const pages = machine.freePages.length;
    for (const addr of f) {
      const probe = plant(world, "p", addr);
      const planted = isa.arch.breakpoint(isa.arch.instructionLength(before.subarray(addr - 0x1000)));
      expect(machine.copy_text(addr, planted.length)).toEqual(planted);
      expect(unregister_kprobe(machine.manager, probe)).toBeUndefined();
      expect(machine.memory.slice(0x1000, machine.textEnd)).toEqual(before);
      expect(machine.freePages.length).toBe(pages);
    }
  });

  test("a stepped instruction: break, pre-handler, copy, second trap, post-handler with the pc behind it", () => {
    const world = boot(isa);
    const { machine, f, length } = world;
    plant(world, "p", f[1]!);
    expect(machine.call(f[0]!)).toBe(RESULT);
    expect(machine.log).toEqual([
      `break f+${length}`,
      `pre p at f+${length}`,
      `${isa.arch.hasSingleStep ? "debug" : "break"} slot+${length}`,
      `post p, pc f+${2 * length}`,
      "body 7",
    ]);
    expect(machine.manager.kprobe_running()).toBe(false);
    expect(machine.frame.isStepping).toBe(false);
  });

  test("a jump is simulated: one trap, and the post-handler sees its target", () => {
    const world = boot(isa);
    const { machine, f } = world;
    plant(world, "p", f[2]!);
    expect(machine.call(f[0]!)).toBe(RESULT);
    const [skip, target] = [machine.where(f[2]!), machine.where(f[4]!)];
    expect(machine.log).toEqual([`break ${skip}`, `pre p at ${skip}`, `post p, pc ${target}`, "body 7"]);
  });

  test("at the host call the handlers run, then the body with nothing held", () => {
    const world = boot(isa);
    const { machine, f } = world;
    plant(world, "p", f[4]!);
    expect(machine.call(f[0]!)).toBe(RESULT);
    const [call, next] = [machine.where(f[4]!), machine.where(f[5]!)];
    expect(machine.log).toEqual([`break ${call}`, `pre p at ${call}`, `post p, pc ${next}`, "body 7"]);
  });

  test.each([...NAMES.entries()].filter(([index]) => index !== 3))(
    "a probe on %i (%s) changes no result",
    (index) => {
      const world = boot(isa);
      plant(world, "p", world.f[index]!);
      expect(world.machine.call(world.f[0]!)).toBe(RESULT);
      expect(world.machine.log.filter((line) => line.startsWith("pre"))).toHaveLength(1);
    },
  );

  test("probes on every instruction at once change no result", () => {
    const world = boot(isa);
    for (const addr of world.f) plant(world, "p", addr);
    expect(world.machine.call(world.f[0]!)).toBe(RESULT);
    expect(world.machine.log.filter((line) => line.startsWith("post"))).toHaveLength(6);
  });

  test("probes on one point run in the order of registration, around one execution", () => {
    const world = boot(isa);
    const { machine, f } = world;
    const probes = ["a", "b", "c"].map((name) => plant(world, name, f[0]!));
    disable_kprobe(machine.manager, probes[1]!);
    expect(machine.call(f[0]!)).toBe(RESULT);
    const handlers = machine.log
      .filter((line) => /^(pre|post)/.test(line))
      .map((line) => line.slice(0, 6).trim());
    expect(handlers).toEqual(["pre a", "pre c", "post a", "post c"]);
  });

  test("callbacks run before the instruction, in order, until they are unregistered", () => {
    const world = boot(isa);
    const { machine, f } = world;
    const note = (id: number) => ({
      call: () => machine.log.push(`callback ${id}`) * 0,
    });
    const probe = plant(world, "p", f[1]!, (b) =>
      b.with_event_callback(2, note(2)).with_event_callback(1, note(1)),
    );
    expect(probe.unregister_event_callback(9)).toBe(false);
    machine.call(f[0]!);
    expect(machine.log.slice(1, 4).map((line) => line.slice(0, 10))).toEqual([
      "pre p at f",
      "callback 2",
      "callback 1",
    ]);
    machine.log.length = 0;
    expect(probe.unregister_event_callback(2)).toBe(true);
    machine.call(f[0]!);
    expect(machine.log.filter((line) => line.startsWith("callback"))).toEqual(["callback 1"]);
  });
});

describe.each(ISAS)("changing the way on $name", (isa) => {
  test("a pre-handler that sets the pc and returns non-zero skips the instruction and the handlers after it", () => {
    const world = boot(isa);
    const { machine, f } = world;
    plant(world, "p", f[0]!, (b) =>
      b.with_pre_handler((_, args) => {
        args.setReturnValue(-5, -1);
        args.update_pc(args.returnAddress());
        return 1;
      }),
    );
    plant(world, "late", f[0]!);
    expect(machine.call(f[0]!)).toBe(-5);
    expect(machine.log).toEqual(["break f+0"]);
    expect(machine.manager.kprobe_running()).toBe(false);
  });

  test("a callback can do so too: the body of the function does not run", () => {
    const world = boot(isa);
    const { machine, f } = world;
    const override = {
      call: (args: Parameters<NonNullable<Kprobe["post_handler"]>>[1]) => {
        args.setReturnValue(-12, -1);
        args.update_pc(args.returnAddress());
        return 1;
      },
    };
    plant(world, "p", f[4]!, (b) => b.with_event_callback(0, override));
    expect(machine.call(f[0]!)).toBe(-12);
    expect(machine.log.filter((line) => line.startsWith("body") || line.startsWith("post"))).toEqual([]);
  });

  test("a pre-handler may change an argument that the instruction reads", () => {
    const world = boot(isa);
    const { machine, f } = world;
    plant(world, "p", f[0]!, (b) => b.with_pre_handler((_, args) => (args.setArgument(0, 100, 0), 0)));
    expect(machine.call(f[0]!)).toBe(100 + RESULT);
  });

  test("a fault of the copy is reported at the probed instruction, and nothing stays current", () => {
    const world = boot(isa);
    const { machine, g } = world;
    plant(world, "p", g[3]!);
    machine.call(g[3]!);
    const wild = machine.where(g[3]!);
    expect(machine.log).toEqual([`break ${wild}`, `pre p at ${wild}`, "fault slot+0", `fixed up ${wild}`]);
    expect(machine.manager.kprobe_running()).toBe(false);
    expect(machine.frame.isStepping).toBe(false);
  });

  test("a fault elsewhere is not the library's", () => {
    const { machine, g } = boot(isa);
    machine.call(g[3]!);
    expect(machine.log.at(-1)).toBe(`plain ${machine.where(g[3]!)}`);
  });
});

describe.each(ISAS)("nested hits on $name", (isa) => {
  test.each([
    ["a pre-handler", "with_pre_handler"],
    ["a post-handler", "with_post_handler"],
  ] as const)("a probe hit from %s is counted, runs no handlers, and its function works", (_, which) => {
    const world = boot(isa);
    const { machine, f, g } = world;
    const inner = g.slice(0, 3).map((addr) => plant(world, "inner", addr));
    const results: number[] = [];
    plant(world, "outer", f[0]!, (b) => b[which](() => results.push(machine.call(g[0]!)) * 0));
    expect(machine.call(f[0]!)).toBe(RESULT);
    expect(results).toEqual([2]);
    expect(inner.map(({ nmissed }) => nmissed)).toEqual([1, 1, 1]);
    expect(machine.log.filter((line) => line.includes("inner"))).toEqual([]);
    expect(machine.manager.kprobe_running()).toBe(false);
    machine.call(g[0]!);
    expect(machine.log.filter((line) => line.includes("inner"))).toHaveLength(6);
  });

  test("a handler that calls the probed function itself does not recurse", () => {
    const world = boot(isa);
    const { machine, f } = world;
    const results: number[] = [];
    const probe = plant(world, "p", f[0]!, (b) =>
      b.with_pre_handler(() => results.push(machine.call(f[0]!)) * 0),
    );
    const same = plant(world, "same point", f[0]!);
    expect(machine.call(f[0]!)).toBe(RESULT);
    expect([results, probe.nmissed, same.nmissed]).toEqual([[RESULT], 1, 1]);
  });

  test("a nested host call runs its body while the outer probe stays current", () => {
    const world = boot(isa);
    const { machine, f, g } = world;
    plant(world, "inner", f[4]!);
    plant(world, "outer", g[0]!, (b) => b.with_pre_handler(() => machine.call(f[0]!) * 0));
    expect(machine.call(g[0]!)).toBe(2);
    expect(machine.log).toContain("body 7 (probe running)");
    expect(machine.manager.kprobe_running()).toBe(false);
  });

  test("each CPU has its own current probe", () => {
    const world = boot(isa);
    const { machine, f, g } = world;
    plant(world, "inner", g[0]!);
    plant(world, "outer", f[0]!, (b) =>
      b.with_pre_handler(() => {
        machine.cpu = 1;
        machine.call(g[0]!);
        machine.cpu = 0;
        return 0;
      }),
    );
    expect(machine.call(f[0]!)).toBe(RESULT);
    expect(machine.log.filter((line) => line.includes("inner"))).toHaveLength(2);
  });
});

describe.each(ISAS)("enabling and unregistering on $name", (isa) => {
  test("the breakpoint leaves the text with the last enabled probe, and comes back", () => {
    const world = boot(isa);
    const { machine, f } = world;
    const original = machine.copy_text(f[0]!, 4);
    const [a, b] = [
      plant(world, "a", f[0]!),
      plant(world, "b", f[0]!, (builder) => builder.with_enable(false)),
    ];
    const planted = machine.copy_text(f[0]!, 4);
    const text = (change: typeof enable_kprobe, probe: Kprobe): Uint8Array => {
      expect(change(machine.manager, probe)).toBeUndefined();
      return machine.copy_text(f[0]!, 4);
    };
    expect(planted).not.toEqual(original);
    expect(text(disable_kprobe, a)).toEqual(original);
    expect(text(enable_kprobe, b)).toEqual(planted);
    expect(text(enable_kprobe, a)).toEqual(planted);
    expect(text(disable_kprobe, b)).toEqual(planted);
    expect(text(disable_kprobe, a)).toEqual(original);
    expect(machine.call(f[0]!)).toBe(RESULT);
    expect(machine.log).toEqual(["body 7"]);
  });

  test("a probe may unregister itself in its pre-handler: the instruction runs, its later handlers do not", () => {
    const world = boot(isa);
    const { machine, f } = world;
    const pages = machine.freePages.length;
    const callback = { call: () => machine.log.push("callback") * 0 };
    const probe: Kprobe = plant(world, "p", f[0]!, (b) =>
      b.with_event_callback(0, callback).with_pre_handler(() => {
        expect(unregister_kprobe(machine.manager, probe)).toBeUndefined();
        expect(machine.freePages.length).toBe(pages - 1);
        return 0;
      }),
    );
    expect(machine.call(f[0]!)).toBe(RESULT);
    expect(machine.log.filter((line) => /callback|post/.test(line))).toEqual([]);
    expect(machine.freePages.length).toBe(pages);
  });

  test("unregistering another probe of the point in a handler stops its handlers at once", () => {
    const world = boot(isa);
    const { machine, f } = world;
    const killer = plant(world, "killer", f[0]!, (b) =>
      b.with_pre_handler(() => (unregister_kprobe(machine.manager, victim), 0)),
    );
    const victim: Kprobe = plant(world, "victim", f[0]!);
    expect(machine.call(f[0]!)).toBe(RESULT);
    expect(machine.log.some((line) => line.includes("victim"))).toBe(false);
    expect([killer.isRegistered, victim.isRegistered]).toEqual([true, false]);
  });

  test("unregistering in the post-handler, and registering anew there, leaves one working probe", () => {
    const world = boot(isa);
    const { machine, f } = world;
    const pages = machine.freePages.length;
    let fresh: Kprobe | undefined;
    const old: Kprobe = plant(world, "old", f[0]!, (b) =>
      b.with_post_handler(() => {
        unregister_kprobe(machine.manager, old);
        fresh = plant(world, "fresh", f[0]!);
      }),
    );
    machine.call(f[0]!);
    machine.log.length = 0;
    expect(machine.call(f[0]!)).toBe(RESULT);
    expect(machine.log[1]).toBe("pre fresh at f+0");
    unregister_kprobe(machine.manager, fresh!);
    expect(machine.freePages.length).toBe(pages);
  });

  test("unregistering in the body, while nothing is held, lets the call return", () => {
    const world = boot(isa);
    const { machine, f } = world;
    const probes = f.map((addr) => plant(world, "p", addr));
    machine.body = () => probes.forEach((probe) => unregister_kprobe(machine.manager, probe));
    expect(machine.call(f[0]!)).toBe(RESULT);
    expect(machine.log.at(-1)).toBe("body 7");
    expect(machine.freePages).toHaveLength(2);
  });

  test("a probe that is not registered is EINVAL", () => {
    const world = boot(isa);
    const { manager } = world.machine;
    const probe = plant(world, "p", world.f[0]!);
    unregister_kprobe(manager, probe);
    expect([unregister_kprobe, enable_kprobe, disable_kprobe].map((f) => f(manager, probe))).toEqual([
      EINVAL,
      EINVAL,
      EINVAL,
    ]);
  });
});

describe.each(ISAS)("where probes may go on $name", (isa) => {
  const CASES: readonly [string, (world: World) => KprobeBuilder, unknown][] = [
    ["symbol and address", ({ f }) => at(f[0]!).with_symbol("f"), EINVAL],
    ["neither symbol nor address", () => new KprobeBuilder(), EINVAL],
    ["address 0", () => at(0), EINVAL],
    ["an unknown symbol", () => new KprobeBuilder().with_symbol("nowhere"), ENOENT],
    ["an address without a symbol", () => at(EXIT), ENOENT],
    ["data", () => new KprobeBuilder().with_symbol("datum"), EINVAL],
    ["a blacklisted function", () => new KprobeBuilder().with_symbol("secret"), EINVAL],
    ["an odd address inside an instruction", ({ f }) => at(f[1]! + 1), EILSEQ],
    ["the middle of the host call", ({ f }) => at(f[4]! + 2), EILSEQ],
    ["an instruction that must not be probed", ({ g }) => at(g[4]!), EINVAL],
  ];
  test.each(CASES)("%s", (_, build, errno) => {
    const world = boot(isa);
    expect(register_kprobe(world.machine.manager, build(world))).toBe(errno);
    expect(world.machine.freePages).toHaveLength(2);
  });

  test("a slot", () => {
    const world = boot(isa);
    plant(world, "p", world.f[0]!);
    expect(register_kprobe(world.machine.manager, at(0x3000))).toBe(EINVAL);
  });

  test("symbol and offset name the same point as the address", () => {
    const world = boot(isa);
    const { machine, f } = world;
    const probe = register_kprobe(
      machine.manager,
      new KprobeBuilder().with_symbol("f").with_offset(f[1]! - f[0]!),
    );
    expect(isErr(probe) ? probe : probe.addr).toBe(f[1]);
  });

  test("an instruction after a probed one is found by its original bytes", () => {
    const world = boot(isa);
    plant(world, "first", world.f[0]!);
    expect(plant(world, "second", world.f[1]!).addr).toBe(world.f[1]);
  });

  test("no memory for a slot is ENOMEM, and leaves the text alone", () => {
    const world = boot(isa);
    const { machine, f } = world;
    machine.freePages = [];
    const before = machine.memory.slice();
    expect(register_kprobe(machine.manager, at(f[0]!))).toBe(ENOMEM);
    expect(machine.memory).toEqual(before);
  });

  test("slots share a page, and a second page is taken only when the first is full", () => {
    const machine = new FakeMachine(isa);
    const slots = Math.floor(256 / (isa.arch.hasSingleStep ? 4 : 8));
    const addrs = machine.define(
      "long",
      Array.from({ length: slots + 1 }, () => isa.inc),
    );
    const probes = addrs.slice(0, -1).map((addr) => register_kprobe(machine.manager, at(addr)));
    expect(machine.freePages).toHaveLength(1);
    expect(isErr(register_kprobe(machine.manager, at(addrs.at(-1)!)))).toBe(false);
    expect(machine.freePages).toHaveLength(0);
    for (const probe of probes) if (!isErr(probe)) unregister_kprobe(machine.manager, probe);
    expect(machine.freePages).toEqual([0x3000]);
  });

  test("probes in unloaded text are gone: shown so, and only unregistered", () => {
    const world = boot(isa);
    const { machine, f, g } = world;
    const before = machine.memory.slice(0x1000, machine.textEnd);
    const [kept, gone] = [plant(world, "kept", f[0]!), plant(world, "gone", g[0]!)];
    kprobes_text_gone(machine.manager, g[0]!, machine.textEnd - g[0]!);
    machine.textEnd = g[0]!;
    machine.symbols.pop();
    const lines = [...machine.manager.kprobes()].map((entry) => formatKprobe(entry, ""));
    expect(lines).toEqual(["  k  f+0x0    \n", "  k  +0x0    [GONE]\n"]);
    expect(enable_kprobe(machine.manager, gone)).toBe(EINVAL);
    expect([kept, gone].map((probe) => unregister_kprobe(machine.manager, probe))).toEqual([
      undefined,
      undefined,
    ]);
    expect(unregister_kprobe(machine.manager, gone)).toBe(EINVAL);
    expect([...machine.manager.kprobes()]).toEqual([]);
    expect(machine.memory.slice(0x1000, 0x1000 + before.length)).toEqual(before);
    expect(machine.freePages).toHaveLength(2);
  });

  test("the debug list shows each probe as Linux prints it", () => {
    const world = boot(isa);
    const { machine, f, g, length } = world;
    plant(world, "second", g[1]!, (b) => b.with_enable(false));
    plant(world, "first", f[0]!);
    const lines = [...machine.manager.kprobes()].map((entry) => formatKprobe(entry, entry.addr.toString(16)));
    expect(lines).toEqual([
      `${f[0]!.toString(16)}  k  f+0x0    \n`,
      `${g[1]!.toString(16)}  k  g+0x${length}  mod [DISABLED]\n`,
    ]);
  });
});
