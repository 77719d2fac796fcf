/**
 * `verifyProgram(env)`: the whole verification. A pure function: program in, verdict, log and rewritten program out.
 *
 * The pipeline is Linux's bpf_check(): sizes → functions → jumps → wide loads → reachability → all paths of the main function,
 * then of each global one → depth of calls. Messages and errnos are those of Linux 6.18.
 */
import { E2BIG, EFAULT, EINVAL, EPERM } from "@alien-ts/abi";
import { CALL, MAX_INSNS, MAX_INSNS_UNPRIVILEGED } from "@alien-ts/bpf-isa";
import type { Insn } from "@alien-ts/bpf-isa";
import { Analysis, startRegisters } from "./analysis.ts";
import { assert } from "./assert.ts";
import { HELPER } from "./call/callback-kinds.ts";
import { calledKfunc } from "./call/kfunc/facts.ts";
import { globalArguments, globalRegister } from "./call/global.ts";
import { VerifierBug } from "./assert.ts";
import { checkReachable, checkSubprograms, findSubprograms } from "./cfg.ts";
import { checkAttach } from "./check/attach.ts";
import { checkFunctionRecords, checkProgramInfo } from "./check/program-info.ts";
import { exceptionCallbackStart } from "./check/exception-callback.ts";
import { checkDepth } from "./check/depth.ts";
import { checkUsedMap } from "./check/used-maps.ts";
import type { MapInfo, ProgramEnv } from "./env.ts";
import { LOG } from "./log.ts";
import { isAttachedById } from "./linux/attach-target.ts";
import { allowsAttachType, mayLoadType } from "./linux/program-types.ts";
import { findComponents } from "./prune/components.ts";
import { Loops } from "./prune/loops.ts";
import { LiveStack } from "./prune/live-stack.ts";
import { liveRegisters, liveText } from "./prune/live.ts";
import { Visited, findPoints } from "./prune/visited.ts";
import { resolveWideLoads } from "./resolve.ts";
import { rewrite } from "./rewrite/rewrite.ts";
import type { Xlated } from "./rewrite/rewrite.ts";
import { pointer } from "./state/register.ts";
import { Frame, State } from "./state/state.ts";
import { Verification, functionName, isGlobal } from "./state.ts";
import { isErr } from "@alien-ts/abi";
import { Reject, reject } from "./verdict.ts";
import type { Check, Verdict } from "./verdict.ts";
import { walk } from "./walk.ts";

/** BTF_MAX_TYPE */
const MAX_BTF_ID = 0x000f_ffff;
const NOT_FOR_LOADER = "programs of this type need capabilities that the loader lacks";

export function verifyProgram(env: ProgramEnv): Verdict {
  const count = env.insns.length;
  if (count === 0 || count > (env.privileges.isCapable ? MAX_INSNS : MAX_INSNS_UNPRIVILEGED)) {
    return { ok: false, log: "", errno: E2BIG, processed: 0 };
  }
  const { type, attachType } = env.programType;
  if (!mayLoadType(type, env.privileges.capabilities))
    return {
      ok: false,
      log: "",
      errno: EPERM,
      processed: 0,
      refusal: { message: NOT_FOR_LOADER, insn: undefined },
    };
  const { attach } = env;
  if (!allowsAttachType(type, attachType) || (attach !== undefined && !mayAttach(type, attach.id)))
    return { ok: false, log: "", errno: EINVAL, processed: 0 };
  const verification = new Verification(env);
  const run = new Run(verification, env);
  const refused = run.checkOrBug();
  const { log } = verification;
  const { processed } = run;
  if (refused !== undefined && refused.message !== "")
    log.write(refused.endsLine ? `${refused.message}\n` : refused.message);
  const lacking = run.checkAbsentHelpers();
  if (lacking !== undefined) log.line(lacking.message);
  const rejected = refused ?? lacking;
  run.logStatistics();
  if (rejected !== undefined) {
    const { message, errno } = rejected;
    const refusal = { message, insn: run.refusedAt };
    return { ok: false, log: log.toString(), logExtent: log.extent, errno, processed, refusal };
  }
  const { insns, usedMapFds } = verification;
  return {
    ok: true,
    log: log.toString(),
    logExtent: log.extent,
    insns,
    xlated: run.rewrite(),
    usedMapFds,
    processed,
  };
}

