/**
 * The random suite of kprobes: sequences of register, unregister, enable, disable and calls on the fake machines, where probes
 * also go while they are hit, against a list of probes. After every step the text, the listing and the results are compared; at
 * the end the text is as it was, and all slots are given back.
 */
import { type Errno, isErr, type KAddr } from "@alien-ts/abi";
import { type Prng, type Reach, subjectSuite } from "@alien-ts/testkit";
import {
  disable_kprobe,
  enable_kprobe,
  type Kprobe,
  KprobeBuilder,
  register_kprobe,
  unregister_kprobe,
} from "../src/index.ts";
import { FakeMachine, ISAS } from "./fake-machine.ts";

const STEPS = 60;
/** f: inc; inc; skip; (inc); host 7; inc; ret. */
const RESULT = 13;
const SKIPPED = 3;

interface Subject {
  /** Plants a bug into a fresh machine. */
  change(machine: FakeMachine): void;
  disable: typeof disable_kprobe;
}

const kprobes: Subject = { change: () => {}, disable: disable_kprobe };

const BUGS: Readonly<Record<string, Subject>> = {
  "disabling a probe does nothing": { ...kprobes, disable: () => undefined },
  "the displaced instruction is not put back": {
    ...kprobes,
    change: (machine) => {
      const { arch } = machine.isa;
      machine.set_writeable_for_address = (addr, length, write) => {
        const bytes = new Uint8Array(length);
        write(bytes);
        const isBreakpoint =
          String(arch.breakpoint(length)) === String(bytes) || (length === 1 && bytes[0] === 0xcc);
        if (addr >= 0x3000 || isBreakpoint) machine.memory.set(bytes, addr);
      };
    },
  },
  "pages of slots are not given back": {
    ...kprobes,
    change: (machine) => {
      machine.free_executable_page = () => {};
    },
  },
};

/** A probe of the model. */
interface Planted {
  readonly probe: Kprobe;
  readonly index: number;
  isEnabled: boolean;
  /** Calls of its handler that were expected, and that came. */
  expected: number;
  hits: number;
}

interface World {
  readonly subject: Subject;
  readonly machine: FakeMachine;
  readonly random: Prng;
  readonly f: readonly KAddr[];
  readonly refused: KAddr;
  readonly text: Uint8Array;
  readonly planted: Planted[];
  /** A probe that the handlers of the next call take away, when one of them runs. */
  victim: Planted | undefined;
}

export const kprobeFuzz = subjectSuite("kprobe", kprobes, BUGS, (subject, random, reach) => {
  const isa = random.pick(ISAS);
  const machine = new FakeMachine(isa);
  subject.change(machine);
  const f = machine.define("f", [isa.inc, isa.inc, isa.skip, isa.inc, isa.host(7), isa.inc, isa.ret]);
  const refused = machine.define("g", [isa.refused, isa.ret])[0]!;
  const text = machine.memory.slice(0x1000, machine.textEnd);
  const pages = machine.freePages.length;
  const world: World = { subject, machine, random, f, refused, text, planted: [], victim: undefined };
  for (let i = 0; i < STEPS; i++) {
    const problem = step(world, reach) ?? compare(world);
    if (problem !== undefined) return `${isa.name}, step ${i}: ${problem}`;
  }
  for (const { probe } of world.planted.splice(0)) unregister_kprobe(machine.manager, probe);
  if (machine.freePages.length !== pages)
    return `${isa.name}: ${pages - machine.freePages.length} pages are lost`;
  return compare(world);
});

