/** find(1): POSIX primaries with GNU's -maxdepth, -mindepth, -empty, -print0, -delete, -iname, -regex. */
import { S } from "@alien-ts/abi";
import { readGroups, readUsers } from "../libc/accounts.ts";
import { spawn, waitFor } from "../libc/children.ts";
import { listNames } from "../libc/directories.ts";
import { SystemError, ToolError } from "../libc/errors.ts";
import { type FileStatus, isDirectory, isRegular, lstat, rmdir, stat, unlink } from "../libc/files.ts";
import { patternRegex } from "../libc/glob.ts";
import { applyModeChange, formatMode } from "../libc/modes.ts";
import type { Process } from "../libc/process.ts";
import { type Regex, compileRegex, withRegex } from "../libc/regex.ts";
import { basename, joinPath } from "../libc/text.ts";
import { clockGetTime } from "../libc/time.ts";
import { complain, tool } from "../libc/tool.ts";

interface Visit {
  readonly path: string;
  readonly status: FileStatus;
  readonly depth: number;
}

/** What `-prune` and `-quit` tell the walk. */
interface Walk {
  readonly process: Process;
  readonly nowSeconds: number;
  pruned: boolean;
  quit: boolean;
  failed: boolean;
  maxDepth: number;
  minDepth: number;
  depthFirst: boolean;
  sameFileSystem: boolean;
  /** Runs what `-exec … +` has gathered. */
  readonly atEnd: (() => Promise<void>)[];
}

type Test = (walk: Walk, visit: Visit) => boolean | Promise<boolean>;

export const find = tool({
  name: "find",
  usage: "find [-H|-L] [PATH]... [EXPRESSION]",
  options: "",
  raw: true,
  main: async (process, { words }) => {
    const follow = words[0] === "-L";
    const args = /^-[HLP]$/.test(words[0] ?? "") ? words.slice(1) : words;
    const split = args.findIndex((word) => /^-./.test(word) || word === "(" || word === "!");
    const paths = split < 0 ? args : args.slice(0, split);
    const walk: Walk = {
      process,
      nowSeconds: (await clockGetTime(process)).seconds,
      pruned: false,
      quit: false,
      failed: false,
      maxDepth: Number.POSITIVE_INFINITY,
      minDepth: 0,
      depthFirst: false,
      sameFileSystem: false,
      atEnd: [],
    };
    const test = await new ExpressionParser(walk, split < 0 ? [] : args.slice(split)).parse();
    for (const path of paths.length > 0 ? paths : ["."]) {
      await visitTree({ walk, test, follow }, path, { depth: 0, device: undefined });
      if (walk.quit) break;
    }
    for (const run of walk.atEnd) await run();
    return walk.failed ? 1 : 0;
  },
});

async function visitTree(
  search: { readonly walk: Walk; readonly test: Test; readonly follow: boolean },
  path: string,
  { depth, device }: { readonly depth: number; readonly device: number | undefined },
): Promise<void> {
  const { walk, test, follow } = search;
  const { process } = walk;
  try {
    const status = follow
      ? await stat(process, path).catch(() => lstat(process, path))
      : await lstat(process, path);
    const visit = { path, status, depth };
    walk.pruned = false;
    if (!walk.depthFirst && depth >= walk.minDepth) await test(walk, visit);
    const enters = isDirectory(status) && !walk.pruned && depth < walk.maxDepth && !walk.quit;
    const crosses = walk.sameFileSystem && device !== undefined && device !== status.st_dev;
    if (enters && !crosses) {
      for (const name of await listNames(process, path)) {
        await visitTree(search, joinPath(path, name), { depth: depth + 1, device: status.st_dev });
        if (walk.quit) return;
      }
    }
    if (walk.depthFirst && depth >= walk.minDepth) await test(walk, visit);
  } catch (error) {
    if (!(error instanceof SystemError) || error.call === "write") throw error;
    walk.failed = true;
    await complain(process, "find", `'${error.path ?? path}': ${error.errno.message}`);
  }
}

const TYPE_BITS: Readonly<Record<string, number>> = {
  b: S.IFBLK,
  c: S.IFCHR,
  d: S.IFDIR,
  f: S.IFREG,
  l: S.IFLNK,
  p: S.IFIFO,
  s: S.IFSOCK,
};

