/**
 * Global functions: their prototype in BTF says what callers must pass, and with what they are verified. Linux:
 * btf_prepare_func_args(), btf_check_func_arg_match().
 */
import { EACCES, EINVAL, ENOENT, EOPNOTSUPP, ESRCH } from "@alien-ts/abi";
import type { Btf, BtfType } from "@alien-ts/btf";
import { REG } from "@alien-ts/bpf-isa";
import { structsMatch } from "../access/struct-walk.ts";
import { assert } from "../assert.ts";
import type { Analysis } from "../analysis.ts";
import { checkKernelContext, isContextType } from "../linux/kernel-contexts.ts";
import { FLAG, UNKNOWN, kindName, pointer } from "../state/register.ts";
import type { Register } from "../state/register.ts";
import { functionName } from "../state.ts";
import { Reject, reject } from "../verdict.ts";
import type { Check } from "../verdict.ts";
import { checkDynptrArgument } from "./dynptr.ts";
import { checkFixedMemory } from "./kfunc/memory.ts";
import { functionPrototype } from "./kfunc/facts.ts";
import { isScalarType, kindText, nameOf, typeOf } from "./kfunc/parameters.ts";
import { checkArgumentOffset } from "./offset.ts";

export type GlobalArgument =
  | { readonly kind: "scalar" }
  | { readonly kind: "ctx" }
  | { readonly kind: "arena" }
  | { readonly kind: "dynptr" }
  | { readonly kind: "mem"; readonly bytes: number; readonly flags: number }
  | { readonly kind: "btf"; readonly id: number; readonly flags: number };

/**
 * What function `subprogram` takes, or why it cannot be verified by itself.
 * @param isStatic of a static function, which need not have such a type: refusals without message.
 */
export function globalArguments(
  analysis: Analysis,
  subprogram: number,
  isStatic = false,
): readonly GlobalArgument[] | Reject {
  const { env, subprograms } = analysis;
  const name = functionName(env, subprograms, subprogram);
  const program = env.program!;
  const info = program.functions.find(({ insn }) => insn === subprograms[subprogram]!.start)!;
  const { btf } = program;
  const prototype = functionPrototype(btf, info.type);
  assert(prototype !== undefined, "functions of the program are of types of functions");
  const silent = reject(EINVAL, "");
  const isScalar = isScalarType(typeOf(btf, prototype.type));
  if (isStatic && (prototype.params.length > 5 || !isScalar)) return silent;
  if (prototype.params.length > 5)
    return reject(
      EINVAL,
      `Global function ${name}() with ${prototype.params.length} > 5 args. Buggy compiler.`,
    );
  if (!isScalar)
    return reject(EINVAL, `Global function ${name}() doesn't return scalar. Only those are supported.`);
  const list: GlobalArgument[] = [];
  for (const [index, { type }] of prototype.params.entries()) {
    const tags = tagsOf(btf, info.type, index);
    if (tags instanceof Reject) return tags;
    const argument = argumentOf(analysis, btf, { type, tags, index, name });
    if (isStatic && (argument instanceof Reject || argument.kind === "mem")) return silent;
    if (argument instanceof Reject) return argument;
    list.push(argument);
  }
  return list;
}

type Tag = "ctx" | "trusted" | "untrusted" | "nonnull" | "nullable" | "arena";
const TAGS: readonly string[] = ["ctx", "trusted", "untrusted", "nonnull", "nullable", "arena"];
const PREFIX = "arg:";

function tagsOf(btf: Btf, type: number, index: number): readonly Tag[] | Reject {
  const tags: Tag[] = [];
  for (const [, tag] of btf.types()) {
    if (tag.kind !== "decl_tag" || tag.type !== type || tag.component !== index) continue;
    if (!tag.name.startsWith(PREFIX)) continue;
    const word = tag.name.slice(PREFIX.length);
    if (!TAGS.includes(word)) return reject(EOPNOTSUPP, `arg#${index} has unsupported set of tags`);
    tags.push(word as Tag);
  }
  return tags;
}

interface Param {
  readonly type: number;
  readonly tags: readonly Tag[];
  readonly index: number;
  readonly name: string;
}

function argumentOf(analysis: Analysis, btf: Btf, param: Param): GlobalArgument | Reject {
  const { index, name, tags } = param;
  const type = typeOf(btf, param.type);
  if (type?.kind === "ptr") return pointerArgument(analysis, btf, type.type, param);
  if (tags.length > 0) return reject(EINVAL, `arg#${index} has pointer tag, but is not a pointer type`);
  if (isScalarType(type)) return { kind: "scalar" };
  return reject(EINVAL, `Arg#${index} type ${kindText(type)} in ${name}() is not supported yet.`);
}

