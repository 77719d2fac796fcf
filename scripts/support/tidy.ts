/**
 * The house rules that no other tool checks, as functions from source files to complaints.
 *
 * Interface: `RULES`; a rule is a name, what it says, and `check(files)`, which gives a line per violation, `path:line: what to do
 * instead`. `sourceText` blanks comments and the insides of strings, so that rules see code only.
 */
import { dirname, join, normalize } from "node:path/posix";

export interface SourceFile {
  /** From the root of the checkout, with slashes. */
  readonly path: string;
  readonly text: string;
}

export interface Rule {
  /** A sentence that holds when there are no complaints. */
  readonly name: string;
  check(files: readonly SourceFile[]): string[];
}

/** Folders of the kernel, lowest first: a file may import from its own folder and from lower ones. */
const KERNEL_LAYERS = [
  "arch",
  "core",
  "mm",
  "sched",
  "task",
  "vfs",
  "ipc",
  "fs",
  "net",
  "trace",
  "bpf",
  "syscalls",
  "(root)",
];

const FILE_LINES = 700;
const README_LINES = 80;
/** Longer than other files may be, because they are tables that are read by searching. */
const TABLES: readonly string[] = [];
const GENERATED = /\.object\.ts$/;

/** Where an allocation per operation would be felt: 64-bit values are pairs of words here. */
const HOT_FILES: readonly string[] = [
  "packages/bpf-vm/src/interpreter.ts",
  "packages/kernel/src/arch/riscv64/arithmetic.ts",
  "packages/kernel/src/arch/riscv64/cpu.ts",
  "packages/kernel/src/core/row.ts",
  "packages/userland/src/host/task.ts",
];

const TEST = /\.test(-d)?\.ts$|(^|\/)test\//;
/** Fakes and harnesses for tests, which stand beside the sources. */
const TESTING = /(^|[/-])testing(-[a-z-]+)?(\.ts$|\/)|^packages\/test(ing|kit)\//;
const APPS = /^(packages\/cli|packages\/testing|tools|scripts|bench)\//;
const USER_SIDE = /^(packages\/(aya-ts|userland|cli|testing)|tools|scripts|bench|examples)\//;

interface Ban {
  readonly pattern: RegExp;
  readonly instead: string;
  /** Paths where it may be used. */
  readonly allowed?: RegExp;
  /** Whether tests may use it. */
  readonly inTests: boolean;
}

