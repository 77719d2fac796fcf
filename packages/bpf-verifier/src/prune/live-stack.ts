/**
 * Which slots of the stack may still be read, by instruction and by the calls that led to it: a state that is remembered need not
 * agree with another one in what nobody will read. Linux: kernel/bpf/liveness.c
 *
 * The walk notes what instructions read and write (`read`, `wrote`, between `begin` and `commit`); `update`, where a path or a
 * function ends, works out what that means for the instructions before. Reads are only ever added: `isAlive` may be asked about
 * states whose paths have all ended. Changes are told in a log of level 2.
 */
import { MAX_FRAMES } from "@alien-ts/bpf-isa";
import { callsCallback } from "../call/callback-kinds.ts";
import type { Analysis } from "../analysis.ts";
import type { Subprogram } from "../state.ts";
import { EMPTY_SLOT } from "../state/stack.ts";
import type { State } from "../state/state.ts";

/** Slots as bits, in two words. */
type Slots = [low: number, high: number];

const lowBit = (slot: number): number => (slot < 32 ? 1 << slot : 0);
const highBit = (slot: number): number => (slot < 32 ? 0 : 1 << (slot - 32));

/** Sets of slots of one frame, per instruction of a function: as many words as `PLACES` say. */
const READ = 0;
const WRITTEN = 2;
/** Written by the instruction or by all that follow it in the function. */
const WRITTEN_LATER = 4;
const LIVE = 6;
const WORDS = 8;

/** A function as it is called from one chain of calls. */
export class Instance {
  /** The calls that lead to it, then its first instruction. */
  readonly sites: readonly number[];
  readonly subprogram: Subprogram;
  /** By frame; undefined where nothing was read or written. */
  readonly frames: (Int32Array | undefined)[] = [];
  /** By frame and instruction: it was read or written, or what follows it has changed, since it was looked at. */
  readonly stale: (Uint8Array | undefined)[] = [];
  /** Instructions for which writes were noted before. */
  readonly isKnown: Uint8Array;
  isUpdated = false;
  /** Something that was taken for written is not, on another path. */
  hasLost = false;

  constructor(sites: readonly number[], subprogram: Subprogram) {
    this.sites = sites;
    this.subprogram = subprogram;
    this.isKnown = new Uint8Array(subprogram.end - subprogram.start);
  }

  get depth(): number {
    return this.sites.length;
  }

  sets(frame: number): Int32Array {
    const known = this.frames[frame];
    if (known !== undefined) return known;
    const { start, end } = this.subprogram;
    this.stale[frame] = new Uint8Array(end - start);
    return (this.frames[frame] = new Int32Array((end - start) * WORDS));
  }

  at(index: number, set: number): number {
    return (index - this.subprogram.start) * WORDS + set;
  }

  addReads(frame: number, index: number, low: number, high: number): void {
    const sets = this.sets(frame);
    const read = this.at(index, READ);
    const live = this.at(index, LIVE);
    const isNew =
      (low & ~sets[read]! & ~sets[live]!) !== 0 || (high & ~sets[read + 1]! & ~sets[live + 1]!) !== 0;
    if (isNew) {
      this.isUpdated = true;
      this.stale[frame]![index - this.subprogram.start] = 1;
    }
    sets[read]! |= low;
    sets[read + 1]! |= high;
  }

  /** What is written on all paths so far; two words per frame. */
  addWrites(index: number, written: Int32Array): void {
    const known = index - this.subprogram.start;
    const isKnown = this.isKnown[known] === 1;
    for (let frame = 0; frame < this.sites.length; frame++) {
      const low = written[2 * frame]!;
      const high = written[2 * frame + 1]!;
      if (low === 0 && high === 0 && (!isKnown || this.frames[frame] === undefined)) continue;
      const sets = this.sets(frame);
      const at = this.at(index, WRITTEN);
      const isLowNew = this.#write(sets, at, low, isKnown);
      if (this.#write(sets, at + 1, high, isKnown) || isLowNew) this.stale[frame]![known] = 1;
    }
    this.isKnown[known] = 1;
  }

  /** Whether anything has changed. */
  #write(sets: Int32Array, at: number, mask: number, isKnown: boolean): boolean {
    const before = sets[at]!;
    const after = isKnown ? mask & before : mask;
    if (after === before) return false;
    this.isUpdated = true;
    if ((before & ~after) !== 0) this.hasLost = true;
    sets[at] = after;
    return true;
  }

