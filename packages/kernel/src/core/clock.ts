/**
 * Time. A kernel's clock counts nanoseconds since boot (a `number`, exact for 104 days); real time is an offset in
 * (seconds, nanoseconds).
 *
 * Two sources: *virtual* time moves only when it is charged for work (`charge`, by constants of rows: traps, switches,
 * helpers) or when all tasks sleep (`advanceTo` the next timer), so a run repeats exactly; *host* time follows the machine
 * through the function that the app passes in, and charging does nothing.
 */

export interface RealTime {
  readonly sec: number;
  readonly nsec: number;
}

const NSEC = 1_000_000_000;

export class Clock {
  readonly isVirtual: boolean;
  readonly #hostNs: (() => number) | undefined;
  #nowNs = 0;
  /** Real time at boot. */
  #bootSec: number;
  #bootNsec: number;

  private constructor(hostNs: (() => number) | undefined, boot: RealTime) {
    this.isVirtual = hostNs === undefined;
    this.#hostNs = hostNs;
    this.#bootSec = boot.sec;
    this.#bootNsec = boot.nsec;
  }

  /** @param boot real time at boot; the default is 2026-01-01T00:00:00Z, so that runs repeat. */
  static virtual(boot: RealTime = { sec: 1_767_225_600, nsec: 0 }): Clock {
    return new Clock(undefined, boot);
  }

  /** @param hostNs monotonic nanoseconds since an arbitrary start, from the app. */
  static host(hostNs: () => number, boot: RealTime): Clock {
    const start = hostNs();
    return new Clock(() => hostNs() - start, boot);
  }

  /** CLOCK_MONOTONIC and CLOCK_BOOTTIME (there is no suspend). */
  nowNs(): number {
    if (this.#hostNs !== undefined) this.#nowNs = Math.max(this.#nowNs, Math.floor(this.#hostNs()));
    return this.#nowNs;
  }

  /** Work that costs `ns` of virtual time. */
  charge(ns: number): void {
    if (this.isVirtual) this.#nowNs += ns;
  }

  /** Virtual time jumps forward to `ns`; nothing when it is there already. Host time does not jump. */
  advanceTo(ns: number): void {
    if (this.isVirtual && ns > this.#nowNs) this.#nowNs = ns;
  }

  realTime(): RealTime {
    const now = this.nowNs();
    const nsec = this.#bootNsec + (now % NSEC);
    return { sec: this.#bootSec + Math.floor(now / NSEC) + Math.floor(nsec / NSEC), nsec: nsec % NSEC };
  }

  /** clock_settime(CLOCK_REALTIME). */
  setRealTime(time: RealTime): void {
    const now = this.nowNs();
    let sec = time.sec - Math.floor(now / NSEC);
    let nsec = time.nsec - (now % NSEC);
    if (nsec < 0) {
      nsec += NSEC;
      sec -= 1;
    }
    this.#bootSec = sec;
    this.#bootNsec = nsec;
  }

  /** Real time at boot, in seconds: btime of /proc/stat. */
  get bootSec(): number {
    return this.#bootSec;
  }
}
