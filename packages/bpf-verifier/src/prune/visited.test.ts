import { expect, test } from "vitest";
import { Frame, State } from "../state/state.ts";
import { findPreviousEntry } from "./visited.ts";

/** A state at an instruction of a function that is called from `site`. */
function stateAt(insn: number, site: number, parent?: State): State {
  const state = new State();
  state.frames.push(new Frame(0, 0, -1), new Frame(1, 1, site));
  state.insn = insn;
  state.parent = parent;
  return state;
}

test("a turn of a loop is told from one of an earlier call of the function", () => {
  const earlierCall = stateAt(20, 3);
  const earlierTurn = stateAt(20, 7, earlierCall);
  expect(findPreviousEntry(stateAt(20, 7, earlierTurn), 20)).toBe(earlierTurn);
  expect(findPreviousEntry(stateAt(20, 7, earlierCall), 20)).toBeUndefined();
});
