/**
 * What an entry of /proc/<pid> is about: a thread group (`/proc/<pid>`) or one thread of it (`/proc/<pid>/task/<tid>`), and the
 * makers of entries. An entry stands for its task as long as the task is not released and has the same owner; after that its
 * name is looked up again (ENOENT), and what is still open answers ESRCH.
 */
import { EACCES, EINVAL, ESRCH, type Result } from "@alien-ts/abi";
import type { Cx } from "../../core/cx.ts";
import type { Kernel } from "../../core/kernel.ts";
import type { Task } from "../../core/task.ts";
import type { AddressSpace } from "../../mm/address-space.ts";
import type { FilesStruct } from "../../vfs/fd-table.ts";
import type { FsStruct } from "../../vfs/fs-struct.ts";
import { file, type FileOptions, type NodeOptions, type SimpleFile, type SimpleNode } from "../simple.ts";
import { mayRead } from "./access.ts";

export class Target {
  readonly kernel: Kernel;
  readonly task: Task;
  /** The whole group is meant, as in /proc/<pid>; its leader is `task`, if it is alive. */
  readonly isGroup: boolean;
  readonly #pid: number;
  readonly #uid: number;
  readonly #gid: number;

  constructor(task: Task, isGroup: boolean) {
    this.kernel = task.kernel;
    this.task = task;
    this.isGroup = isGroup;
    this.#pid = task.pid;
    this.#uid = task.cred.euid;
    this.#gid = task.cred.egid;
  }

  get pid(): number {
    return this.#pid;
  }

  get isAlive(): boolean {
    return this.kernel.pids.find(this.#pid) === this.task;
  }

  /** Of what a node about this task must have: owner, and when it stops standing for it (pid_revalidate). */
  get nodeOptions(): NodeOptions & { readonly isValid: () => boolean } {
    return { uid: this.#uid, gid: this.#gid, isValid: () => this.isCurrent };
  }

  /** Alive, and still of the owner that its nodes have. */
  get isCurrent(): boolean {
    return this.isAlive && this.task.cred.euid === this.#uid && this.task.cred.egid === this.#gid;
  }

  /** User memory; null for kernel threads and zombies. */
  get mm(): AddressSpace | null {
    return this.isAlive ? this.task.mm : null;
  }

  /** Descriptors; undefined once they are closed. */
  get files(): FilesStruct | undefined {
    return this.isAlive && this.task.t.files !== 0 ? this.task.files : undefined;
  }

  get fs(): FsStruct | undefined {
    return this.isAlive && this.task.t.fs !== 0 ? this.task.fs : undefined;
  }
}

/** One name in a process's directory. */
export interface PidEntry {
  readonly name: string;
  /** Where the entry stands: in /proc/<pid>, in task/<tid>, by default in both. */
  readonly only?: "process" | "thread";
  make(target: Target): SimpleNode;
}

export interface PidFileOptions extends Pick<FileOptions, "mode"> {
  /** Checked when it is opened (mm_access): EACCES. */
  readonly needsPtrace?: boolean;
  readonly only?: "process" | "thread";
  readonly write?: (cx: Cx, target: Target, text: string) => Result<unknown>;
}

/** A file about a task. Reading it for a task that is gone is ESRCH. */
export function pidFile(
  name: string,
  read: (cx: Cx, target: Target) => Result<string | Uint8Array>,
  options: PidFileOptions = {},
): PidEntry {
  const { write, only } = options;
  return {
    name,
    ...(only === undefined ? {} : { only }),
    make: (target): SimpleFile =>
      file((cx) => (target.isAlive ? read(cx, target) : ESRCH), {
        ...target.nodeOptions,
        ...(options.mode === undefined ? {} : { mode: options.mode }),
        ...(options.needsPtrace === true ? { open: (cx: Cx) => openChecked(cx, target) } : {}),
        ...(write === undefined
          ? { writeError: EINVAL }
          : { write: (cx: Cx, text: string) => (target.isAlive ? write(cx, target, text) : ESRCH) }),
      }),
  };
}

function openChecked(cx: Cx, target: Target): Result<0> {
  if (!target.isAlive) return ESRCH;
  return mayRead(cx, target.task) ? 0 : EACCES;
}
