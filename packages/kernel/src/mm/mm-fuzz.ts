/**
 * The random suite of address spaces: sequences of mmap, munmap, mprotect, mremap, madvise, fork, loads and stores against a
 * model that knows single pages only. After every step the whole window is compared; at the end nothing may be left.
 *
 * `mmFuzz.run({ runs, seed })` gives a report; a failure names the seed of its run and the step. Every entry of
 * `mmFuzz.mutations` plants a bug, which the suite must find.
 */
import {
  EFAULT,
  EINVAL,
  ENOMEM,
  isErr,
  MADV,
  MAP,
  MREMAP_FIXED,
  MREMAP_MAYMOVE,
  PAGE_SIZE,
  PROT,
  type Result,
  type UAddr,
} from "@alien-ts/abi";
import type { AddressSpace } from "./address-space.ts";
import { difference } from "./allocation-faults.ts";
import { do_mmap, do_mremap, do_munmap, type MmapFile } from "./mmap.ts";
import { do_madvise, do_mprotect } from "./mprotect.ts";
import { PTE, pageNumber } from "./page-table.ts";
import { type Random, seededRandom, TestFile, testManager, testSpace } from "./testing.ts";
import { get_user_u8, put_user_u8 } from "./uaccess.ts";
import { canMerge } from "./vma.ts";

export interface FuzzOptions {
  readonly runs: number;
  readonly seed: number;
}

export interface FuzzReport {
  readonly runs: number;
  readonly seed: number;
  /** One line per failed run. */
  readonly failures: readonly string[];
  /** How often each operation ended in each way: "munmap: 0", "mprotect: ENOMEM". */
  readonly branches: ReadonlyMap<string, number>;
}

/** Plants a bug into a fresh address space. */
type Mutation = (mm: AddressSpace) => void;

const WINDOW = 24;
const BASE = 0x10_0000_0000 - 5 * PAGE_SIZE;
const STEPS = 120;
const FILE_PAGES = 6;

/** One page of the model. `object` is what other mappings see too; `own` is the private copy. */
interface ModelPage {
  prot: number;
  readonly isShared: boolean;
  readonly object: number[] | undefined;
  readonly limit: number;
  readonly index: number;
  own: number | undefined;
}
type Model = Map<number, ModelPage>;

interface World {
  readonly random: Random;
  readonly file: TestFile;
  readonly fileBytes: number[];
  readonly spaces: { mm: AddressSpace; model: Model }[];
  readonly mutate: Mutation;
  readonly branches: Map<string, number>;
}

export const mmFuzz = {
  name: "mm",
  run: (options: FuzzOptions): FuzzReport => runAll(options, () => undefined),
  /** Runs with a planted bug; its report must have failures. */
  mutations: new Map<string, (options: FuzzOptions) => FuzzReport>([
    ["munmap forgets the last page", (options) => runAll(options, forgetLastPage)],
    ["mprotect leaves pages writable", (options) => runAll(options, keepWritable)],
    ["fork shares pages without copy-on-write", (options) => runAll(options, shareWritable)],
    ["a zapped page keeps its reference", (options) => runAll(options, leakReference)],
  ]),
};

function runAll({ runs, seed }: FuzzOptions, mutate: Mutation): FuzzReport {
  const failures: string[] = [];
  const branches = new Map<string, number>();
  for (let run = 0; run < runs; run++) {
    const message = runOne(seed + run, mutate, branches);
    if (message !== undefined) failures.push(`seed ${seed + run}: ${message}`);
  }
  return { runs, seed, failures, branches };
}

function runOne(seed: number, mutate: Mutation, branches: Map<string, number>): string | undefined {
  const manager = testManager(0x40_0000);
  const file = new TestFile(manager.pages, FILE_PAGES);
  const baseline = manager.kmalloc.snapshot();
  const world: World = {
    random: seededRandom(seed),
    file,
    fileBytes: Array.from({ length: FILE_PAGES }, (_, i) => i + 1),
    spaces: [{ mm: testSpace(manager), model: new Map() }],
    mutate,
    branches,
  };
  mutate(world.spaces[0]!.mm);
  for (let step = 0; step < STEPS; step++) {
    const problem = oneStep(world) ?? compareAll(world);
    if (problem !== undefined) return `step ${step}: ${problem}`;
  }
  for (const { mm } of world.spaces) mm.put();
  const left = [...difference(baseline, manager.kmalloc.snapshot()).keys()];
  return left.length > 0 ? `left behind: ${left.join(", ")}` : undefined;
}

