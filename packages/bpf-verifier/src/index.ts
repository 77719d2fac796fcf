/** Decides whether a BPF program may run: `verify(env)`, its log, and what it must be told. */
export { isGplCompatible } from "./env.ts";
export type { HelperPrototype, MapDescription, ProgramTypeRules, VerifierEnv } from "./env.ts";
export { LOG, fitLog, isLogRequestValid } from "./log.ts";
export type { FittedLog, LogOptions } from "./log.ts";
export type { Verdict } from "./verdict.ts";
export { verify } from "./verify.ts";