function step(world: World, reach: Reach): string | undefined {
  const { machine, planted, random, subject } = world;
  const operation = random.pick([
    "register",
    "register",
    "refuse",
    "remove",
    "enable",
    "disable",
    "call",
    "call",
    "race",
  ]);
  const one = planted.length === 0 ? undefined : random.pick(planted);
  reach(`${operation}: ${one === undefined ? "no probe" : one.isEnabled ? "armed" : "disabled"}`);
  if (operation === "register") return register(world);
  if (operation === "refuse") return refuse(world, reach);
  if (operation === "call") return call(world, undefined);
  if (one === undefined) return undefined;
  if (operation === "race") return call(world, one);
  if (operation === "remove") {
    planted.splice(planted.indexOf(one), 1);
    unregister_kprobe(machine.manager, one.probe);
    return isErr(unregister_kprobe(machine.manager, one.probe))
      ? undefined
      : "a probe was unregistered twice";
  }
  one.isEnabled = operation === "enable";
  const change = one.isEnabled ? enable_kprobe : subject.disable;
  return isErr(change(machine.manager, one.probe)) ? `${operation} is refused` : undefined;
}

function register(world: World): string | undefined {
  const { machine, planted, random, f } = world;
  const index = random.below(f.length);
  const isEnabled = !random.oneIn(4);
  let mine: Planted | undefined;
  const builder = new KprobeBuilder().with_enable(isEnabled).with_pre_handler(() => {
    if (mine !== undefined) mine.hits += 1;
    const { victim } = world;
    world.victim = undefined;
    if (victim !== undefined) unregister_kprobe(machine.manager, victim.probe);
    return 0;
  });
  if (random.oneIn(2)) builder.with_symbol("f").with_offset(f[index]! - f[0]!);
  else builder.with_symbol_addr(f[index]!);
  const probe: Kprobe | Errno = register_kprobe(machine.manager, builder);
  if (isErr(probe)) return `registering at ${machine.where(f[index]!)} gives ${probe.name}`;
  mine = { probe, index, isEnabled, expected: 0, hits: 0 };
  planted.push(mine);
  return undefined;
}

/** Addresses that may not be probed: each has Linux's errno. */
function refuse({ machine, random, f, refused }: World, reach: Reach): string | undefined {
  const [addr, expected] = random.pick([
    [refused, "EINVAL"],
    [f[1]! + 1, "EILSEQ"],
    [0x2000, "EINVAL"],
    [0x100, "ENOENT"],
  ] as const);
  const result = register_kprobe(machine.manager, new KprobeBuilder().with_symbol_addr(addr));
  if (!isErr(result)) return `a probe is planted at 0x${addr.toString(16)}`;
  reach(`refuse: ${result.name}`);
  return result.name === expected
    ? undefined
    : `0x${addr.toString(16)} gives ${result.name}, expected ${expected}`;
}

/** Calls f. The first handler that runs takes `victim` away: whether the victim's own still runs is not looked at. */
function call(world: World, victim: Planted | undefined): string | undefined {
  const { machine, planted, f } = world;
  world.victim = victim;
  const result = machine.call(f[0]!);
  const isGone = victim !== undefined && world.victim === undefined;
  world.victim = undefined;
  if (isGone) planted.splice(planted.indexOf(victim), 1);
  for (const one of planted) {
    if (one.isEnabled && one.index !== SKIPPED) one.expected += 1;
    if (one.hits !== one.expected)
      return `the probe at ${machine.where(one.probe.addr)} was hit ${one.hits} times, expected ${one.expected}`;
  }
  return result === RESULT ? undefined : `f gives ${result}, expected ${RESULT}`;
}

/** Text and listing are what the planted probes say. */
function compare({ machine, planted, f, text }: World): string | undefined {
  const expected = text.slice();
  const { arch } = machine.isa;
  for (const { index, isEnabled } of planted) {
    const at = f[index]! - 0x1000;
    if (isEnabled) expected.set(arch.breakpoint(arch.instructionLength(text.subarray(at))), at);
  }
  const found = machine.memory.slice(0x1000, machine.textEnd);
  if (String(found) !== String(expected)) return `text is ${String(found)}, expected ${String(expected)}`;
  const listed = Array.from(machine.manager.kprobes(), ({ addr, isDisabled }) => `${addr} ${isDisabled}`);
  const planned = planted
    .toSorted((a, b) => a.index - b.index)
    .map(({ probe, isEnabled }) => `${probe.addr} ${!isEnabled}`);
  return String(listed) === String(planned)
    ? undefined
    : `probes are ${String(listed)}, expected ${String(planned)}`;
}
