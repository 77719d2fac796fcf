/** Tools about processes and who runs them: env, id, kill. */
import { ENOENT, NR } from "@alien-ts/abi";
import { readGroups, readNames, readUsers } from "../libc/accounts.ts";
import { execFromPath } from "../libc/children.ts";
import { ToolError, UsageError, errnoOf, failed } from "../libc/errors.ts";
import type { Process } from "../libc/process.ts";
import { LAST_NAMED_SIGNAL, kill as sendSignal, signalName, signalNumber } from "../libc/signals.ts";
import { withBlock } from "../libc/structs.ts";
import { complain, tool } from "../libc/tool.ts";

export const env = tool({
  name: "env",
  usage: "env [-i0] [-u NAME]... [NAME=VALUE]... [COMMAND [ARGUMENT]...]",
  usageStatus: 125,
  options: "i0u:C:",
  long: { "ignore-environment": "i", null: "0", unset: "u", chdir: "C" },
  stopAtOperand: true,
  main: async (process, { options, operands }) => {
    const variables = new Map(options.has("i") || operands[0] === "-" ? [] : process.env);
    for (const name of options.values("u")) variables.delete(name);
    let i = operands[0] === "-" ? 1 : 0;
    for (; operands[i]?.includes("=") === true; i++) {
      const equals = operands[i]!.indexOf("=");
      variables.set(operands[i]!.slice(0, equals), operands[i]!.slice(equals + 1));
    }
    const command = operands.slice(i);
    if (command.length === 0) {
      for (const [name, value] of variables)
        await process.stdout.write(`${name}=${value}${options.has("0") ? "\0" : "\n"}`);
      return 0;
    }
    const path = variables.get("PATH") ?? process.env.get("PATH") ?? "/bin:/usr/bin";
    const failure = await execFromPath(process, command, variables, path);
    throw new ToolError(
      `'${command[0]!}': ${errnoOf(failure).message}`,
      failure === -ENOENT.number ? 127 : 126,
    );
  },
});

export const id = tool({
  name: "id",
  usage: "id [-Ggnru] [USER]",
  options: "Ggnru",
  long: { group: "g", groups: "G", name: "n", real: "r", user: "u" },
  main: async (process, { options, operands }) => {
    const who =
      operands[0] === undefined
        ? await currentIds(process, options.has("r"))
        : await idsOf(process, operands[0]);
    const names = await readNames(process);
    const kind = options.last("u", "g", "G");
    if (kind === undefined) {
      if (options.has("n") || options.has("r"))
        throw new ToolError("cannot print only names or real IDs in default format");
      const groups = who.groups.map((gid) => `${gid}(${names.group(gid)})`).join(",");
      await process.stdout.writeLine(
        `uid=${who.uid}(${names.user(who.uid)}) gid=${who.gid}(${names.group(who.gid)}) groups=${groups}`,
      );
      return 0;
    }
    const user = (uid: number): string => (options.has("n") ? names.user(uid) : String(uid));
    const group = (gid: number): string => (options.has("n") ? names.group(gid) : String(gid));
    const text =
      kind === "u"
        ? user(who.uid)
        : kind === "g"
          ? group(who.gid)
          : who.groups.map((gid) => group(gid)).join(" ");
    await process.stdout.writeLine(text);
    return 0;
  },
});

interface Ids {
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
}

async function currentIds(process: Process, real: boolean): Promise<Ids> {
  const uid = await process.trap(real ? NR.getuid : NR.geteuid);
  const gid = await process.trap(real ? NR.getgid : NR.getegid);
  const others = await withBlock(process, 4 * 64, async (addr) => {
    const count = await process.trap(NR.getgroups, 64, addr);
    return failed(count) ? [] : Array.from({ length: count }, (_, i) => process.memory.readU32(addr + 4 * i));
  });
  return { uid, gid, groups: [...new Set([gid, ...others])] };
}

async function idsOf(process: Process, name: string): Promise<Ids> {
  const user = (await readUsers(process)).find((each) => each.name === name || String(each.uid) === name);
  if (user === undefined) throw new ToolError(`'${name}': no such user`);
  const groups = (await readGroups(process))
    .filter(({ members }) => members.includes(user.name))
    .map(({ gid }) => gid);
  return { uid: user.uid, gid: user.gid, groups: [...new Set([user.gid, ...groups])] };
}

export const kill = tool({
  name: "kill",
  usage: "kill [-s SIGNAL | -SIGNAL] PID... | kill -l [SIGNAL]...",
  options: "",
  raw: true,
  main: async (process, { words }) => {
    if (words[0] === "-l" || words[0] === "-L") return listSignals(process, words.slice(1));
    const isNamed = words[0] === "-s" || words[0] === "-n";
    const isShort = !isNamed && words[0] !== "--" && /^-./.test(words[0] ?? "");
    const name = isNamed ? (words[1] ?? "") : isShort ? words[0]!.slice(1) : "TERM";
    const signal = signalNumber(name);
    if (signal === undefined) throw new UsageError(`unknown signal '${name}'`);
    const pids = words.slice(isNamed ? 2 : isShort ? 1 : 0).filter((word) => word !== "--");
    if (pids.length === 0) throw new UsageError("not enough arguments");
    let status = 0;
    for (const pid of pids) {
      const result = /^-?\d+$/.test(pid) ? await sendSignal(process, Number(pid), signal) : undefined;
      if (result !== undefined && !failed(result)) continue;
      const problem =
        result === undefined ? `failed to parse argument: '${pid}'` : `(${pid}): ${errnoOf(result).message}`;
      await complain(process, "kill", problem);
      status = 1;
    }
    return status;
  },
});

async function listSignals(process: Process, operands: readonly string[]): Promise<number> {
  const all = Array.from({ length: LAST_NAMED_SIGNAL }, (_, i) => signalName(i + 1));
  if (operands.length === 0) {
    await process.stdout.writeLine(all.join(" "));
    return 0;
  }
  for (const text of operands) {
    const number = Number(text);
    const name = Number.isNaN(number) ? signalNumber(text) : signalName(number > 128 ? number - 128 : number);
    if (name === undefined) throw new ToolError(`unknown signal '${text}'`);
    await process.stdout.writeLine(String(name));
  }
  return 0;
}
