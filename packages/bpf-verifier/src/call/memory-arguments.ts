/** Memory that a helper reads or writes. Linux: check_helper_mem_access(), check_mem_size_reg(). */
import { EACCES } from "@alien-ts/abi";
import { accessBtf } from "../access/btf-pointer.ts";
import { checkMapPermission, checkMapValue, checkPacket, checkRegion } from "../access/region.ts";
import type { AccessKind } from "../access/region.ts";
import { checkInitialised } from "../access/stack.ts";
import type { RawMemory } from "../access/stack.ts";
import type { Analysis } from "../analysis.ts";
import { accessContext } from "../access/context.ts";
import { markPrecise } from "../prune/precision.ts";
import { FLAG, kindName } from "../state/register.ts";
import { Reject, reject } from "../verdict.ts";
import type { Check } from "../verdict.ts";

export interface HelperAccess {
  readonly number: number;
  readonly size: number;
  readonly kind: AccessKind;
  readonly isZeroAllowed: boolean;
  /** The call writes all of it: it need not be initialised. Where it is on the stack is noted there. */
  readonly raw: RawMemory | undefined;
}

export function accessHelperMemory(analysis: Analysis, access: HelperAccess): Check {
  const { number, size, kind, isZeroAllowed } = access;
  const register = analysis.register(number);
  const region = { number, off: register.off, size, isZeroAllowed };
  const readOnly = (): Check => reject(EACCES, `R${number} cannot write into ${kindName(register)}`);
  // NULL itself was passed by where the prototype allows it.
  switch (register.kind) {
    case "pkt":
    case "pkt_meta":
      return checkPacket(register, region);
    case "map_key":
      return kind === "write" ? readOnly() : checkRegion(register, region, register.map!.keySize);
    case "map_value":
      return checkMapPermission(register.map!, region, kind) ?? checkMapValue(register, region, false);
    case "mem":
      if (register.has(FLAG.RDONLY) && kind === "write") return readOnly();
      return checkRegion(register, region, register.memSize);
    case "buf":
      if (register.has(FLAG.RDONLY) && kind === "write") return readOnly();
      return undefined;
    case "fp":
      return checkInitialised(analysis, {
        number,
        off: register.off,
        size,
        isZeroAllowed,
        kind,
        raw: access.raw,
      });
    case "ptr_": {
      const result = accessBtf(analysis, register, { number, off: register.off, size, isWrite: false });
      return result instanceof Reject ? result : undefined;
    }
    case "ctx":
      if (analysis.env.programType.context?.isFlat !== false)
        return flatContext(analysis, access, register.off);
      break;
    default:
      break;
  }
  if (isZeroAllowed && size === 0 && register.isNull) return undefined;
  return reject(EACCES, `R${number} type=${kindName(register)} expected=fp`);
}

/** A context that is a plain buffer of the caller. */
function flatContext(analysis: Analysis, { size, kind }: HelperAccess, off: number): Check {
  if (size === 0) return undefined;
  const result = accessContext(analysis, { off: off + size - 1, size: 1, isWrite: kind === "write" });
  return result instanceof Reject ? result : undefined;
}

const MAX_SIZE = 2 ** 29;

/** The size in register `number`, of the memory in the register before it. */
export function checkSize(
  analysis: Analysis,
  number: number,
  access: Omit<HelperAccess, "number" | "size">,
): Check {
  const { scalar } = analysis.register(number);
  if (scalar.sminHigh < 0)
    return reject(EACCES, `R${number} min value is negative, either use unsigned or 'var &= const'`);
  if (!access.isZeroAllowed && scalar.umin === 0n)
    return reject(EACCES, `R${number} invalid zero-sized read: u64=[${scalar.umin},${scalar.umax}]`);
  if (scalar.umaxNumber >= MAX_SIZE)
    return reject(EACCES, `R${number} unbounded memory access, use 'var &= const' or 'if (var < const)'`);
  return (
    accessHelperMemory(analysis, {
      number: number - 1,
      size: scalar.umaxNumber,
      kind: access.kind,
      isZeroAllowed: access.isZeroAllowed,
      raw: scalar.isConst ? access.raw : undefined,
    }) ?? markPrecise(analysis, number)
  );
}
