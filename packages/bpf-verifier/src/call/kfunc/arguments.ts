/** What a kernel function's prototype asks of the registers. Linux: check_kfunc_args(). */
import { EACCES, EINVAL } from "@alien-ts/abi";
import type { BtfParam } from "@alien-ts/btf";
import type { Analysis } from "../../analysis.ts";
import { markPrecise } from "../../prune/precision.ts";
import { isTrustedPointer } from "../../state/fields.ts";
import { FLAG } from "../../state/register.ts";
import type { Register } from "../../state/register.ts";
import { Reject, reject } from "../../verdict.ts";
import type { Check } from "../../verdict.ts";
import { checkArgumentOffset } from "../offset.ts";
import { has, wantsTrusted } from "./facts.ts";
import type { Kfunc, KfuncFacts } from "./facts.ts";
import { hasSuffix, isScalarType, kindText, roleOf, typeOf } from "./parameters.ts";
import type { ParameterRole } from "./parameters.ts";
import { checkRole } from "./roles.ts";

const MAX_ARGUMENTS = 5;

export function checkKfuncArguments(analysis: Analysis, kfunc: Kfunc, facts: KfuncFacts): Check {
  const { params } = kfunc.prototype;
  if (params.length > MAX_ARGUMENTS)
    return reject(EINVAL, `Function ${kfunc.name} has ${params.length} > ${MAX_ARGUMENTS} args`);
  for (let index = 0; index < params.length; index++) {
    const param = params[index]!;
    if (hasSuffix(param, "__ign") || hasSuffix(param, "__prog")) continue;
    const type = typeOf(kfunc.btf, param.type);
    if (isScalarType(type)) {
      const bad = checkScalar(analysis, param, index, facts);
      if (bad !== undefined) return bad;
      continue;
    }
    if (type?.kind !== "ptr") return reject(EINVAL, `Unrecognized arg#${index} type ${kindText(type)}`);
    const role = checkPointer(analysis, kfunc, index, facts);
    if (role instanceof Reject) return role;
    // The size was looked at with the memory.
    if (role === "sized memory") index += 1;
  }
  if (has(kfunc, "release") && facts.releases === 0)
    return reject(EINVAL, `release kernel function ${kfunc.name} expects refcounted PTR_TO_BTF_ID`);
  return undefined;
}

function checkScalar(analysis: Analysis, param: BtfParam, index: number, facts: KfuncFacts): Check {
  const number = index + 1;
  const { isScalar, scalar } = analysis.register(number);
  if (!isScalar) return reject(EINVAL, `R${number} is not a scalar`);
  if (hasSuffix(param, "__k")) {
    if (!scalar.isConst) return reject(EINVAL, `R${number} must be a known constant`);
    facts.constant = scalar.tnum.value;
    return markPrecise(analysis, number);
  }
  if (param.name !== "rdonly_buf_size" && param.name !== "rdwr_buf_size") return undefined;
  facts.isResultReadOnly ||= param.name === "rdonly_buf_size";
  if (facts.resultBytes !== 0)
    return new Reject(EINVAL, "2 or more rdonly/rdwr_buf_size parameters for kfunc", false);
  if (!scalar.isConst) return reject(EINVAL, `R${number} is not a const`);
  facts.resultBytes = Number(scalar.tnum.value);
  return markPrecise(analysis, number);
}

function checkPointer(
  analysis: Analysis,
  kfunc: Kfunc,
  index: number,
  facts: KfuncFacts,
): ParameterRole | Reject {
  const number = index + 1;
  const register = analysis.register(number);
  const param = kfunc.prototype.params[index]!;
  if (
    (wantsTrusted(kfunc) || has(kfunc, "rcu")) &&
    (register.isNull || register.isMaybeNull) &&
    !hasSuffix(param, "__nullable")
  )
    return reject(EACCES, `Possibly NULL pointer passed to trusted arg${index}`);
  if (register.refId !== 0) {
    if (has(kfunc, "release")) facts.releases = number;
    facts.refId = register.refId;
  }
  const role = roleOf(analysis, kfunc, index);
  if (role instanceof Reject || role === "null") return role;
  if (role === "map") {
    const bad = noteMap(register, number, facts);
    if (bad !== undefined) return bad;
  }
  const bad =
    (needsTrust(role) ? checkTrust(kfunc, register, number) : undefined) ??
    checkArgumentOffset(register, number, {
      releases: has(kfunc, "release") && register.refId !== 0,
      isDynptr: false,
    }) ??
    checkRole(analysis, kfunc, { role, index, facts });
  return bad ?? role;
}

const needsTrust = (role: ParameterRole): boolean =>
  role === "map" || role === "own object" || role === "btf";

function checkTrust(kfunc: Kfunc, register: Register, number: number): Check {
  if (!wantsTrusted(kfunc) && !has(kfunc, "rcu")) return undefined;
  if (isTrustedPointer(register)) return undefined;
  if (!has(kfunc, "rcu")) return reject(EINVAL, `R${number} must be referenced or trusted`);
  return register.has(FLAG.RCU) ? undefined : reject(EINVAL, `R${number} must be a rcu pointer`);
}

function noteMap(register: Register, number: number, facts: KfuncFacts): Check {
  const { map, mapUid } = register;
  if (map === undefined) {
    // Linux looks for a map where pointers have their type, length or range: what has any goes on to the check of types.
    const { btf, memSize, range } = register;
    const isSomething = btf !== undefined || memSize !== 0 || range !== 0;
    if (isSomething && facts.map === undefined) return undefined;
    return reject(EINVAL, `pointer in R${number} isn't map pointer`);
  }
  const isPeculiar = map.fields.some(({ kind }) => kind === "workqueue" || kind === "task_work");
  if (
    facts.map !== undefined &&
    isPeculiar &&
    (facts.map.address !== map.address || facts.mapUid !== mapUid)
  ) {
    const isTaskWork = map.fields.some(({ kind }) => kind === "task_work");
    const [what, first, second] = isTaskWork ? ["bpf_task_work", "R2", "R3"] : ["workqueue", "R1", "R2"];
    return reject(
      EINVAL,
      `${what} pointer in ${first} map_uid=${facts.mapUid} doesn't match map pointer in ${second} map_uid=${mapUid}`,
    );
  }
  facts.map = map;
  facts.mapUid = mapUid;
  return undefined;
}
