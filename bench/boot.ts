/** How long a boot takes: in the bundle, up to the shell's first read or exec; and as a command, beside an empty Node process. */
import { spawnSync } from "node:child_process";
import { printTable } from "./measure.ts";

const RUNS = 5;

/** Milliseconds that a command takes, and its standard error. */
function time(command: string, args: readonly string[], cwd: string): { ms: number; stderr: string } {
  const start = performance.now();
  const { status, stderr } = spawnSync(command, args, {
    cwd,
    encoding: "utf8",
    stdio: ["ignore", "ignore", "pipe"],
  });
  const ms = performance.now() - start;
  if (status !== 0) throw new Error(`${command} ${args.join(" ")} exited with ${status}: ${stderr}`);
  return { ms, stderr };
}

const least = (measure: () => number): number => Math.min(...Array.from({ length: RUNS }, measure));

/** @param root the checkout; `bundle` the built command */
export function benchBoot(root: string, bundle: string): void {
  const boot = ["boot", "--quiet", "-c", "/bin/true"];
  const rows = [
    ["node -e 0", least(() => time(process.execPath, ["-e", "0"], root).ms)],
    [
      "first line of the bundle to the shell",
      least(() => shellReadyMs(time(process.execPath, [bundle, ...boot, "--timing"], root).stderr)),
    ],
    ["node alien.mjs boot -c /bin/true", least(() => time(process.execPath, [bundle, ...boot], root).ms)],
    [
      "npm run -s boot -- -c true",
      least(() => time("npm", ["run", "-s", "boot", "--", "-c", "true"], root).ms),
    ],
  ] as const;
  const base = rows[0][1];
  printTable(
    `Boot, minimum of ${RUNS}`,
    ["", "ms", "ratio"],
    rows.map(([name, ms]) => [name, ms.toFixed(1), `${(ms / base).toFixed(2)}x`]),
  );
}

function shellReadyMs(stderr: string): number {
  const found = /shell ready after ([\d.]+) ms/.exec(stderr)?.[1];
  if (found === undefined) throw new Error(`the shell never got ready: ${stderr}`);
  return Number(found);
}
