/** A directory of sysfs: what a kernel object is (Linux: sysfs_create_dir_ns()). */
import { dir, type SimpleDir, type SimpleNode } from "../simple.ts";

export const FOLDER_MODE = 0o755;

export const folder = (children: Readonly<Record<string, SimpleNode>>): SimpleDir =>
  dir(children, { mode: FOLDER_MODE });
