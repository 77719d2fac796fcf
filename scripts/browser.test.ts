/**
 * The virtual machine in a browser's worker, from the same sources: Chromium opens a page of this test's server, and the page's
 * worker sends back what it found. Skipped where no Chromium is installed.
 */
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "esbuild";
import { expect, test } from "vitest";
import { ROOT } from "./support/root.mjs";

const BROWSERS = ["chromium", "chromium-browser", "google-chrome"] as const;
const browser = BROWSERS.find((name) => spawnSync(name, ["--version"]).status === 0);

const PAGE = `<!doctype html><script>
  const worker = new Worker("/worker.js");
  const send = (report) => fetch("/report", { method: "POST", body: JSON.stringify(report) });
  worker.onmessage = ({ data }) => send(data);
  worker.onerror = ({ message }) => send({ failures: [message] });
</script>`;

interface Report {
  readonly failures: readonly string[];
  readonly large?: { readonly moduleBytes: number };
}

/** What the worker reports that the browser's page starts. */
async function reportOf(name: string, script: string): Promise<Report> {
  const profile = mkdtempSync(join(tmpdir(), "alien-browser-"));
  const { server, report } = serve(script);
  try {
    await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
    const { port } = server.address() as AddressInfo;
    const flags = ["--headless", "--no-sandbox", "--disable-gpu", `--user-data-dir=${profile}`];
    const child = spawn(name, [...flags, `http://127.0.0.1:${port}/`], { stdio: "ignore" });
    const ended = new Promise<number | null>((resolve) => child.on("exit", resolve));
    const result = await Promise.race([report, ended]);
    child.kill();
    await ended;
    if (result === null || typeof result === "number") throw new Error(`${name} ended with status ${result}`);
    return result;
  } finally {
    server.close();
    server.closeAllConnections();
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** A server of the page and the worker's script, and what the page posts to it. */
function serve(script: string): { readonly server: Server; readonly report: Promise<Report> } {
  let take: (report: Report) => void;
  const report = new Promise<Report>((resolve) => (take = resolve));
  const server = createServer((request, response) => {
    if (request.url === "/report") {
      let body = "";
      request.on("data", (part) => (body += String(part)));
      request.on("end", () => {
        response.end();
        take(JSON.parse(body) as Report);
      });
      return;
    }
    const isScript = request.url === "/worker.js";
    response.setHeader("content-type", isScript ? "text/javascript" : "text/html");
    response.end(isScript ? script : PAGE);
  });
  return { server, report };
}

// Most machines that run the tests have no browser.
test.skipIf(browser === undefined)(
  "the JIT compiles synchronously in a browser's worker, and gives there what the reference gives",
  async () => {
    const { outputFiles } = await build({
      absWorkingDir: ROOT,
      entryPoints: ["scripts/fixtures/vm-worker.mjs"],
      bundle: true,
      format: "iife",
      platform: "browser",
      conditions: ["@alien-ts/source"],
      write: false,
      logLevel: "silent",
    });
    const report = await reportOf(browser!, outputFiles[0]!.text);
    expect(report).toMatchObject({ failures: [], runs: 500, large: { isCompiled: true, isEqual: true } });
    expect(report.large?.moduleBytes).toBeGreaterThan(4096);
  },
);
