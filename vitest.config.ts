/** One vitest process, one project per package; sources are used as they are, without a build. */
import { existsSync, readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const source = ["@alien-ts/source"];
const packages = ["packages", "tools"].flatMap((root) =>
  readdirSync(root)
    .filter((name) => existsSync(`${root}/${name}/package.json`))
    .map((name) => ({ name, root: `${root}/${name}` })),
);

export default defineConfig({
  resolve: { conditions: source },
  ssr: { resolve: { conditions: source, externalConditions: source } },
  test: {
    // How long a test takes says how busy the machine is; the limit is there for what hangs.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    setupFiles: [fileURLToPath(new URL("scripts/test-variant.setup.ts", import.meta.url))],
    projects: [
      ...packages.map(({ name, root }) => ({
        extends: true as const,
        test: { name, root, include: ["src/**/*.test.ts", "test/**/*.test.ts"] },
      })),
      { extends: true as const, test: { name: "scripts", include: ["scripts/**/*.test.ts"] } },
    ],
  },
});
