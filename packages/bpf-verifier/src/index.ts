/** Decides whether a BPF program may run: `verifyProgram(env)`, its log, and what it must be told. */
export { isGplCompatible, isKfuncFlag } from "./env.ts";
export type {
  AttachTarget,
  HelperName,
  HelperPrototype,
  KfuncFlag,
  KfuncRules,
  MapDescription,
  MapInfo,
  ProgramBtf,
  ProgramEnv,
  ProgramRules,
  ProgramTypeRules,
  ValueField,
  VerifierEnv,
} from "./env.ts";
export { PRIVILEGED, UNPRIVILEGED, privilegesOf } from "./privileges.ts";
export type { Capabilities, Privileges } from "./privileges.ts";
export { verifyWithReport } from "./report/report.ts";
export type { Link } from "./report/chain.ts";
export type { Explained, Report } from "./report/report.ts";
export type { SourceSpan } from "./source.ts";
export { attachTarget, isAttachedById } from "./linux/attach-target.ts";
export { linuxHelper } from "./linux/helpers.ts";
export { linuxKfunc } from "./linux/kfuncs.ts";
export { linuxProgramType, mayLoadType } from "./linux/program-types.ts";
export { LOG, fitLog, isLogRequestValid } from "./log.ts";
export type { FittedLog, LogExtent, LogOptions } from "./log.ts";
export { relocate } from "./rewrite/rewrite.ts";
export type { Xlated } from "./rewrite/rewrite.ts";
export type { Verdict } from "./verdict.ts";
export { verifyProgram } from "./verify-program.ts";
export { valueFields } from "./value-fields.ts";
