/**
 * Externs of an object: kernel functions and variables (`__ksym`), and facts about the kernel (`__kconfig`), resolved against one
 * kernel. Specs are not changed.
 *
 * An extern that the kernel lacks is an error, but for a weak one: a variable's address is 0, a configuration value is 0, a call
 * becomes one that the verifier refuses unless it is dead code.
 * Authority: libbpf `bpf_object__collect_externs`, `bpf_object__resolve_externs`; aya-obj `extern_types.rs`.
 */
import { areTypesCompatible, essentialName } from "@alien-ts/btf";
import type { Btf, BtfType } from "@alien-ts/btf";
import { ParseError, RelocationError } from "../errors.ts";
import { mapFunctions } from "./spec.ts";
import type { ExternRelocation, MapSpec, ObjectSpec, Relocation } from "./spec.ts";
import { dataSection } from "./maps.ts";

const KCONFIG = ".kconfig";

/** What externs are resolved against. */
export interface Kernel {
  readonly types: Btf;
  /** KERNEL_VERSION code. */
  readonly version: number;
  /** Address of a symbol without a type; undefined where the kernel has no such symbol. */
  readonly address: (symbol: string) => bigint | undefined;
}

/** Externs that the code refers to. */
function* externsOf(spec: ObjectSpec): Generator<ExternRelocation> {
  for (const fn of spec.functions.values())
    for (const relocation of fn.relocations.values()) if (relocation.kind === "extern") yield relocation;
}

export const hasExterns = (spec: ObjectSpec): boolean => !externsOf(spec).next().done;

/** Whether there is an extern without a type, which is an address of kallsyms. */
export const needsAddresses = (spec: ObjectSpec): boolean =>
  Array.from(externsOf(spec)).some(({ name }) => {
    const variable = variableOf(spec.btf, ".ksyms", name);
    return variable !== undefined && isVoid(spec.btf!, variable.type);
  });

export function resolveExterns(spec: ObjectSpec, kernel: Kernel): ObjectSpec {
  const externs = Array.from(externsOf(spec));
  if (externs.length === 0) return spec;
  const config = configMap(spec, externs, kernel);
  const maps = config === undefined ? spec.maps : new Map(spec.maps).set(KCONFIG, config);
  const resolve = (where: string, relocation: Relocation): Relocation =>
    relocation.kind === "extern" ? resolveOne({ spec, kernel, config }, where, relocation) : relocation;
  const resolved = mapFunctions(spec, (fn) => ({
    ...fn,
    relocations: new Map(
      Array.from(fn.relocations, ([at, relocation]) => [at, resolve(`${fn.name}+${at}`, relocation)]),
    ),
  }));
  return { ...resolved, maps };
}

interface Context {
  readonly spec: ObjectSpec;
  readonly kernel: Kernel;
  readonly config: MapSpec | undefined;
}

function resolveOne({ spec, kernel, config }: Context, where: string, extern: ExternRelocation): Relocation {
  const { name, isWeak } = extern;
  const value = config?.data?.symbols.find((symbol) => symbol.name === name);
  if (value !== undefined) return { kind: "data", map: KCONFIG, address: value.address };
  const missing = (what: string): Relocation => {
    if (isWeak) return { kind: "missing", name };
    throw new RelocationError(where, `the kernel has no ${what} ${name}`);
  };
  const declared = entriesOf(spec.btf, ".ksyms").find((type) => type.name === name);
  if (declared?.kind === "func") {
    const id = kernel.types.find(essentialName(name), "func");
    const isSame =
      id !== undefined && isCompatible(spec.btf!, declared.type, kernel.types, typeOf(kernel.types, id));
    if (id !== undefined && !isSame && !isWeak)
      throw new RelocationError(where, `function ${name} has another type in the kernel`);
    return id === undefined || !isSame ? missing("function with a type") : { kind: "kernelFunction", id };
  }
  if (declared?.kind !== "var") return missing("symbol");
  if (isVoid(spec.btf!, declared.type)) {
    const address = kernel.address(name);
    return address === undefined ? missing("symbol") : { kind: "address", address };
  }
  const id = kernel.types.find(name, "var");
  if (id !== undefined && !isCompatible(spec.btf!, declared.type, kernel.types, typeOf(kernel.types, id)))
    throw new RelocationError(where, `variable ${name} has another type in the kernel`);
  return id === undefined ? missing("variable with a type") : { kind: "kernelVariable", id };
}

