/** `npm run boot -- ARGS`: installs what is missing, builds what is stale, and runs `alien boot ARGS`. */
import { runAlien } from "./support/alien.mjs";
import { ensureInstalled } from "./support/install.mjs";
import { ROOT } from "./support/root.mjs";

ensureInstalled(ROOT);
await runAlien(["boot", ...process.argv.slice(2)]);