const OPERATIONS: readonly { name: string; weight: number; run: Operation }[] = [
  { name: "mmap", weight: 5, run: stepMmap },
  { name: "munmap", weight: 3, run: stepMunmap },
  { name: "mprotect", weight: 4, run: stepMprotect },
  { name: "mremap", weight: 2, run: stepMremap },
  { name: "madvise", weight: 1, run: stepDontneed },
  { name: "store", weight: 8, run: stepStore },
  { name: "fork", weight: 1, run: stepFork },
];

/** Does one thing to the space and its model; gives [what happened, what the model says]. */
type Operation = (
  world: World,
  space: { mm: AddressSpace; model: Model },
) => [Result<unknown>, Result<unknown>];

function oneStep(world: World): string | undefined {
  const space = world.spaces[world.random(world.spaces.length)]!;
  let pick = world.random(OPERATIONS.reduce((sum, { weight }) => sum + weight, 0));
  for (const { name, weight, run } of OPERATIONS) {
    pick -= weight;
    if (pick >= 0) continue;
    const [got, expected] = run(world, space);
    const outcome = `${name}: ${isErr(got) ? got.name : "done"}`;
    world.branches.set(outcome, (world.branches.get(outcome) ?? 0) + 1);
    return got === expected ? undefined : `${name} gave ${String(got)}, not ${String(expected)}`;
  }
  return undefined;
}

const at = (page: number): UAddr => BASE + page * PAGE_SIZE;

function range(random: Random): { first: number; end: number; addr: UAddr; length: number } {
  const first = random(WINDOW);
  const end = first + 1 + random(Math.min(8, WINDOW - first));
  return { first, end, addr: at(first), length: (end - first) * PAGE_SIZE };
}

function stepMmap(
  world: World,
  { mm, model }: { mm: AddressSpace; model: Model },
): [Result<unknown>, Result<unknown>] {
  const { random, file, fileBytes } = world;
  const { first, end, addr, length } = range(random);
  const prot = random(8);
  const isShared = random(2) === 0;
  const isFile = random(2) === 0;
  const offset = isFile ? random(FILE_PAGES) : 0;
  const opened: MmapFile | undefined = isFile ? file.opened() : undefined;
  const flags = MAP.FIXED | (isShared ? MAP.SHARED : MAP.PRIVATE) | (isFile ? 0 : MAP.ANONYMOUS);
  const got = do_mmap(mm, { addr, length, prot, flags, offset: offset * PAGE_SIZE, file: opened });
  const object = isFile ? fileBytes : isShared ? [] : undefined;
  const limit = isFile ? FILE_PAGES : Number.POSITIVE_INFINITY;
  for (let page = first; page < end; page++)
    model.set(page, { prot, isShared, object, limit, index: offset + page - first, own: undefined });
  return [got, addr];
}

function stepMunmap(
  { random }: World,
  { mm, model }: { mm: AddressSpace; model: Model },
): [Result<unknown>, Result<unknown>] {
  const { first, end, addr, length } = range(random);
  for (let page = first; page < end; page++) model.delete(page);
  return [do_munmap(mm, addr, length), 0];
}

function stepMprotect(
  { random }: World,
  { mm, model }: { mm: AddressSpace; model: Model },
): [Result<unknown>, Result<unknown>] {
  const { first, end, addr, length } = range(random);
  const prot = random(8);
  let expected: Result<unknown> = 0;
  for (let page = first; page < end; page++) {
    const known = model.get(page);
    if (known === undefined) {
      expected = ENOMEM;
      break;
    }
    known.prot = prot;
  }
  return [do_mprotect(mm, addr, length, prot), expected];
}

function stepMremap(
  { random }: World,
  { mm, model }: { mm: AddressSpace; model: Model },
): [Result<unknown>, Result<unknown>] {
  const from = random(WINDOW);
  const to = random(WINDOW);
  const got = do_mremap(mm, {
    addr: at(from),
    oldLength: PAGE_SIZE,
    newLength: PAGE_SIZE,
    flags: MREMAP_MAYMOVE | MREMAP_FIXED,
    newAddr: at(to),
  });
  const moved = model.get(from);
  if (moved === undefined) {
    // Linux looks the area up before it unmaps the target.
    return [got, EFAULT];
  }
  if (from === to) return [got, EINVAL];
  model.delete(from);
  model.set(to, moved);
  return [got, at(to)];
}