/** The type of a variable; the prototype of a function. */
function typeOf(btf: Btf, id: number): number {
  const type = btf.type(id);
  return type?.kind === "var" || type?.kind === "func" ? type.type : 0;
}

const isCompatible = (local: Btf, mine: number, kernel: Btf, theirs: number): boolean =>
  areTypesCompatible({ btf: local, id: local.resolve(mine) }, { btf: kernel, id: kernel.resolve(theirs) });

const isVoid = (btf: Btf, type: number): boolean => btf.resolve(type) === 0;

/** Variables and functions of a DATASEC of externs. */
function entriesOf(
  btf: Btf | undefined,
  section: string,
): readonly Extract<BtfType, { kind: "var" | "func" }>[] {
  const id = btf?.find(section, "datasec");
  const datasec = id === undefined ? undefined : btf!.type(id);
  if (datasec?.kind !== "datasec") return [];
  return datasec.vars
    .map(({ type }) => btf!.type(type))
    .filter((type) => type?.kind === "var" || type?.kind === "func");
}

const variableOf = (
  btf: Btf | undefined,
  section: string,
  name: string,
): Extract<BtfType, { kind: "var" }> | undefined =>
  entriesOf(btf, section).find(
    (type): type is Extract<BtfType, { kind: "var" }> => type.kind === "var" && type.name === name,
  );

/** The values of all `__kconfig` externs, as a read-only map; undefined where there is none. */
function configMap(
  spec: ObjectSpec,
  externs: readonly ExternRelocation[],
  kernel: Kernel,
): MapSpec | undefined {
  const wanted = new Map(externs.map((extern) => [extern.name, extern]));
  const symbols: { name: string; address: number; size: number }[] = [];
  const values: bigint[] = [];
  let size = 0;
  const variables = entriesOf(spec.btf, KCONFIG)
    .map(({ name, type }) => ({ name, bytes: spec.btf!.sizeOf(type) ?? 0 }))
    .toSorted((a, b) => b.bytes - a.bytes || (a.name < b.name ? -1 : 1));
  for (const { name, bytes } of variables) {
    const extern = wanted.get(name);
    if (extern === undefined || bytes === 0) continue;
    symbols.push({ name, address: size, size: bytes });
    values.push(configValue(extern, kernel));
    size += bytes;
  }
  if (symbols.length === 0) return undefined;
  const bytes = new Uint8Array(size);
  symbols.forEach(({ address, size: width }, index) => {
    for (let i = 0; i < Math.min(width, 8); i++)
      bytes[address + i] = Number((values[index]! >> BigInt(8 * i)) & 0xffn);
  });
  return dataSection(KCONFIG, { kind: "rodata", bytes, symbols });
}

function configValue({ name, isWeak }: ExternRelocation, kernel: Kernel): bigint {
  if (name === "LINUX_KERNEL_VERSION") return BigInt(kernel.version);
  // Cookies and wrappers of system calls came with Linux 5.15 and 4.17.
  if (name === "LINUX_HAS_BPF_COOKIE") return kernel.version >= 0x05_0f_00 ? 1n : 0n;
  if (name === "LINUX_HAS_SYSCALL_WRAPPER") return kernel.version >= 0x04_11_00 ? 1n : 0n;
  if (isWeak) return 0n;
  throw new ParseError(KCONFIG, `extern ${name}: the kernel's configuration is not known; declare it __weak`);
}
