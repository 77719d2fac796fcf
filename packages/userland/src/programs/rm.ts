/** rm(1). */
import { ENOENT } from "@alien-ts/abi";
import { listNames } from "../libc/directories.ts";
import { SystemError, UsageError, isErrno } from "../libc/errors.ts";
import { accessible, isDirectory, isSymlink, lstat, rmdir, unlink } from "../libc/files.ts";
import type { Options } from "../libc/getopt.ts";
import type { Process } from "../libc/process.ts";
import { isTerminal } from "../libc/terminal.ts";
import { basename, joinPath } from "../libc/text.ts";
import { complain, tool } from "../libc/tool.ts";

export const rm = tool({
  name: "rm",
  usage: "rm [-dfiRrv] FILE...",
  options: "dfiRrv",
  long: { force: "f", recursive: "r", verbose: "v", dir: "d" },
  main: async (process, { options, operands }) => {
    if (operands.length === 0 && !options.has("f")) throw new UsageError("missing operand");
    const remover = new Remover(process, options);
    for (const path of operands) await remover.removeOperand(path);
    return remover.status;
  },
});

class Remover {
  readonly #process: Process;
  readonly #options: Options;
  readonly #isForced: boolean;
  readonly #isRecursive: boolean;
  status = 0;

  constructor(process: Process, options: Options) {
    this.#process = process;
    this.#options = options;
    this.#isForced = options.last("f", "i") === "f";
    this.#isRecursive = options.has("r") || options.has("R");
  }

  async removeOperand(path: string): Promise<void> {
    const name = basename(path);
    if (name === "." || name === ".." || name === "/") {
      return this.#fail(`refusing to remove '.' or '..' directory: skipping '${path}'`);
    }
    await this.#remove(path);
  }

  async #fail(message: string): Promise<void> {
    this.status = 1;
    await complain(this.#process, "rm", message);
  }

  async #remove(path: string): Promise<void> {
    const process = this.#process;
    try {
      const status = await lstat(process, path);
      if (isDirectory(status)) return await this.#removeDirectory(path);
      if (!(await this.#agrees(`remove file '${path}'`, path, isSymlink(status)))) return;
      await unlink(process, path);
      await this.#tell(`removed '${path}'`);
    } catch (error) {
      if (!(error instanceof SystemError) || error.call === "write") throw error;
      if (this.#isForced && isErrno(error, ENOENT)) return;
      await this.#fail(`cannot remove '${error.path ?? path}': ${error.errno.message}`);
    }
  }

  async #removeDirectory(path: string): Promise<void> {
    if (!this.#isRecursive && !this.#options.has("d")) {
      return this.#fail(`cannot remove '${path}': Is a directory`);
    }
    if (this.#isRecursive) {
      const names = await listNames(this.#process, path);
      if (names.length > 0 && this.#asks() && !(await this.#ask(`descend into directory '${path}'`))) return;
      for (const name of names) await this.#remove(joinPath(path, name));
    }
    if (this.#asks() && !(await this.#ask(`remove directory '${path}'`))) return;
    await rmdir(this.#process, path);
    await this.#tell(`removed directory '${path}'`);
  }

  #asks(): boolean {
    return this.#options.last("f", "i") === "i";
  }

  /** Asks with `-i`, and before a file that is write-protected when a person is there. */
  async #agrees(question: string, path: string, isLink: boolean): Promise<boolean> {
    if (this.#asks()) return this.#ask(question);
    if (this.#isForced || isLink) return true;
    if ((await accessible(this.#process, path, 2)) || !(await isTerminal(this.#process, 0))) return true;
    return this.#ask(question.replace("remove file", "remove write-protected file"));
  }

  async #ask(question: string): Promise<boolean> {
    await this.#process.stderr.write(`rm: ${question}? `);
    return /^[yY]/.test((await this.#process.stdin.readLine()) ?? "");
  }

  async #tell(text: string): Promise<void> {
    if (this.#options.has("v")) await this.#process.stdout.write(`${text}\n`);
  }
}
