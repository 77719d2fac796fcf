/** Users and groups: /etc/passwd and /etc/group, passwd(5) and group(5). */
import { readFile } from "./files.ts";
import { SystemError } from "./errors.ts";
import type { Process } from "./process.ts";
import { linesOf } from "./text.ts";

export interface User {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
  readonly shell: string;
}

export interface Group {
  readonly name: string;
  readonly gid: number;
  readonly members: readonly string[];
}

async function records(process: Process, path: string): Promise<string[][]> {
  try {
    return linesOf(await readFile(process, path)).map((line) => line.split(":"));
  } catch (error) {
    if (error instanceof SystemError) return [];
    throw error;
  }
}

export async function readUsers(process: Process): Promise<User[]> {
  const lines = await records(process, "/etc/passwd");
  return lines
    .filter((fields) => fields.length >= 7)
    .map(([name = "", , uid, gid, , home = "/", shell = "/bin/sh"]) => ({
      name,
      uid: Number(uid),
      gid: Number(gid),
      home,
      shell,
    }));
}

export async function readGroups(process: Process): Promise<Group[]> {
  const lines = await records(process, "/etc/group");
  return lines
    .filter((fields) => fields.length >= 3)
    .map(([name = "", , gid, members = ""]) => ({
      name,
      gid: Number(gid),
      members: members === "" ? [] : members.split(","),
    }));
}

/** Looks names up by id; an id without a name is itself. */
export interface Names {
  user(uid: number): string;
  group(gid: number): string;
}

export async function readNames(process: Process): Promise<Names> {
  const users = new Map((await readUsers(process)).map(({ uid, name }) => [uid, name]));
  const groups = new Map((await readGroups(process)).map(({ gid, name }) => [gid, name]));
  return {
    user: (uid) => users.get(uid) ?? String(uid),
    group: (gid) => groups.get(gid) ?? String(gid),
  };
}
