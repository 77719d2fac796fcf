/**
 * Global functions: their prototype in BTF says what callers must pass, and with what they are verified. Linux:
 * btf_prepare_func_args(), btf_check_func_arg_match().
 */
import { EINVAL } from "@alien-ts/abi";
import type { Btf } from "@alien-ts/btf";
import { REG } from "@alien-ts/bpf-isa";
import { accessHelperMemory } from "./memory-arguments.ts";
import { checkContextPointer } from "../access/memory.ts";
import type { Analysis } from "../analysis.ts";
import { FLAG, UNKNOWN, pointer } from "../state/register.ts";
import type { Register } from "../state/register.ts";
import { functionName } from "../state.ts";
import { reject } from "../verdict.ts";
import type { Check, Reject } from "../verdict.ts";

export type GlobalArgument =
  | { readonly kind: "scalar" }
  | { readonly kind: "ctx" }
  | { readonly kind: "mem"; readonly bytes: number; readonly isNullable: boolean };

/** What function `subprogram` takes, or why it cannot be verified by itself. */
export function globalArguments(analysis: Analysis, subprogram: number): readonly GlobalArgument[] | Reject {
  const { env, subprograms } = analysis;
  const name = functionName(env, subprograms, subprogram);
  const program = env.program!;
  const info = program.functions.find(({ insn }) => insn === subprograms[subprogram]!.start)!;
  const { btf } = program;
  const func = btf.type(info.type);
  const prototype = func?.kind === "func" ? btf.type(func.type) : undefined;
  if (prototype?.kind !== "func_proto") return reject(EINVAL, `Invalid BTF of func ${name}`);
  if (prototype.params.length > 5)
    return reject(
      EINVAL,
      `Global function ${name}() with ${prototype.params.length} > 5 args. Buggy compiler.`,
    );
  const result = btf.type(btf.resolve(prototype.type));
  if (result?.kind !== "int" && result?.kind !== "enum" && result?.kind !== "enum64")
    return reject(EINVAL, `Global function ${name}() doesn't return scalar. Only those are supported.`);
  const list: GlobalArgument[] = [];
  for (const [index, param] of prototype.params.entries()) {
    const argument = argumentOf(analysis, btf, { type: param.type, funcType: info.type, index, name });
    if ("errno" in argument) return argument;
    list.push(argument);
  }
  return list;
}

interface Param {
  readonly type: number;
  readonly funcType: number;
  readonly index: number;
  readonly name: string;
}

function argumentOf(analysis: Analysis, btf: Btf, param: Param): GlobalArgument | Reject {
  const { index, name } = param;
  const tags = tagsOf(btf, param.funcType, index);
  if (tags.includes("arg:ctx")) return { kind: "ctx" };
  const type = btf.type(btf.resolve(param.type));
  if (type?.kind === "int" || type?.kind === "enum" || type?.kind === "enum64") return { kind: "scalar" };
  if (type?.kind !== "ptr")
    return reject(
      EINVAL,
      `Arg#${index} type ${type?.kind.toUpperCase() ?? "UNKNOWN"} in ${name}() is not supported yet.`,
    );
  const target = btf.resolve(type.type);
  const pointee = btf.type(target);
  const context = analysis.env.programType.context?.name;
  if (pointee?.kind === "struct" && context !== undefined && pointee.name === context) return { kind: "ctx" };
  if (tags.some((tag) => tag !== "arg:nonnull" && tag !== "arg:nullable"))
    return reject(EINVAL, `arg#${index} has tags that are not supported`);
  const bytes = btf.sizeOf(target);
  if (bytes === undefined) {
    return reject(
      EINVAL,
      `arg#${index} reference type('${pointee?.kind.toUpperCase() ?? "UNKNOWN"} ${pointee?.name ?? ""}') size cannot be determined: -22`,
    );
  }
  return { kind: "mem", bytes, isNullable: !tags.includes("arg:nonnull") };
}

function tagsOf(btf: Btf, type: number, component: number): string[] {
  const tags: string[] = [];
  for (const [, tag] of btf.types()) {
    if (
      tag.kind === "decl_tag" &&
      tag.type === type &&
      tag.component === component &&
      tag.name.startsWith("arg:")
    )
      tags.push(tag.name);
  }
  return tags;
}

/** The registers with which a global function is verified. */
export function globalRegister(analysis: Analysis, argument: GlobalArgument): Register {
  switch (argument.kind) {
    case "scalar":
      return UNKNOWN;
    case "ctx":
      return pointer("ctx");
    case "mem":
      return pointer("mem", {
        memSize: argument.bytes,
        flags: argument.isNullable ? FLAG.MAYBE_NULL : 0,
        id: argument.isNullable ? analysis.newId() : 0,
      });
  }
}

/** What a caller passes to a global function. */
export function checkGlobalArguments(analysis: Analysis, subprogram: number): Check {
  const list = globalArguments(analysis, subprogram);
  if ("errno" in list) return list;
  for (const [index, argument] of list.entries()) {
    const number = REG.R1 + index;
    const register = analysis.register(number);
    const unreadable = analysis.read(number);
    if (unreadable !== undefined) return unreadable;
    if (argument.kind === "scalar") {
      if (!register.isScalar) return reject(EINVAL, `R${number} is not a scalar`);
    } else if (argument.kind === "ctx") {
      if (register.kind !== "ctx") return reject(EINVAL, `arg#${index} expects pointer to ctx`);
      const moved = checkContextPointer(register, number);
      if (moved !== undefined) return moved;
    } else {
      const bad = checkMemoryArgument(analysis, number, argument);
      if (bad !== undefined) return bad;
    }
  }
  return undefined;
}

function checkMemoryArgument(
  analysis: Analysis,
  number: number,
  argument: GlobalArgument & { readonly kind: "mem" },
): Check {
  const register = analysis.register(number);
  if (register.isNull && argument.isNullable) return undefined;
  if (register.isMaybeNull && !argument.isNullable)
    return reject(EINVAL, `arg#${number - 1} arg is not nullable`);
  const before = register;
  if (register.isMaybeNull) analysis.set(number, register.with({ flags: register.flags & ~FLAG.MAYBE_NULL }));
  const access = { number, size: argument.bytes, isZeroAllowed: true } as const;
  const bad =
    accessHelperMemory(analysis, { ...access, kind: "read" }) ??
    accessHelperMemory(analysis, { ...access, kind: "write" });
  analysis.set(number, before);
  return bad;
}
