/**
 * Redirections, XCU 2.7. Their words are expanded first, in the shell; then they are applied in order, to the shell itself
 * (with what they replace saved) or in a child that is about to run a command.
 */
import { F, MFD, NR, O, SEEK } from "@alien-ts/abi";
import { check, failed } from "../libc/errors.ts";
import { close, isRegular, open, pipe, tryStat, writeAll } from "../libc/files.ts";
import type { Process } from "../libc/process.ts";
import { withString } from "../libc/structs.ts";
import type { Redirect } from "./ast.ts";
import { type ExpansionHost, expandText } from "./expand.ts";
import { ShellError } from "./variables.ts";

export interface ResolvedRedirect {
  readonly fd: number;
  readonly operator: Redirect["operator"];
  readonly text: string;
}

/** A descriptor that was replaced, and its copy; -1 where it was closed. */
export interface SavedDescriptor {
  readonly fd: number;
  readonly copy: number;
}

/** First descriptor that the shell uses for itself: scripts name those below. */
export const FIRST_PRIVATE_FD = 10;

/** Bytes that a pipe holds while nobody reads. */
const PIPE_CAPACITY = 65_536;

export async function resolveRedirects(
  host: ExpansionHost,
  redirects: readonly Redirect[],
): Promise<ResolvedRedirect[]> {
  const resolved: ResolvedRedirect[] = [];
  for (const { fd, operator, target } of redirects) {
    resolved.push({ fd, operator, text: await expandText(host, target) });
  }
  return resolved;
}

/** Applies in order; with `saved`, what is replaced goes there. Throws `SystemError` with the path. */
export async function applyRedirects(
  process: Process,
  redirects: readonly ResolvedRedirect[],
  options: { readonly noclobber: boolean; readonly saved?: SavedDescriptor[] },
): Promise<void> {
  for (const redirect of redirects) {
    if (options.saved !== undefined) options.saved.push(await saveDescriptor(process, redirect.fd));
    await applyOne(process, redirect, options.noclobber);
  }
}

export async function restoreDescriptors(process: Process, saved: readonly SavedDescriptor[]): Promise<void> {
  for (const { fd, copy } of saved.toReversed()) {
    if (copy < 0) await process.trap(NR.close, fd);
    else {
      await process.trap(NR.dup3, copy, fd, 0);
      await close(process, copy);
    }
  }
}

async function saveDescriptor(process: Process, fd: number): Promise<SavedDescriptor> {
  const copy = await process.trap(NR.fcntl, fd, F.DUPFD_CLOEXEC, FIRST_PRIVATE_FD);
  return { fd, copy: failed(copy) ? -1 : copy };
}

async function applyOne(process: Process, redirect: ResolvedRedirect, noclobber: boolean): Promise<void> {
  const { fd, operator, text } = redirect;
  if (operator === "<&" || operator === ">&") return duplicate(process, fd, text);
  const source =
    operator === "<<" ? await openDocument(process, text) : await openTarget(process, redirect, noclobber);
  if (source === fd) {
    await process.trap(NR.fcntl, fd, F.SETFD, 0);
    return;
  }
  check(await process.trap(NR.dup3, source, fd, 0), "dup3", String(fd));
  await close(process, source);
}

async function openTarget(
  process: Process,
  { operator, text }: ResolvedRedirect,
  noclobber: boolean,
): Promise<number> {
  switch (operator) {
    case "<":
      return open(process, text, O.RDONLY | O.CLOEXEC);
    case "<>":
      return open(process, text, O.RDWR | O.CREAT | O.CLOEXEC);
    case ">>":
      return open(process, text, O.WRONLY | O.CREAT | O.APPEND | O.CLOEXEC);
    default: {
      if (operator === ">" && noclobber) {
        const status = await tryStat(process, text);
        if (typeof status !== "number" && isRegular(status)) {
          throw new ShellError(`cannot create ${text}: File exists`, 1);
        }
      }
      return open(process, text, O.WRONLY | O.CREAT | O.TRUNC | O.CLOEXEC);
    }
  }
}

async function duplicate(process: Process, fd: number, text: string): Promise<void> {
  if (text === "-") {
    await process.trap(NR.close, fd);
    return;
  }
  if (!/^\d+$/.test(text)) throw new ShellError(`${text}: bad file descriptor`, 1);
  const source = Number(text);
  if (source === fd) check(await process.trap(NR.fcntl, fd, F.GETFD), "fcntl", text);
  else check(await process.trap(NR.dup3, source, fd, 0), "dup3", text);
}

/** A descriptor to read the text of a here-document from: a pipe where it fits, else a file in memory. */
async function openDocument(process: Process, text: string): Promise<number> {
  if (text.length <= PIPE_CAPACITY) {
    const [read, write] = await pipe(process);
    await writeAll(process, write, text);
    await close(process, write);
    return read;
  }
  const created = await withString(process, "here-document", (name) =>
    process.trap(NR.memfd_create, name, MFD.CLOEXEC),
  );
  const fd = check(created, "memfd_create");
  await writeAll(process, fd, text);
  check(await process.trap(NR.lseek, fd, 0, SEEK.SET), "lseek");
  return fd;
}
