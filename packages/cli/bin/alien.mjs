#!/usr/bin/env node
/**
 * The `alien` command of a checkout: builds the bundle where its sources changed, and runs it. Plain JavaScript, so that
 * `npx alien …` works right after an install.
 */
const support = new URL("../../../scripts/support/alien.mjs", import.meta.url);
const { runAlien } = await import(support.href);
await runAlien(process.argv.slice(2));