  isLive(index: number, frame: number, slot: number): boolean {
    const sets = this.frames[frame];
    if (sets === undefined) return false;
    return (sets[this.at(index, LIVE) + (slot >> 5)]! & (1 << (slot & 31))) !== 0;
  }
}

export class LiveStack {
  readonly #analysis: Analysis;
  /** Instructions at which states are compared: the log tells of them. */
  readonly #prune: Uint8Array;
  readonly #instances = new Map<string, Instance>();
  readonly #orders = new Map<Subprogram, Int32Array>();
  /** Of the state at hand; undefined where it has to be found. */
  #current: Instance | undefined;
  /** Of the instruction at hand: two words per frame. */
  readonly #written = new Int32Array(2 * MAX_FRAMES);
  #hasWritten = false;
  readonly #edges: Int32Array;
  readonly #before: readonly (readonly number[])[];
  #index = 0;

  constructor(analysis: Analysis, prune: Uint8Array) {
    this.#analysis = analysis;
    this.#prune = prune;
    this.#edges = analysis.edges;
    this.#before = reversed(analysis.edges);
  }

  /** The walk is in another function, or on another path. */
  leave(): void {
    this.#current = undefined;
  }

  begin(): void {
    const { state, index } = this.#analysis;
    this.#current ??= this.#instanceOf(state, state.frames.length - 1);
    this.#index = index;
    if (this.#hasWritten) this.#written.fill(0);
    this.#hasWritten = false;
  }

  /** Every path that meets the instruction at hand so far writes what was noted. */
  commit(): void {
    this.#current?.addWrites(this.#index, this.#written);
  }

  read(frame: number, slot: number): void {
    const { state, index } = this.#analysis;
    this.#current ??= this.#instanceOf(state, state.frames.length - 1);
    this.#current.addReads(frame, index, lowBit(slot), highBit(slot));
  }

  /** All eight bytes of the slot. */
  wrote(frame: number, slot: number): void {
    this.#hasWritten = true;
    this.#written[2 * frame]! |= lowBit(slot);
    this.#written[2 * frame + 1]! |= highBit(slot);
  }

  /** The path ends, or the innermost function does. Linux: bpf_update_live_stack() */
  update(): void {
    const { state } = this.#analysis;
    this.leave();
    for (let frame = state.frames.length - 1; frame >= 0; frame--) {
      const instance = this.#instanceOf(state, frame);
      if (!instance.isUpdated) continue;
      this.#updateInstance(instance);
      instance.isUpdated = false;
      instance.hasLost = false;
    }
  }

  /** Forgets the slots of a remembered state that nobody will read. Linux: clean_verifier_state() */
  clean(state: State): void {
    const instances = state.frames.map((_, frame) => this.#instanceOf(state, frame));
    for (const { index, stack } of state.frames) {
      for (let slot = 0; slot < stack.length; slot++) {
        if (stack[slot] !== EMPTY_SLOT && !this.#isAlive(instances, state.insn, index, slot))
          stack[slot] = EMPTY_SLOT;
      }
    }
  }

  /** In the innermost function, or in one behind the call that led into the next. Linux: bpf_stack_slot_alive() */
  #isAlive(instances: readonly Instance[], insn: number, frame: number, slot: number): boolean {
    const innermost = instances[instances.length - 1]!;
    if (innermost.isLive(insn, frame, slot)) return true;
    const { env, insns } = this.#analysis;
    for (let i = frame; i < instances.length - 1; i++) {
      const site = innermost.sites[i]!;
      const again = callsCallback(env, insns[site]!) ? site : site + 1;
      if (instances[i]!.isLive(again, frame, slot)) return true;
    }
    return false;
  }

  /** A frame remembers it: what calls led there never changes. */
  #instanceOf({ frames }: State, depth: number): Instance {
    const frame = frames[depth]!;
    if (frame.instance !== undefined) return frame.instance;
    const subprogram = this.#analysis.subprograms[frame.subprogram]!;
    const sites = frames.slice(1, depth + 1).map(({ callSite }) => callSite);
    return (frame.instance = this.#instance([...sites, subprogram.start], subprogram));
  }

  #instance(sites: readonly number[], subprogram: Subprogram): Instance {
    const key = sites.join(",");
    let instance = this.#instances.get(key);
    if (instance === undefined) this.#instances.set(key, (instance = new Instance(sites, subprogram)));
    return instance;
  }

  /** Goes through the function until nothing changes, then tells its caller. */
  #updateInstance(instance: Instance): void {
    const { log } = this.#analysis;
    if (instance.hasLost) forgetLaterWrites(instance);
    const order = this.#orderOf(instance.subprogram);
    let turns = 0;
    for (let hasChanged = true; hasChanged; turns++) {
      hasChanged = false;
      for (const [frame, sets] of instance.frames.entries())
        if (sets !== undefined && this.#turn(instance, frame, sets, order)) hasChanged = true;
    }
    if (log.isVerbose)
      log.line(`(${instance.sites.join(",")}) live stack update done in ${turns} iterations`);
    if (instance.depth > 1) this.#tellCaller(instance);
  }

  /** From every instruction to those before it, once; whether anything is new. */
  #turn(instance: Instance, frame: number, sets: Int32Array, order: Int32Array): boolean {
    const edges = this.#edges;
    const isVerbose = this.#analysis.log.isVerbose;
    const base = instance.at(0, 0);
    const { start } = instance.subprogram;
    const stale = instance.stale[frame]!;
    let hasChanged = false;
    for (let i = 0; i < order.length; i++) {
      const index = order[i]!;
      if (stale[index - start] === 0) continue;
      stale[index - start] = 0;
      const first = edges[2 * index]!;
      if (first < 0) continue;
      const second = edges[2 * index + 1]!;
      const own = base + index * WORDS;
      const a = base + first * WORDS;
      const b = second < 0 ? a : base + second * WORDS;
      const writtenLow = sets[own + WRITTEN]!;
      const writtenHigh = sets[own + WRITTEN + 1]!;
      const liveLow = ((sets[a + LIVE]! | sets[b + LIVE]!) & ~writtenLow) | sets[own + READ]!;
      const liveHigh = ((sets[a + LIVE + 1]! | sets[b + LIVE + 1]!) & ~writtenHigh) | sets[own + READ + 1]!;
      const laterLow = (sets[a + WRITTEN_LATER]! & sets[b + WRITTEN_LATER]!) | writtenLow;
      const laterHigh = (sets[a + WRITTEN_LATER + 1]! & sets[b + WRITTEN_LATER + 1]!) | writtenHigh;
      const isSame =
        liveLow === sets[own + LIVE] &&
        liveHigh === sets[own + LIVE + 1] &&
        laterLow === sets[own + WRITTEN_LATER] &&
        laterHigh === sets[own + WRITTEN_LATER + 1];
      if (isSame) continue;
      hasChanged = true;
      if (isVerbose && this.#isTold(instance, sets, index))
        this.#tell(
          `(${instance.sites.join(",")}) frame ${frame} insn ${index} `,
          sets.subarray(own),
          [liveLow, liveHigh],
          [laterLow, laterHigh],
        );
      sets[own + LIVE] = liveLow;
      sets[own + LIVE + 1] = liveHigh;
      sets[own + WRITTEN_LATER] = laterLow;
      sets[own + WRITTEN_LATER + 1] = laterHigh;
      for (const before of this.#before[index]!) stale[before - start] = 1;
    }
    return hasChanged;
  }

  #tell(place: string, before: Int32Array, live: Slots, later: Slots): void {
    const { log } = this.#analysis;
    const texts = [
      changeText("live", [before[LIVE]!, before[LIVE + 1]!], live),
      changeText("written", [before[WRITTEN_LATER]!, before[WRITTEN_LATER + 1]!], later),
    ];
    for (const text of texts) if (text !== "") log.line(place + text);
  }

