/** `npm test`: installs what is missing, runs every check with all tests, and ends with `N passed, N failed`. */
import { runChecks } from "./check.mjs";
import { ensureInstalled } from "./support/install.mjs";
import { ROOT } from "./support/root.mjs";

ensureInstalled(ROOT);
const { passed, failed } = runChecks();
process.stdout.write(`${passed} passed, ${failed} failed\n`);
process.exitCode = failed === 0 ? 0 : 1;
