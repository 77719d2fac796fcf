/**
 * `struct fs_struct`: a task's root, working directory and umask (Linux: fs/fs_struct.c). Shared by clone(CLONE_FS), else copied.
 */
import { ENOMEM, type KAddr, type Result, type ViewOf } from "@alien-ts/abi";
import type { Cx } from "../core/cx.ts";
import type { Kernel } from "../core/kernel.ts";
import type { Owned } from "../core/owner.ts";
import { path_get, path_put, type PathRef } from "./mount.ts";
import { writePath } from "./path.ts";
import { fs_struct } from "./structs.ts";

declare module "../core/task.ts" {
  interface Task {
    /** Root, working directory and umask; shared by clone(CLONE_FS). */
    fs: FsStruct;
  }
}

export class FsStruct implements Owned {
  readonly kernel: Kernel;
  readonly addr: KAddr;
  readonly t: ViewOf<typeof fs_struct>;
  #root: PathRef;
  #pwd: PathRef;

  private constructor(kernel: Kernel, addr: KAddr, root: PathRef, pwd: PathRef) {
    this.kernel = kernel;
    this.addr = addr;
    this.t = new (kernel.layout.view(fs_struct))(kernel.mem, addr);
    this.#root = path_get(root);
    this.#pwd = path_get(pwd);
    this.#write();
  }

  /** With one user, and references of its own to both places. ENOMEM. */
  static create(kernel: Kernel, root: PathRef, pwd: PathRef, umask: number): Result<FsStruct> {
    const addr = kernel.kmalloc.kzalloc(kernel.layout.size(fs_struct), "fs_struct");
    if (addr === 0) return ENOMEM;
    const made = new FsStruct(kernel, addr, root, pwd);
    kernel.kmalloc.setOwner(addr, made);
    made.t.users = 1;
    made.t.umask = umask;
    return made;
  }

  copy(): Result<FsStruct> {
    return FsStruct.create(this.kernel, this.#root, this.#pwd, this.umask);
  }

  share(): FsStruct {
    this.t.users += 1;
    return this;
  }

  put(cx: Cx): void {
    this.t.users -= 1;
    if (this.t.users > 0) return;
    path_put(cx, this.#root);
    path_put(cx, this.#pwd);
    this.kernel.kmalloc.kfree(this.addr);
  }

  get umask(): number {
    return this.t.umask;
  }
  set umask(mask: number) {
    this.t.umask = mask & 0o777;
  }
  get root(): PathRef {
    return this.#root;
  }
  get pwd(): PathRef {
    return this.#pwd;
  }

  setRoot(cx: Cx, place: PathRef): void {
    const old = this.#root;
    this.#root = path_get(place);
    this.#write();
    path_put(cx, old);
  }

  setPwd(cx: Cx, place: PathRef): void {
    const old = this.#pwd;
    this.#pwd = path_get(place);
    this.#write();
    path_put(cx, old);
  }

  #write(): void {
    const { kernel } = this;
    writePath(kernel, this.addr + kernel.layout.offset(fs_struct, "root"), this.#root.mnt, this.#root.dentry);
    writePath(kernel, this.addr + kernel.layout.offset(fs_struct, "pwd"), this.#pwd.mnt, this.#pwd.dentry);
  }
}