class ExpressionParser {
  readonly #walk: Walk;
  readonly #words: readonly string[];
  #at = 0;
  #hasAction = false;

  constructor(walk: Walk, words: readonly string[]) {
    this.#walk = walk;
    this.#words = words;
  }

  async parse(): Promise<Test> {
    const test = this.#words.length === 0 ? () => true : await this.#or();
    const word = this.#words[this.#at];
    if (word !== undefined)
      throw new ToolError(
        word === ")" ? "you have too many ')'" : `paths must precede expression: '${word}'`,
      );
    if (this.#hasAction) return test;
    return async (walk, visit) => (await test(walk, visit)) && print(walk, `${visit.path}\n`);
  }

  #argument(name: string): string {
    const word = this.#words[this.#at];
    if (word === undefined) throw new ToolError(`missing argument to '${name}'`);
    this.#at += 1;
    return word;
  }

  async #or(): Promise<Test> {
    const tests = [await this.#and()];
    while (this.#words[this.#at] === "-o" || this.#words[this.#at] === "-or") {
      this.#at += 1;
      tests.push(await this.#and());
    }
    if (tests.length === 1) return tests[0]!;
    return async (walk, visit) => {
      for (const test of tests) if (await test(walk, visit)) return true;
      return false;
    };
  }

  async #and(): Promise<Test> {
    const tests = [await this.#not()];
    for (;;) {
      const word = this.#words[this.#at];
      if (word === "-a" || word === "-and") this.#at += 1;
      else if (word === undefined || word === ")" || word === "-o" || word === "-or") break;
      tests.push(await this.#not());
    }
    return async (walk, visit) => {
      for (const test of tests) if (!(await test(walk, visit))) return false;
      return true;
    };
  }

  async #not(): Promise<Test> {
    const word = this.#words[this.#at];
    if (word === undefined) throw new ToolError("expected an expression");
    this.#at += 1;
    if (word === "!" || word === "-not") {
      const test = await this.#not();
      return async (walk, visit) => !(await test(walk, visit));
    }
    if (word === "(") {
      const test = await this.#or();
      if (this.#words[this.#at] !== ")")
        throw new ToolError("invalid expression; expected ')' but didn't see one");
      this.#at += 1;
      return test;
    }
    return (
      (await this.#option(word)) ?? (await this.#test(word)) ?? (await this.#action(word)) ?? unknown(word)
    );
  }

  /** Options that are always true and steer the walk. */
  #option(word: string): Promise<Test | undefined> {
    const walk = this.#walk;
    if (word === "-maxdepth") walk.maxDepth = numberArgument(word, this.#argument(word));
    else if (word === "-mindepth") walk.minDepth = numberArgument(word, this.#argument(word));
    else if (word === "-depth" || word === "-d") walk.depthFirst = true;
    else if (word === "-xdev" || word === "-mount") walk.sameFileSystem = true;
    else return Promise.resolve(undefined);
    return Promise.resolve(() => true);
  }

  async #test(word: string): Promise<Test | undefined> {
    switch (word) {
      case "-true":
        return () => true;
      case "-false":
        return () => false;
      case "-name":
      case "-iname":
      case "-path":
      case "-wholename":
      case "-ipath":
      case "-regex":
      case "-iregex":
        return nameTest(word, this.#argument(word));
      case "-type":
        return typeTest(this.#argument(word));
      case "-size":
        return sizeTest(this.#argument(word));
      case "-mtime":
      case "-atime":
      case "-ctime":
      case "-mmin":
      case "-amin":
      case "-cmin":
        return timeTest(word, this.#argument(word));
      case "-perm":
        return permissionTest(this.#argument(word));
      case "-links":
        return compareTest(this.#argument(word), ({ status }) => status.st_nlink);
      case "-inum":
        return compareTest(this.#argument(word), ({ status }) => status.st_ino);
      case "-newer":
        return newerTest(await stat(this.#walk.process, this.#argument(word)));
      case "-empty":
        return (walk, { path, status }) => isEmpty(walk.process, path, status);
      case "-nouser":
        return isUnknown(
          (await readUsers(this.#walk.process)).map(({ uid }) => uid),
          "st_uid",
        );
      case "-nogroup":
        return isUnknown(
          (await readGroups(this.#walk.process)).map(({ gid }) => gid),
          "st_gid",
        );
      case "-user":
        return ownerTest(await userId(this.#walk.process, this.#argument(word)), "st_uid");
      case "-group":
        return ownerTest(await groupId(this.#walk.process, this.#argument(word)), "st_gid");
      default:
        return undefined;
    }
  }

  #action(word: string): Promise<Test | undefined> {
    return Promise.resolve(this.#actionNow(word));
  }

  #actionNow(word: string): Test | undefined {
    if (word === "-prune") {
      return (walk) => {
        walk.pruned = true;
        return true;
      };
    }
    this.#hasAction = true;
    switch (word) {
      case "-print":
        return (walk, { path }) => print(walk, `${path}\n`);
      case "-print0":
        return (walk, { path }) => print(walk, `${path}\0`);
      case "-ls":
        return (walk, { path, status }) =>
          print(
            walk,
            `${status.st_ino} ${formatMode(status.st_mode)} ${status.st_nlink} ${status.st_size} ${path}\n`,
          );
      case "-delete":
        this.#walk.depthFirst = true;
        return deletePath;
      case "-quit":
        return (walk) => {
          walk.quit = true;
          return true;
        };
      case "-exec":
      case "-ok":
        return this.#exec(word);
      default:
        return undefined;
    }
  }

  #exec(word: string): Test {
    const command: string[] = [];
    for (;;) {
      const part = this.#argument(word);
      if (part === ";") return eachCommand(command, word === "-ok");
      if (part === "+" && command.at(-1) === "{}") break;
      command.push(part);
    }
    const gathered: string[] = [];
    const flush = async (): Promise<void> => {
      if (gathered.length === 0) return;
      if (!(await runCommand(this.#walk, [...command.slice(0, -1), ...gathered]))) this.#walk.failed = true;
    };
    this.#walk.atEnd.push(flush);
    return (_walk, { path }) => {
      gathered.push(path);
      return true;
    };
  }
}

function unknown(word: string): never {
  throw new ToolError(
    word.startsWith("-") ? `unknown predicate '${word}'` : `paths must precede expression: '${word}'`,
  );
}

function numberArgument(name: string, text: string): number {
  if (!/^\d+$/.test(text))
    throw new ToolError(`Expected a positive decimal integer argument to ${name}, but got '${text}'`);
  return Number(text);
}

/** `+5`, `-5`, `5` */
function compareNumber(text: string): (value: number) => boolean {
  const match = /^([-+]?)(\d+)$/.exec(text);
  if (match === null) throw new ToolError(`invalid argument '${text}'`);
  const wanted = Number(match[2]);
  if (match[1] === "+") return (value) => value > wanted;
  return match[1] === "-" ? (value) => value < wanted : (value) => value === wanted;
}

function compareTest(text: string, value: (visit: Visit) => number): Test {
  const compare = compareNumber(text);
  return (_walk, visit) => compare(value(visit));
}

function nameTest(word: string, pattern: string): Test {
  const ignoreCase = word.startsWith("-i");
  const matcher = word.endsWith("regex")
    ? pathRegex(pattern, ignoreCase)
    : patternRegex(pattern, { ignoreCase });
  const isWhole = /path|wholename|regex/.test(word);
  return (_walk, { path }) => withRegex(1, () => matcher.test(isWhole ? path : basename(path)));
}

const pathRegex = (pattern: string, ignoreCase: boolean): Regex =>
  withRegex(1, () => compileRegex(pattern, { syntax: "emacs", isLenient: true, ignoreCase, bounds: "line" }));

function typeTest(letters: string): Test {
  const bits = letters.split(",").map((letter) => TYPE_BITS[letter]);
  if (bits.includes(undefined)) throw new ToolError(`Unknown argument to -type: ${letters}`);
  return (_walk, { status }) => bits.includes(status.st_mode & S.IFMT);
}

const SIZE_UNITS: Readonly<Record<string, number>> = {
  "": 512,
  b: 512,
  c: 1,
  w: 2,
  k: 1024,
  M: 1024 ** 2,
  G: 1024 ** 3,
};

function sizeTest(text: string): Test {
  const unit = SIZE_UNITS[text.replace(/^[-+]?\d+/, "")];
  if (unit === undefined) throw new ToolError(`invalid -size type '${text.at(-1) ?? ""}'`);
  const compare = compareNumber(text.replace(/[a-zA-Z]$/, ""));
  return (_walk, { status }) => compare(Math.ceil(status.st_size / unit));
}

function timeTest(word: string, text: string): Test {
  const compare = compareNumber(text);
  const unit = word.endsWith("min") ? 60 : 86_400;
  return ({ nowSeconds }, { status }) => {
    const time = word[1] === "m" ? status.st_mtime : word[1] === "a" ? status.st_atime : status.st_ctime;
    return compare(Math.floor((nowSeconds - time) / unit));
  };
}

function permissionTest(text: string): Test {
  const kind = /^[-/]/.exec(text)?.[0] ?? "";
  const wanted = applyModeChange(text.slice(kind.length), { mode: 0, isDirectory: false, umask: 0 });
  if (wanted === undefined) throw new ToolError(`invalid mode '${text}'`);
  return (_walk, { status }) => {
    const mode = status.st_mode & 0o7777;
    if (kind === "-") return (mode & wanted) === wanted;
    return kind === "/" ? wanted === 0 || (mode & wanted) !== 0 : mode === wanted;
  };
}

const newerTest =
  (reference: FileStatus): Test =>
  (_walk, { status }) =>
    status.st_mtime > reference.st_mtime ||
    (status.st_mtime === reference.st_mtime && status.st_mtime_nsec > reference.st_mtime_nsec);

const isUnknown =
  (known: readonly number[], field: "st_uid" | "st_gid"): Test =>
  (_walk, { status }) =>
    !known.includes(status[field]);

const ownerTest =
  (id: number, field: "st_uid" | "st_gid"): Test =>
  (_walk, { status }) =>
    status[field] === id;

async function userId(process: Process, name: string): Promise<number> {
  const id =
    (await readUsers(process)).find((user) => user.name === name)?.uid ??
    (/^\d+$/.test(name) ? Number(name) : undefined);
  if (id === undefined) throw new ToolError(`'${name}' is not the name of a known user`);
  return id;
}

async function groupId(process: Process, name: string): Promise<number> {
  const id =
    (await readGroups(process)).find((group) => group.name === name)?.gid ??
    (/^\d+$/.test(name) ? Number(name) : undefined);
  if (id === undefined) throw new ToolError(`'${name}' is not the name of an existing group`);
  return id;
}

async function isEmpty(process: Process, path: string, status: FileStatus): Promise<boolean> {
  if (isDirectory(status)) return (await listNames(process, path)).length === 0;
  return isRegular(status) && status.st_size === 0;
}

async function print({ process }: Walk, text: string): Promise<boolean> {
  await process.stdout.write(text);
  return true;
}

async function deletePath({ process }: Walk, { path, status }: Visit): Promise<boolean> {
  if (path === ".") return true;
  if (isDirectory(status)) await rmdir(process, path);
  else await unlink(process, path);
  return true;
}

/** `-exec … ;`, and `-ok … ;`, which asks first. */
const eachCommand =
  (command: readonly string[], asks: boolean): Test =>
  async (walk, { path }) => {
    const argv = command.map((text) => text.replaceAll("{}", path));
    return (!asks || (await agrees(walk.process, argv))) && runCommand(walk, argv);
  };

async function agrees(process: Process, argv: readonly string[]): Promise<boolean> {
  await process.stdout.flush();
  await process.stderr.write(`< ${argv.join(" ")} > ? `);
  return /^[yY]/.test((await process.stdin.readLine()) ?? "");
}

async function runCommand({ process }: Walk, argv: readonly string[]): Promise<boolean> {
  await process.stdout.flush();
  try {
    return (await waitFor(process, await spawn(process, argv))) === 0;
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    await complain(process, "find", error.message);
    return false;
  }
}