function pointerArgument(
  analysis: Analysis,
  btf: Btf,
  target: number,
  { tags, index }: Param,
): GlobalArgument | Reject {
  const has = (tag: Tag): boolean => tags.includes(tag);
  const wrong = reject(EINVAL, `arg#${index} has invalid combination of tags`);
  const type = typeOf(btf, target);
  if (has("ctx") || isContextType(analysis.env, btf, target)) {
    if (tags.some((tag) => tag !== "ctx")) return wrong;
    return (has("ctx") ? checkKernelContext(analysis.env, btf, target, index) : undefined) ?? { kind: "ctx" };
  }
  if (type?.kind === "struct" && type.name === "bpf_dynptr")
    return tags.length > 0 ? wrong : { kind: "dynptr" };
  if (has("trusted")) {
    if (has("nonnull")) return wrong;
    const id = kernelType(analysis, btf, target, index);
    if (id instanceof Reject) return id;
    return { kind: "btf", id, flags: FLAG.TRUSTED | (has("nullable") ? FLAG.MAYBE_NULL : 0) };
  }
  if (has("untrusted")) return untrusted(analysis, btf, target, { tags, index });
  if (has("arena")) {
    if (tags.some((tag) => tag !== "arena"))
      return reject(EINVAL, `arg#${index} arena cannot be combined with any other tags`);
    return { kind: "arena" };
  }
  if (has("nullable")) return wrong;
  const bytes = btf.sizeOf(target);
  if (bytes === undefined) {
    return reject(
      EINVAL,
      `arg#${index} reference type('${kindText(type)} ${nameOf(type)}') size cannot be determined: -22`,
    );
  }
  return { kind: "mem", bytes, flags: has("nonnull") ? 0 : FLAG.MAYBE_NULL };
}

/** Read by probes, whatever is passed. */
function untrusted(
  analysis: Analysis,
  btf: Btf,
  target: number,
  { tags, index }: Pick<Param, "tags" | "index">,
): GlobalArgument | Reject {
  if (tags.some((tag) => tag !== "untrusted"))
    return reject(EINVAL, `arg#${index} untrusted cannot be combined with any other tags`);
  const type = typeOf(btf, target);
  if (type === undefined || type.kind === "void" || type.kind === "float" || isScalarType(type))
    return { kind: "mem", bytes: 0, flags: FLAG.RDONLY | FLAG.UNTRUSTED };
  const id = kernelType(analysis, btf, target, index);
  if (id instanceof Reject) return id;
  const found = analysis.env.kernelBtf!.type(id);
  if (isStruct(found)) return { kind: "btf", id, flags: FLAG.UNTRUSTED };
  return reject(
    EINVAL,
    `arg#${index} has type ${kindText(found)} '${ANONYMOUS}', but only struct or primitive types are allowed`,
  );
}

const isStruct = (type: BtfType | undefined): boolean => type?.kind === "struct" || type?.kind === "union";

/** What Linux says for a name where there is none. */
const ANONYMOUS = "(anon)";

/** The kernel's type of the same name and kind. Linux: btf_get_ptr_to_btf_id() */
function kernelType(analysis: Analysis, btf: Btf, target: number, index: number): number | Reject {
  const type = typeOf(btf, target);
  const name = nameOf(type);
  // Names of local flavours end with `___word`.
  const plain = name.split("___")[0]!;
  const { kernelBtf } = analysis.env;
  if (type === undefined || plain === "") {
    const text = `reference type('${kindText(type)} ${name === "" ? ANONYMOUS : name}')`;
    return reject(EINVAL, `arg#${index} ${text} candidate matching error: -22`);
  }
  const candidates = (kernelBtf?.findAll(plain) ?? []).filter(
    (id) => kernelBtf!.type(id)?.kind === type.kind,
  );
  const [id, second] = candidates;
  if (id === undefined) {
    return reject(ENOENT, `arg#${index} reference type('${kindText(type)} ${name}') has no matches`);
  }
  if (second === undefined) return id;
  return reject(ESRCH, `arg#${index} reference type('${kindText(type)} ${name}') is ambiguous`);
}

