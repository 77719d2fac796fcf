/** Where the checkout is. Interface: `ROOT`. */
import { fileURLToPath } from "node:url";

/** Absolute path of the checkout, without a slash at the end. */
export const ROOT = fileURLToPath(new URL("../..", import.meta.url)).replace(/[\\/]$/, "");
