/**
 * The form of a helper's row. What a helper takes and gives is not in it: prototypes of all helpers are the verifier's
 * (`linuxHelper`), which has proved the arguments before a program runs, so that implementations follow pointers as they are.
 *
 * `helper` makes a row around the machine: for helpers that call functions of the program, take many arguments or are rare.
 * `numeric` makes one around a function of numbers, which compiled programs call directly, at half the price.
 */
import type { BpfMachine, FastHelper, Helper, TypedHelper } from "@alien-ts/bpf-vm";
import type { HelperHost } from "./host.ts";

/** What the loader must be allowed for its programs to call a helper. */
export type HelperPrivilege = "none" | "CAP_BPF" | "CAP_PERFMON";

export interface HelperRow {
  readonly supported: true;
  readonly since: string;
  readonly needs: HelperPrivilege;
  readonly doc: string;
  readonly fidelity: "real" | `simplified: ${string}`;
  /** Whether it reads r1 to r5 whatever its prototype says. */
  readonly isVariadic: boolean;
  /** The helper for programs of one kernel: reads r1 to r5 from the machine and leaves its result in r0. */
  bind(host: HelperHost): Helper;
  /** How compiled programs call it without the machine; undefined where they cannot. */
  fast(host: HelperHost): FastHelper | undefined;
}

export interface AbsentHelperRow {
  readonly supported: false;
  /** What is missing, and what to do instead. */
  readonly note: string;
}

type Described = Pick<HelperRow, "since" | "doc"> &
  Partial<Pick<HelperRow, "needs" | "fidelity" | "isVariadic">>;

const DEFAULTS = { supported: true, needs: "none", fidelity: "real", isVariadic: false } as const;

export interface MachineHelper extends Described {
  /** Allocates nothing where programs call it often. */
  readonly impl: (host: HelperHost, machine: BpfMachine) => void;
  /** A form that compiled programs have inlined where they can. */
  readonly inlined?: FastHelper;
}

export function helper({ impl, inlined, ...row }: MachineHelper): HelperRow {
  return {
    ...DEFAULTS,
    ...row,
    bind: (host) => (machine) => impl(host, machine),
    fast: () => inlined,
  };
}

export interface NumericHelper extends Described {
  readonly params: TypedHelper["params"];
  readonly result: TypedHelper["result"];
  /** Makes the function of one kernel, which gets signed words. A u64 result is its low word; the high one goes to `host.resultHigh`. */
  readonly make: (host: HelperHost) => TypedHelper["call"];
  /** A form that compiled programs have inlined where they can; elsewhere they call the function. */
  readonly inlined?: FastHelper;
}

export function numeric({ params, result, make, inlined, ...row }: NumericHelper): HelperRow {
  return {
    ...DEFAULTS,
    ...row,
    bind: (host) => throughMachine(host, { kind: "typed", params, result, call: make(host) }),
    fast: (host) => withCall(inlined, { kind: "typed", params, result, call: make(host) }),
  };
}

/** How a program calls what it does not inline: `call`, where the form leaves it open. */
function withCall(inlined: FastHelper | undefined, call: TypedHelper): FastHelper {
  if (inlined === undefined) return call;
  switch (inlined.kind) {
    case "map_lookup":
    case "map_update":
    case "map_delete":
      return { ...inlined, otherwise: call };
    default:
      return inlined;
  }
}

/** A function of numbers as the interpreter calls it. */
function throughMachine(host: HelperHost, { params, result, call }: TypedHelper): Helper {
  const give = resultSetter(host, result);
  const hasWide = params.includes("u64");
  // Spelled out, since a call with a spread array costs several times the call.
  if (!hasWide && params.length <= 4) {
    return (machine) =>
      give(machine, call(machine.argLow(1), machine.argLow(2), machine.argLow(3), machine.argLow(4)));
  }
  return (machine) => {
    const numbers: number[] = [];
    params.forEach((kind, i) => {
      numbers.push(machine.argLow(i + 1));
      if (kind === "u64") numbers.push(machine.argHigh(i + 1));
    });
    give(machine, call(...numbers));
  };
}

function resultSetter(
  host: HelperHost,
  result: TypedHelper["result"],
): (machine: BpfMachine, value: number | void) => void {
  switch (result) {
    case "none":
      return (machine) => machine.setR0(0, 0);
    case "s32":
      return (machine, value) => machine.setR0Signed(value as number);
    case "u32":
      return (machine, value) => machine.setR0(value as number, 0);
    case "pointer":
      return (machine, value) => machine.setR0Pointer(value as number);
    case "u64":
      return (machine, value) => machine.setR0(value as number, host.m.i32[host.resultHigh >> 2]!);
  }
}