  #isTold(instance: Instance, sets: Int32Array, index: number): boolean {
    const own = instance.at(index, 0);
    const isAccess = sets.subarray(own + READ, own + WRITTEN_LATER).some((word) => word !== 0);
    return isAccess || index === instance.subprogram.start || this.#prune[index] === 1;
  }

  /** The call reads what the function reads of its callers' stacks, and writes what it writes on every path. */
  #tellCaller(instance: Instance): void {
    const { subprograms } = this.#analysis;
    const { start } = instance.subprogram;
    const site = instance.sites[instance.depth - 2]!;
    const subprogram = subprograms.find((candidate) => candidate.start <= site && site < candidate.end)!;
    const outer = this.#instance([...instance.sites.slice(0, -2), subprogram.start], subprogram);
    const written = new Int32Array(2 * MAX_FRAMES);
    for (let frame = 0; frame < outer.depth; frame++) {
      const sets = instance.frames[frame];
      if (sets === undefined) continue;
      const at = instance.at(start, 0);
      written.set([sets[at + WRITTEN_LATER]!, sets[at + WRITTEN_LATER + 1]!], 2 * frame);
      outer.addReads(frame, site, sets[at + LIVE]!, sets[at + LIVE + 1]!);
    }
    outer.addWrites(site, written);
  }

  /** The function's instructions, followers first. Linux: compute_postorder() */
  #orderOf(subprogram: Subprogram): Int32Array {
    const known = this.#orders.get(subprogram);
    if (known !== undefined) return known;
    const edges = this.#edges;
    const list: number[] = [];
    const isFound = new Uint8Array(edges.length / 2);
    const isExpanded = new Uint8Array(edges.length / 2);
    const path = [subprogram.start];
    while (path.length > 0) {
      const index = path[path.length - 1]!;
      isFound[index] = 1;
      if (isExpanded[index] === 1) {
        list.push(index);
        path.pop();
        continue;
      }
      isExpanded[index] = 1;
      // The instruction behind comes before the target of a jump.
      for (let i = 2 * index; i < 2 * index + 2; i++) {
        const next = edges[i]!;
        if (next < 0 || isFound[next] === 1) continue;
        isFound[next] = 1;
        path.push(next);
      }
    }
    const order = Int32Array.from(list);
    this.#orders.set(subprogram, order);
    return order;
  }
}

