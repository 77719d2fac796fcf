/** Statements of random programs about what they own: objects of their own types, which maps and lists take and give; and throws. */
import { asm } from "@alien-ts/bpf-isa";
import { MAP } from "./random-maps.ts";
import { flip } from "./random-mazes.ts";
import { ITEM, ITEM_LINK, kfuncId } from "./random-types.ts";
import { PLACE, SIZES } from "./random-writer.ts";
import type { Writer } from "./random-writer.ts";

type Block = (length: number) => void;

const call = (w: Writer, name: string): void => w.kfunc(kfuncId(name), "none");

/** A new object in r0; where there is none, the program ends. */
function create(w: Writer): void {
  w.emit(asm.movImm(1, ITEM), asm.movImm(2, 0));
  call(w, "bpf_obj_new_impl");
}

/** What r1 points to is no more. */
function drop(w: Writer): void {
  w.emit(asm.movImm(2, 0));
  call(w, "bpf_obj_drop_impl");
}

/** Gives the object that is kept on the stack to somebody. */
function giveAway(w: Writer): void {
  const { random } = w;
  const object = (register: number): void => w.emit(asm.load(8, register, 10, PLACE.owned));
  switch (random.below(3)) {
    case 0:
      object(1);
      return drop(w);
    case 1:
      w.emit(asm.mapValue(1, MAP.kept.fd, w.slips ? 0 : 8));
      object(2);
      return dropOld(w);
    default:
      // While the lock is held, the list's object may still be looked at.
      if (random.oneIn(3)) w.emit(asm.load(8, 7, 10, PLACE.owned));
      lockList(w, 93);
      w.emit(asm.mapValue(1, MAP.list.fd, 0));
      object(2);
      w.emit(asm.aluImm("add", 2, ITEM_LINK), asm.movImm(3, 0), asm.movImm(4, 0));
      call(w, "bpf_list_push_front_impl");
      object(1);
      w.emit(asm.load(8, 3, 1, 8));
      lockList(w, 94);
      if (w.slips) {
        object(1);
        w.emit(asm.load(8, 3, 1, 8));
      }
  }
}

function lockList(w: Writer, helper: number): void {
  w.emit(asm.mapValue(1, MAP.list.fd, 16), asm.call(helper));
}

/** What the map's member pointed to before is dropped, where it is not NULL. */
function dropOld(w: Writer): void {
  w.call(194, "none");
  const skip = w.jump(asm.jumpImm("jeq", 0, 0, 0));
  w.emit(asm.movReg(1, 0));
  if (!w.slips) drop(w);
  w.aim(skip);
}

/** An object of the program, which it uses and gives away. */
export function owned(w: Writer, block: Block): void {
  const { random } = w;
  create(w);
  w.emit(asm.storeReg(8, 10, PLACE.owned, 0));
  if (!w.slips) w.leave(asm.jumpImm("jeq", 0, 0, 0));
  w.holding(
    "owned",
    () => {
      const size = random.pick(SIZES);
      w.emit(asm.load(8, 1, 10, PLACE.owned));
      w.access(1, random.below(2) * 8 + (w.slips ? 8 : 0), size, "plain");
      if (random.oneIn(2)) block(1);
      if (w.slips) throws(w);
    },
    () => giveAway(w),
  );
  if (!w.slips) return;
  w.emit(asm.load(8, 1, 10, PLACE.owned), asm.load(4, 8, 1, 0));
  w.set(8, "number");
}

/** Takes what a map keeps, leaves nothing there. */
export function takeKept(w: Writer): void {
  w.emit(asm.mapValue(1, MAP.kept.fd, 8), asm.movImm(2, 0));
  if (w.random.oneIn(2)) return dropOld(w);
  w.call(194, "none");
  w.emit(asm.storeReg(8, 10, PLACE.owned, 0));
  w.leave(asm.jumpImm("jeq", 0, 0, 0));
  w.emit(asm.load(8, 1, 10, PLACE.owned), asm.load(8, 3, 1, 0));
  giveAway(w);
}

/** Takes the first object of the list. */
export function pop(w: Writer): void {
  const { random } = w;
  lockList(w, 93);
  w.emit(asm.mapValue(1, MAP.list.fd, 0));
  call(w, "bpf_list_pop_front");
  const isChecked = random.oneIn(3);
  const skip = isChecked ? w.jump(asm.jumpImm("jeq", 0, 0, 0)) : undefined;
  if (isChecked) w.emit(asm.load(8, 3, 0, -ITEM_LINK));
  if (skip !== undefined) w.aim(skip);
  w.emit(asm.storeReg(8, 10, PLACE.owned, 0));
  lockList(w, 94);
  w.emit(asm.load(8, 1, 10, PLACE.owned));
  w.leave(asm.jumpImm("jeq", 1, 0, 0));
  w.emit(asm.aluImm("add", 1, w.slips ? 0 : -ITEM_LINK), asm.storeReg(8, 10, PLACE.owned, 1));
  giveAway(w);
}

/** Ends everything, on some ways. */
export function throws(w: Writer): void {
  const skip = flip(w);
  w.emit(asm.movImm(1, w.random.below(w.slips ? 9 : 2)));
  call(w, "bpf_throw");
  if (w.random.oneIn(2)) w.emit(asm.load(8, 0, 0, 0));
  w.aim(skip);
  for (const register of [0, 1, 2, 3, 4, 5]) w.set(register, "none");
}
