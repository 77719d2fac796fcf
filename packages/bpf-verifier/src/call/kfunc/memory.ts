/** Memory that kernel functions are passed: read and written. Linux: check_mem_reg(), check_kfunc_mem_size_reg(). */
import { EINVAL } from "@alien-ts/abi";
import { assert } from "../../assert.ts";
import type { Analysis } from "../../analysis.ts";
import { notNull } from "../../state/nullness.ts";
import { reject } from "../../verdict.ts";
import type { Check } from "../../verdict.ts";
import { accessHelperMemory, checkSize } from "../memory-arguments.ts";
import type { Kfunc, KfuncFacts } from "./facts.ts";
import { hasSuffix, typeOf } from "./parameters.ts";

/** Memory of the size of the parameter's type; NULL is anyone's. */
export function checkMemoryParameter(analysis: Analysis, { btf, prototype }: Kfunc, number: number): Check {
  const type = typeOf(btf, prototype.params[number - 1]!.type);
  const target = type?.kind === "ptr" ? type.type : 0;
  const bytes = btf.sizeOf(target);
  assert(bytes !== undefined, "numbers and structures of numbers have a size");
  return checkFixedMemory(analysis, number, bytes);
}

export function checkFixedMemory(analysis: Analysis, number: number, size: number): Check {
  if (analysis.register(number).isNull) return undefined;
  const access = { number, size, isZeroAllowed: true, raw: undefined } as const;
  return withoutDoubt(
    analysis,
    number,
    () =>
      accessHelperMemory(analysis, { ...access, kind: "read" }) ??
      accessHelperMemory(analysis, { ...access, kind: "write" }),
  );
}

/** Whether it is NULL is the function's business: checks what holds where it is not. */
function withoutDoubt(analysis: Analysis, number: number, check: () => Check): Check {
  const before = analysis.register(number);
  if (!before.isMaybeNull) return check();
  analysis.set(number, notNull(before));
  const bad = check();
  analysis.set(number, before);
  return bad;
}

/** Memory whose size is in the next register. */
export function checkSizedMemory(
  analysis: Analysis,
  { prototype }: Kfunc,
  index: number,
  facts: KfuncFacts,
): Check {
  const number = index + 1;
  const memory = prototype.params[index]!;
  const size = prototype.params[index + 1]!;
  if (!analysis.register(number).isNull || !hasSuffix(memory, "__opt")) {
    const bad = withoutDoubt(
      analysis,
      number,
      () =>
        checkSize(analysis, number + 1, { kind: "read", isZeroAllowed: true, raw: undefined }) ??
        checkSize(analysis, number + 1, { kind: "write", isZeroAllowed: true, raw: undefined }),
    );
    if (bad !== undefined) {
      const suffix = `arg#${index} arg#${index + 1} memory, len pair leads to invalid memory access`;
      return reject(bad.errno, bad.message === "" ? suffix : `${bad.message}\n${suffix}`);
    }
  }
  if (!hasSuffix(size, "__szk")) return undefined;
  const { scalar } = analysis.register(number + 1);
  if (!scalar.isConst) return reject(EINVAL, `R${number + 1} must be a known constant`);
  facts.constant = scalar.tnum.value;
  return undefined;
}