/** What may not be called, and what does the job. */
const BANS: readonly Ban[] = [
  {
    pattern: /\bDate\.now\(|\bperformance\.now\(|\bnew Date\(\)/,
    instead: "the kernel's Clock",
    allowed: APPS,
    inTests: false,
  },
  {
    pattern: /\bMath\.random\(/,
    instead: "the kernel's Prng, or testkit's with a seed that is printed",
    inTests: false,
  },
  {
    pattern: /\bset(Timeout|Immediate)\(|\bsetInterval\(\(/,
    instead: "a timer of the kernel, or the executor's sleep",
    allowed: APPS,
    inTests: true,
  },
  {
    pattern: /\bconsole\.(log|warn|error|info|debug|trace)\(/,
    instead: "printk",
    allowed: APPS,
    inTests: false,
  },
  {
    pattern: /\bprocess\.(argv|exit|exitCode|hrtime|platform|cwd|nextTick|versions?)\b/,
    instead: "a parameter that the app passes in",
    allowed: USER_SIDE,
    inTests: true,
  },
  {
    pattern: /\b(async|await)\b/,
    instead: "a generator that returns Blocking<T>, where Linux sleeps",
    allowed: USER_SIDE,
    inTests: true,
  },
  { pattern: /\bPromise\b/, instead: "a wait queue, where Linux sleeps", allowed: USER_SIDE, inTests: true },
  { pattern: /\bas any\b|:\s*any\b(?!\()/, instead: "the type, or unknown", inTests: false },
];

export const RULES: readonly Rule[] = [
  { name: "every source file opens by saying what it is", check: checkHeaders },
  { name: "nothing banned is called", check: (files) => checkBans(files) },
  { name: "no library imports a module of Node", check: checkNodeImports },
  { name: "hot files make no BigInt", check: checkHotFiles },
  { name: "imports inside the kernel point down", check: checkKernelLayers },
  { name: "relative imports stay inside their package", check: checkRelativeImports },
  { name: "files end before line 700", check: checkFileLengths },
  { name: "every row is an exported constant of a listed file", check: checkRows },
  { name: "every structure is an exported constant of a listed file", check: checkStructures },
  { name: "every package has a README of at most 80 lines", check: checkReadmes },
  { name: "no test is focused, and a skipped one says why", check: checkSkippedTests },
  { name: "work that is left has an issue number", check: checkTodos },
  { name: "no file names a machine's paths or a registry", check: checkAddresses },
];

const isCode = (path: string): boolean => /\.(ts|mjs)$/.test(path) && !GENERATED.test(path);
const isLibrarySource = ({ path }: SourceFile): boolean =>
  /^(packages|tools)\/[^/]+\/src\/.*\.ts$/.test(path) && !TEST.test(path);

/** A complaint for each line of `text` that matches. */
function complain(path: string, text: string, pattern: RegExp, what: string): string[] {
  return text.split("\n").flatMap((line, i) => (pattern.test(line) ? [`${path}:${i + 1}: ${what}`] : []));
}

function checkHeaders(files: readonly SourceFile[]): string[] {
  return files
    .filter((file) => isLibrarySource(file) || /^(scripts|bench)\/.*\.(mjs|ts)$/.test(file.path))
    .filter(({ path }) => !TEST.test(path))
    .filter(({ text }) => !/^(#!.*\n)?\/\*\*/.test(text))
    .map(({ path }) => `${path}:1: open with a comment: what it is, its interface, its invariants`);
}

function checkBans(files: readonly SourceFile[]): string[] {
  return files
    .filter(({ path }) => isCode(path))
    .flatMap(({ path, text }) => {
      const isTest = TEST.test(path) || TESTING.test(path);
      const bans = BANS.filter(
        ({ allowed, inTests }) => !(inTests && isTest) && allowed?.test(path) !== true,
      );
      if (bans.length === 0) return [];
      const code = sourceText(text);
      return bans.flatMap(({ pattern, instead }) => complain(path, code, pattern, `use ${instead}`));
    });
}

function checkNodeImports(files: readonly SourceFile[]): string[] {
  return files
    .filter(({ path }) => /^(packages|tools|examples)\//.test(path) && isCode(path))
    .filter(({ path }) => !APPS.test(path) && !TEST.test(path))
    .flatMap(({ path, text }) =>
      complain(path, text, /(from|import)\s*\(?\s*"node:/, "use a parameter that the app passes in"),
    );
}

function checkHotFiles(files: readonly SourceFile[]): string[] {
  return files
    .filter(({ path }) => HOT_FILES.includes(path))
    .flatMap(({ path, text }) =>
      complain(path, sourceText(text), /\bBigInt\b|\b\d+n\b|\.[gs]etBigU?[Ii]nt64\(/, "use two 32-bit words"),
    );
}

interface Import {
  readonly line: number;
  /** Path from the root of the checkout. */
  readonly target: string;
}

/** Relative imports of a file: of values and of types, static and dynamic, and re-exports. */
function relativeImports({ path, text }: SourceFile): Import[] {
  return text.split("\n").flatMap((content, i) =>
    [...content.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*"(\.[^"]*)"/g)].map(([, to = ""]) => ({
      line: i + 1,
      target: normalize(join(dirname(path), to)),
    })),
  );
}

function checkKernelLayers(files: readonly SourceFile[]): string[] {
  const folderOf = (path: string): string => /^packages\/kernel\/src\/([^/]+)\//.exec(path)?.[1] ?? "(root)";
  const sources = files.filter(
    (file) => file.path.startsWith("packages/kernel/src/") && isLibrarySource(file),
  );
  const unknown = sources
    .filter(({ path }) => !KERNEL_LAYERS.includes(folderOf(path)))
    .map(({ path }) => `${path}:1: the folder ${folderOf(path)} is no layer of the kernel`);
  const upward = sources
    .filter(({ path }) => !TESTING.test(path))
    .flatMap((file) => {
      const own = KERNEL_LAYERS.indexOf(folderOf(file.path));
      return relativeImports(file)
        .filter(({ target }) => KERNEL_LAYERS.indexOf(folderOf(target)) > own)
        .map(
          ({ line, target }) =>
            `${file.path}:${line}: ${target} is above it: declare an interface here, and pass it in`,
        );
    });
  return [...unknown, ...upward];
}

function checkRelativeImports(files: readonly SourceFile[]): string[] {
  return files
    .filter(({ path }) => isCode(path))
    .flatMap((file) => {
      const home = /^(?:packages|tools|examples)\/[^/]+\//.exec(file.path)?.[0];
      if (home === undefined) return [];
      return relativeImports(file)
        .filter(({ target }) => !target.startsWith(home))
        .map(({ line, target }) => `${file.path}:${line}: import ${target} by its package's name`);
    });
}

function checkFileLengths(files: readonly SourceFile[]): string[] {
  return files
    .filter(
      ({ path, text }) => isCode(path) && !TABLES.includes(path) && text.split("\n").length - 1 > FILE_LINES,
    )
    .map(({ path, text }) => `${path}:${text.split("\n").length - 1}: split it along a seam`);
}

const ROW_MAKER = /\b(kernelFn|sleepingFn|blockingFn|syscall)\(/;
/** The makers themselves. */
const ROW_MAKERS = ["packages/kernel/src/core/row.ts", "packages/kernel/src/core/syscall.ts"];

function checkRows(files: readonly SourceFile[]): string[] {
  const sources = files.filter(
    (file) =>
      file.path.startsWith("packages/kernel/src/") &&
      isLibrarySource(file) &&
      !TESTING.test(file.path) &&
      !ROW_MAKERS.includes(file.path),
  );
  const lists = sources.filter(({ path }) =>
    /^packages\/kernel\/src\/(text\.ts|syscalls\/(table|index)\.ts)$/.test(path),
  );
  const listed = new Set(lists.flatMap((file) => relativeImports(file).map(({ target }) => target)));
  return sources.flatMap(({ path, text }) => {
    const lines = sourceText(text).split("\n");
    const rows = lines.flatMap((line, i) => (ROW_MAKER.test(line) ? [i] : []));
    if (rows.length === 0) return [];
    const loose = rows
      .filter((i) => !isExportedConstant(lines, i))
      .map((i) => `${path}:${i + 1}: make the row an exported constant`);
    return listed.has(path)
      ? loose
      : [...loose, `${path}:${rows[0]! + 1}: list the file in packages/kernel/src/text.ts`];
  });
}

const STRUCT_MAKER = /\b(struct|abiStruct|typedefStruct|union)\(/;

/** Structures that the kernel's BTF would not tell of. */
function checkStructures(files: readonly SourceFile[]): string[] {
  const sources = files.filter(
    (file) =>
      file.path.startsWith("packages/kernel/src/") &&
      isLibrarySource(file) &&
      !TESTING.test(file.path) &&
      // What an architecture declares is in its `types`.
      !file.path.startsWith("packages/kernel/src/arch/"),
  );
  const lists = sources.filter(({ path }) => /^packages\/kernel\/src\/(text|types)\.ts$/.test(path));
  const listed = new Set(lists.flatMap((file) => relativeImports(file).map(({ target }) => target)));
  return sources.flatMap(({ path, text }) => {
    const lines = sourceText(text).split("\n");
    const found = lines.flatMap((line, i) => (STRUCT_MAKER.test(line) ? [i] : []));
    if (found.length === 0) return [];
    const loose = found
      .filter((i) => !isExportedConstant(lines, i))
      .map((i) => `${path}:${i + 1}: make the structure an exported constant`);
    return listed.has(path)
      ? loose
      : [...loose, `${path}:${found[0]! + 1}: list the file in packages/kernel/src/types.ts`];
  });
}

/** Whether the expression on line `i` is the value of an `export const`, on this line or begun on one before. */
function isExportedConstant(lines: readonly string[], i: number): boolean {
  const start = /^export const \w+(: [^=]+)? =/;
  return (
    start.test(lines[i]!) ||
    (/^\s+\w+\(/.test(lines[i]!) && start.test(lines[i - 1] ?? "") && /=\s*$/.test(lines[i - 1]!))
  );
}

function checkReadmes(files: readonly SourceFile[]): string[] {
  return files.flatMap(({ path }) => {
    const home = /^((?:packages|tools|examples)\/[^/]+)\/package\.json$/.exec(path)?.[1];
    if (home === undefined) return [];
    const readme = files.find((file) => file.path === `${home}/README.md`);
    if (readme === undefined) return [`${home}/README.md:1: is missing`];
    const count = readme.text.split("\n").length - 1;
    return count > README_LINES
      ? [`${home}/README.md:${count}: a front page has at most ${README_LINES} lines`]
      : [];
  });
}

function checkSkippedTests(files: readonly SourceFile[]): string[] {
  return files
    .filter(({ path }) => TEST.test(path))
    .flatMap(({ path, text }) => {
      const code = sourceText(text).split("\n");
      const raw = text.split("\n");
      return code.flatMap((line, i) => {
        if (/\b(test|it|describe)(\.\w+)*\.only\b/.test(line)) return [`${path}:${i + 1}: run all tests`];
        const isSkipped = /\b(test|it|describe)(\.\w+)*\.(skip|skipIf|todo)\b/.test(line);
        const hasReason = /\/\/ \S/.test(raw[i]!) || /^\s*\/\/ \S/.test(raw[i - 1] ?? "");
        return isSkipped && !hasReason ? [`${path}:${i + 1}: say in a comment why`] : [];
      });
    });
}

function checkTodos(files: readonly SourceFile[]): string[] {
  return files
    .filter(({ path }) => isCode(path))
    .flatMap(({ path, text }) =>
      complain(path, text, /\b(TO[D]O|FIX[M]E|X[X]X|HAC[K])\b(?! #\d)/, "name an issue, or do it now"),
    );
}

/** Written so that this file does not match. */
const ADDRESSES =
  /(^|[^\w./])\/(wor[k]|far[m])\/[a-z]|\/tmp\/(bash_job[s]|sca[f])|"resolved": *"http|registry\.npm[j]s/;

function checkAddresses(files: readonly SourceFile[]): string[] {
  return files.flatMap(({ path, text }) =>
    complain(path, text, ADDRESSES, "name nothing of a machine or a registry"),
  );
}

/** The text with comments and the insides of strings and regular expressions blanked; lines stay where they are. */
export function sourceText(text: string): string {
  let result = "";
  for (let at = 0; at < text.length;) {
    const end = skippedEnd(text, at, result);
    if (end === at) {
      result += text[at++];
      continue;
    }
    result += text.slice(at, end).replaceAll(/[^\n]/g, " ");
    at = end;
  }
  return result;
}

/** End of the comment, string or regular expression that begins at `at`; `at` where none does. `before` is the code so far. */
function skippedEnd(text: string, at: number, before: string): number {
  const two = text.slice(at, at + 2);
  if (two === "//") return endOf(text, "\n", at, 0);
  if (two === "/*") return endOf(text, "*/", at + 2, 2);
  const first = text[at]!;
  if (first === '"' || first === "'" || first === "`") return quotedEnd(text, at, first);
  const opensRegex = first === "/" && /(^|[(,=:[!&|?{};]|=>|\breturn|\bcase)\s*$/.test(before.slice(-40));
  return opensRegex ? regexEnd(text, at) : at;
}

function endOf(text: string, mark: string, from: number, length: number): number {
  const found = text.indexOf(mark, from);
  return found < 0 ? text.length : found + length;
}

function quotedEnd(text: string, at: number, quote: string): number {
  let i = at + 1;
  while (i < text.length && text[i] !== quote) i += text[i] === "\\" ? 2 : 1;
  return Math.min(i + 1, text.length);
}

function regexEnd(text: string, at: number): number {
  let isInClass = false;
  for (let i = at + 1; i < text.length && text[i] !== "\n"; i++) {
    if (text[i] === "\\") i += 1;
    else if (text[i] === "[") isInClass = true;
    else if (text[i] === "]") isInClass = false;
    else if (text[i] === "/" && !isInClass) return i + 1;
  }
  return at;
}
