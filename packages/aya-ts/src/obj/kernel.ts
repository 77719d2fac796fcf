/**
 * An object as it must be for the running kernel: CO-RE relocations and externs, resolved with the kernel's own BTF and symbols.
 *
 * The files are read only where the object has something to resolve, as in Aya.
 */
import { BtfError, parseBtf } from "@alien-ts/btf";
import { FileError } from "../errors.ts";
import { readFile } from "../sys/files.ts";
import type { Sys } from "../sys/sys.ts";
import { readKallsyms } from "../util.ts";
import { applyCore, needsCore } from "./core.ts";
import { hasExterns, needsAddresses, resolveExterns } from "./externs.ts";
import type { ObjectSpec } from "./spec.ts";

const KERNEL_BTF = "/sys/kernel/btf/vmlinux";

/** @param version KERNEL_VERSION code */
export async function forKernel(sys: Sys, spec: ObjectSpec, version: number): Promise<ObjectSpec> {
  if (!needsCore(spec) && !hasExterns(spec)) return spec;
  const types = parseBtf(await readFile(sys, KERNEL_BTF));
  if (types instanceof BtfError) throw new FileError(KERNEL_BTF, types.message, { cause: types });
  const addresses = needsAddresses(spec) ? await addressesByName(sys) : new Map<string, bigint>();
  return resolveExterns(applyCore(spec, types), { types, version, address: (name) => addresses.get(name) });
}

const addressesByName = async (sys: Sys): Promise<ReadonlyMap<string, bigint>> =>
  new Map((await readKallsyms(sys)).map(([address, name]) => [name, address]));