/** Linux: bpf_prog_load_check_attach() */
const mayAttach = (type: number, id: number): boolean => isAttachedById(type) && id <= MAX_BTF_ID;

class Run {
  readonly #verification: Verification;
  readonly #env: ProgramEnv;
  #analysis: Analysis | undefined;
  #visited: Visited | undefined;

  constructor(verification: Verification, env: ProgramEnv) {
    this.#verification = verification;
    this.#env = env;
  }

  /** The instruction at which the walk was refused; undefined where something else was. */
  refusedAt: number | undefined;

  get processed(): number {
    return this.#analysis?.processed ?? 0;
  }

  checkOrBug(): Check {
    try {
      return this.#check();
    } catch (error) {
      if (error instanceof VerifierBug) return reject(EFAULT, `verifier bug: ${error.message}`);
      throw error;
    }
  }

  #check(): Check {
    const verification = this.#verification;
    const maps = new Map<number, MapInfo>();
    return (
      checkFunctionRecords(this.#env) ??
      findSubprograms(verification, () => exceptionCallbackStart(this.#env.program)) ??
      checkSubprograms(verification) ??
      checkProgramInfo(this.#env, verification.subprograms) ??
      resolveWideLoads(verification, (index, fd) => this.#useMap(maps, index, fd)) ??
      checkReachable(verification) ??
      checkAttach(this.#env) ??
      this.#interpret(maps)
    );
  }

  /** Only what was accepted was walked. */
  rewrite(): Xlated {
    return rewrite(this.#analysis!, this.#verification.insns);
  }

  /**
   * The first call on any path of a helper that this kernel lacks. Linux has no such case: the words are those by which loaders
   * find out what a kernel has, and the programs that they try are refused for their arguments already.
   */
  checkAbsentHelpers(): Check {
    const env = this.#env;
    for (const [index, insn] of env.insns.entries()) {
      if (!isHelperCall(insn) || this.#analysis?.notes[index]!.isSeen !== true) continue;
      const reason = env.absentHelper?.(insn.imm);
      const name = env.helper(insn.imm)?.name ?? "";
      if (reason !== undefined)
        return reject(EINVAL, `insn ${index}: unknown func ${name}#${insn.imm}: ${reason}`);
    }
    return undefined;
  }

  /** Notes the map that a wide load names, by instruction. Linux: __add_used_map() */
  #useMap(maps: Map<number, MapInfo>, index: number, fd: number): Check {
    const map = this.#env.map(fd);
    assert(!isErr(map), "a map that has an address is there");
    const bad = checkUsedMap(this.#env, map, [...maps.values()]);
    if (bad === undefined) maps.set(index, map);
    return bad;
  }

  #interpret(maps: ReadonlyMap<number, MapInfo>): Check {
    const env = this.#env;
    const { log, subprograms } = this.#verification;
    const analysis = new Analysis(this.#verification, env, maps);
    const live = liveRegisters(env, analysis.edges);
    const components = findComponents(env, analysis.edges);
    if (log.isVerbose) log.write(liveText(env, this.#verification.printed, live, components));
    const points = findPoints(env, (insn) => isIteratorNext(env, insn));
    const visited = new Visited(analysis, points, live, new Loops(analysis, components));
    analysis.live = live;
    analysis.liveStack = new LiveStack(analysis, points.prune);
    this.#analysis = analysis;
    this.#visited = visited;
    this.#logMainArguments(analysis);
    const main = this.#walkFrom(analysis, 0, () => walk(analysis, points, visited));
    if (main !== undefined) return main;
    if (!log.isVerbose) log.reset();
    const pending = (): number | undefined =>
      subprograms.findIndex(
        (_, i) => i > 0 && isGlobal(env, subprograms, i) && analysis.calledGlobals.has(i) && !done.has(i),
      );
    const done = new Set<number>();
    if (analysis.exceptionCallback !== 0) analysis.calledGlobals.add(analysis.exceptionCallback);
    for (let next = pending(); next !== undefined && next > 0; next = pending()) {
      done.add(next);
      visited.restart();
      const bad = this.#walkGlobal(analysis, next, () => walk(analysis, points, visited));
      if (bad !== undefined) return bad;
    }
    return checkDepth(analysis) ?? this.#checkTailCalls(analysis) ?? this.#checkUnresolved(analysis);
  }

  /** The index of a tail call is masked by its map's size: there must be one map. Linux: do_misc_fixups() */
  #checkTailCalls({ notes }: Analysis): Check {
    const isMixed = this.#env.insns.some((insn, i) => {
      const { isSeen, map, isIndexMasked } = notes[i]!;
      return isHelperCall(insn) && insn.imm === HELPER.tail_call && isSeen && map === null && isIndexMasked;
    });
    return isMixed ? reject(EINVAL, "tail_call abusing map_ptr") : undefined;
  }

  /** Calls of nothing must not be reached. Linux: fixup_kfunc_call() */
  #checkUnresolved({ notes }: Analysis): Check {
    const isCalled = this.#env.insns.some(
      ({ opcode, src, imm }, i) => opcode === 0x85 && src === CALL.KFUNC && imm === 0 && notes[i]!.isSeen,
    );
    return isCalled
      ? reject(EINVAL, "invalid kernel function call not eliminated in verifier pass")
      : undefined;
  }

  /** The main function's arguments need not be what its type says; the log tells. */
  #logMainArguments(analysis: Analysis): void {
    const { program } = this.#env;
    if (program?.functions[0]?.insn !== 0) return;
    const list = globalArguments(analysis, 0, !isGlobal(this.#env, this.#verification.subprograms, 0));
    if (list instanceof Reject && analysis.log.isNeeded && list.message !== "")
      analysis.log.line(list.message);
  }

  #walkGlobal(analysis: Analysis, number: number, run: () => Check): Check {
    const { log, subprograms } = this.#verification;
    const name = functionName(this.#env, subprograms, number);
    if (log.isNeeded) log.line(`Validating ${name}() func#${number}...`);
    const list = globalArguments(analysis, number);
    if (list instanceof Reject) return list;
    if (number === analysis.exceptionCallback && (list.length !== 1 || list[0]!.kind !== "scalar"))
      return reject(EINVAL, "exception cb only supports single integer argument");
    const bad = this.#walkFrom(analysis, number, run, (frame) => {
      list.forEach((argument, i) => {
        frame.registers[i + 1] = globalRegister(analysis, argument);
      });
    });
    if (bad !== undefined) return bad;
    if (!log.isVerbose) log.reset();
    if (log.isEnabled) log.line(`Func#${number} ('${name}') is safe for any args that match its prototype`);
    return undefined;
  }

  #walkFrom(analysis: Analysis, number: number, run: () => Check, prepare = startRegisters): Check {
    const state = new State();
    const frame = new Frame(0, number, -1);
    frame.registers[10] = pointer("fp", { frame: 0 });
    prepare(frame);
    state.frames.push(frame);
    state.branches = 1;
    state.areNumbersPrecise = !this.#env.privileges.isCapable;
    state.isInSleepable = this.#env.isSleepable;
    const { start } = this.#verification.subprograms[number]!;
    state.firstInsn = start;
    state.lastInsn = -1;
    analysis.state = state;
    analysis.index = start;
    analysis.previous = -1;
    analysis.entry = number;
    analysis.touchAll();
    analysis.printedEnd = -1;
    const bad = run();
    if (bad !== undefined) this.refusedAt = analysis.index;
    return bad;
  }

  /** Linux: print_verification_stats() */
  logStatistics(): void {
    const { log } = this.#verification;
    if (log.level === 0) return;
    const { total, peak, mostPerInsn } = this.#visited ?? { total: 0, peak: 0, mostPerInsn: 0 };
    if ((log.level & LOG.STATS) !== 0) {
      log.line(`verification time ${this.#env.elapsedUs?.() ?? 0} usec`);
      const depths = this.#analysis?.stackDepth ?? this.#verification.subprograms.map(() => 0);
      if (depths.length === 0) depths.push(0);
      log.line(`stack depth ${depths.join("+")}`);
    }
    log.line(
      `processed ${this.processed} insns (limit ${MAX_INSNS}) max_states_per_insn ${mostPerInsn} total_states ${total} peak_states ${peak} mark_read 0`,
    );
  }
}

const isIteratorNext = (env: ProgramEnv, insn: Insn): boolean =>
  env.kfuncRules?.(calledKfunc(env, insn) ?? "")?.flags.has("iter_next") ?? false;
const isHelperCall = ({ opcode, src }: Insn): boolean => opcode === 0x85 && src === CALL.HELPER;
