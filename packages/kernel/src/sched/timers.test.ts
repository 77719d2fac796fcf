import { Prng } from "@alien-ts/testkit";
import { expect, test } from "vitest";
import { HrTimer, TimerQueue } from "./timers.ts";

test.each([1, 2, 3])("timers expire in the order of a sorted list, seed %i", (seed) => {
  const random = new Prng(seed);
  const queue = new TimerQueue();
  const timers = Array.from({ length: 50 }, () => new HrTimer(() => {}));
  const model = new Map<HrTimer, { at: number; order: number }>();
  for (let order = 0; order < 500; order++) {
    const timer = timers[random.below(timers.length)]!;
    if (random.below(4) === 0) expect(queue.cancel(timer)).toBe(model.delete(timer));
    else {
      const at = random.below(100);
      queue.start(timer, at);
      model.set(timer, { at, order });
    }
  }
  const expected = [...model]
    .sort(([, a], [, b]) => a.at - b.at || a.order - b.order)
    .map(([timer]) => timer);
  const got: HrTimer[] = [];
  for (let next = queue.takeExpired(100); next !== undefined; next = queue.takeExpired(100)) got.push(next);
  expect(got).toEqual(expected);
  expect(queue.nextNs).toBeUndefined();
});