/** The instructions that each one may follow. */
function reversed(edges: Int32Array): readonly (readonly number[])[] {
  const before: number[][] = Array.from({ length: edges.length / 2 }, () => []);
  for (let i = 0; i < edges.length; i++) before[edges[i]!]?.push(i >> 1);
  return before;
}

function forgetLaterWrites({ frames, stale }: Instance): void {
  for (const list of stale) list?.fill(1);
  for (const sets of frames) {
    if (sets === undefined) continue;
    for (let at = WRITTEN_LATER; at < sets.length; at += WORDS) {
      sets[at] = 0;
      sets[at + 1] = 0;
    }
  }
}

function changeText(word: string, before: Slots, now: Slots): string {
  const more = offsets([now[0] & ~before[0], now[1] & ~before[1]]);
  const less = offsets([before[0] & ~now[0], before[1] & ~now[1]]);
  return (more === "" ? "" : `+${word} ${more} `) + (less === "" ? "" : `-${word} ${less}`);
}

/** Offsets from the frame pointer. */
function offsets(slots: Slots): string {
  const found: number[] = [];
  for (let slot = 0; slot < 64; slot++)
    if ((slots[slot >> 5]! & (1 << (slot & 31))) !== 0) found.push(-8 * (slot + 1));
  return found.join(",");
}