/** The registers with which a global function is verified. */
export function globalRegister(analysis: Analysis, argument: GlobalArgument): Register {
  const idOf = (flags: number): number => ((flags & FLAG.MAYBE_NULL) === 0 ? 0 : analysis.newId());
  switch (argument.kind) {
    case "scalar":
    case "arena":
      return UNKNOWN;
    case "ctx":
      return pointer("ctx");
    case "dynptr":
      return pointer("dynptr_ptr", { dynptr: "local", isFirstSlot: true, id: analysis.newId() });
    case "mem": {
      const { flags, bytes } = argument;
      return pointer("mem", { memSize: bytes, flags, id: idOf(flags) });
    }
    case "btf": {
      const { flags, id } = argument;
      return pointer("ptr_", { btf: analysis.env.kernelBtf, btfId: id, flags, id: analysis.newId() });
    }
  }
}

/** What a caller passes to a global function. */
export function checkGlobalArguments(analysis: Analysis, subprogram: number, isStatic = false): Check {
  const list = globalArguments(analysis, subprogram, isStatic);
  if (list instanceof Reject) return list;
  for (const [index, argument] of list.entries()) {
    const bad = checkPassed(analysis, argument, index);
    if (bad !== undefined) return bad;
  }
  return undefined;
}

const ANY = { releases: false, isDynptr: false };

function checkPassed(analysis: Analysis, argument: GlobalArgument, index: number): Check {
  const number = REG.R1 + index;
  const register = analysis.register(number);
  switch (argument.kind) {
    case "scalar":
      return register.isScalar ? undefined : reject(EINVAL, `R${number} is not a scalar`);
    case "ctx":
      return (
        checkArgumentOffset(register, number, ANY) ??
        (register.kind === "ctx" ? undefined : reject(EINVAL, `arg#${index} expects pointer to ctx`))
      );
    case "arena":
      return register.kind === "arena" || register.isScalar
        ? undefined
        : reject(EINVAL, `R${number} is not a pointer to arena or scalar.`);
    case "dynptr":
      return (
        checkArgumentOffset(register, number, { releases: false, isDynptr: true }) ??
        checkDynptrArgument(
          analysis,
          number,
          { isUninitialised: false, releases: false, dynptr: undefined },
          () => {},
        )
      );
    case "mem":
      return (argument.flags & FLAG.UNTRUSTED) === 0 ? checkMemory(analysis, argument, index) : undefined;
    case "btf":
      return (argument.flags & FLAG.UNTRUSTED) === 0 ? checkTrusted(analysis, argument, index) : undefined;
  }
}

function checkMemory(
  analysis: Analysis,
  { bytes, flags }: GlobalArgument & { readonly kind: "mem" },
  index: number,
): Check {
  const number = REG.R1 + index;
  const register = analysis.register(number);
  const moved = checkArgumentOffset(register, number, ANY);
  if (moved !== undefined) return moved;
  const bad = checkFixedMemory(analysis, number, bytes);
  if (bad !== undefined) return reject(EINVAL, bad.message);
  return (flags & FLAG.MAYBE_NULL) === 0 && register.isMaybeNull
    ? reject(EINVAL, `arg#${index} is expected to be non-NULL`)
    : undefined;
}

const TRUSTED_KINDS: readonly number[] = [0, FLAG.TRUSTED, FLAG.RCU];

function checkTrusted(
  analysis: Analysis,
  { id, flags: wanted }: GlobalArgument & { readonly kind: "btf" },
  index: number,
): Check {
  const number = REG.R1 + index;
  const register = analysis.register(number);
  const isNullable = (wanted & FLAG.MAYBE_NULL) !== 0;
  if (register.isNull && isNullable) return undefined;
  const flags = isNullable ? register.flags & ~FLAG.MAYBE_NULL : register.flags;
  if (register.kind !== "ptr_" || !TRUSTED_KINDS.includes(flags)) {
    const expected = TRUSTED_KINDS.map((kind) => kindName({ kind: "ptr_", flags: kind })).join(", ");
    return reject(EACCES, `R${number} type=${kindName(register)} expected=${expected}`);
  }
  const { kernelBtf } = analysis.env;
  const given = { btf: register.btf, id: register.btfId };
  if (!structsMatch(given, register.off, { btf: kernelBtf, id }, false, analysis.log)) {
    const name = register.btf?.type(register.btfId)?.name ?? "";
    return reject(EACCES, `R${number} is of type ${name} but ${kernelBtf?.type(id)?.name} is expected`);
  }
  return checkArgumentOffset(register, number, ANY);
}