function stepDontneed(
  { random }: World,
  { mm, model }: { mm: AddressSpace; model: Model },
): [Result<unknown>, Result<unknown>] {
  const { first, end, addr, length } = range(random);
  let expected: Result<unknown> = 0;
  for (let page = first; page < end; page++) {
    const known = model.get(page);
    if (known === undefined) expected = ENOMEM;
    else known.own = undefined;
  }
  return [do_madvise(mm, addr, length, MADV.DONTNEED), expected];
}

function stepStore(
  { random }: World,
  { mm, model }: { mm: AddressSpace; model: Model },
): [Result<unknown>, Result<unknown>] {
  const page = random(WINDOW);
  const value = 1 + random(255);
  const known = model.get(page);
  const isAllowed = known !== undefined && (known.prot & PROT.WRITE) !== 0 && known.index < known.limit;
  if (isAllowed && known.isShared) known.object![known.index] = value;
  else if (isAllowed) known.own = value;
  return [put_user_u8(mm, at(page), value), isAllowed || hasOwn(known) ? 0 : EFAULT];
}

/** A private copy beyond the end of its file stays. */
const hasOwn = (page: ModelPage | undefined): boolean =>
  page?.own !== undefined && (page.prot & PROT.WRITE) !== 0;

function stepFork(
  world: World,
  { mm, model }: { mm: AddressSpace; model: Model },
): [Result<unknown>, Result<unknown>] {
  if (world.spaces.length >= 3) {
    const [gone] = world.spaces.splice(world.random(world.spaces.length), 1);
    gone!.mm.put();
    return [0, 0];
  }
  const child = mm.fork();
  if (isErr(child)) return [child, 0];
  world.mutate(child);
  const copy: Model = new Map();
  for (const [page, known] of model) copy.set(page, { ...known });
  world.spaces.push({ mm: child, model: copy });
  return [0, 0];
}

function compareAll({ spaces }: World): string | undefined {
  for (const { mm, model } of spaces) {
    const problem = compareAreas(mm, model) ?? comparePages(mm, model);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

function comparePages(mm: AddressSpace, model: Model): string | undefined {
  for (let page = 0; page < WINDOW; page++) {
    const known = model.get(page);
    const isReadable = known !== undefined && (known.prot & (PROT.READ | PROT.WRITE)) !== 0;
    const isThere = known !== undefined && (known.own !== undefined || known.index < known.limit);
    const expected = isReadable && isThere ? (known.own ?? known.object?.[known.index] ?? 0) : EFAULT;
    const got = get_user_u8(mm, at(page));
    if (got !== expected) return `page ${page} reads ${String(got)}, not ${String(expected)}`;
    const isWritable = (mm.table.get(pageNumber(at(page))) & PTE.W) !== 0;
    if (isWritable && ((known?.prot ?? 0) & PROT.WRITE) === 0) return `page ${page} is writable`;
  }
  return undefined;
}

function compareAreas(mm: AddressSpace, model: Model): string | undefined {
  if (mm.t.total_vm !== model.size) return `total_vm is ${mm.t.total_vm}, not ${model.size}`;
  const { items } = mm.vmas;
  if (mm.t.map_count !== items.length) return `map_count is ${mm.t.map_count}, not ${items.length}`;
  for (let i = 1; i < items.length; i++) {
    const [low, high] = [items[i - 1]!, items[i]!];
    if (low.end > high.start) return `areas ${i - 1} and ${i} overlap`;
    if (canMerge(low, high)) return `areas ${i - 1} and ${i} are not merged`;
  }
  return undefined;
}

function forgetLastPage(mm: AddressSpace): void {
  const unmap = mm.unmapRange.bind(mm);
  mm.unmapRange = (start, end) => unmap(start, end - start > 2 * PAGE_SIZE ? end - PAGE_SIZE : end);
}

function keepWritable(mm: AddressSpace): void {
  const change = mm.changeFlags.bind(mm);
  mm.changeFlags = (start, end, flags) => {
    change(start, end, flags);
    mm.table.update(pageNumber(start), pageNumber(end), (pte) => ((pte & PTE.D) !== 0 ? pte | PTE.W : pte));
  };
}

function shareWritable(mm: AddressSpace): void {
  const fork = mm.fork.bind(mm);
  mm.fork = () => {
    const child = fork();
    mm.table.update(pageNumber(BASE), pageNumber(at(WINDOW)), (pte) =>
      (pte & PTE.ANON) !== 0 ? pte | PTE.W : pte,
    );
    return child;
  };
}

function leakReference(mm: AddressSpace): void {
  const drop = mm.dropPage.bind(mm);
  mm.dropPage = (vma, pte) => drop(vma, pte & ~PTE.COUNTED);
}
