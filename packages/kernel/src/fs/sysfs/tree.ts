/** Trees of nodes by path: what sysfs, debugfs and procfs register their files with. */
import { dir, SimpleDir, type SimpleNode } from "../simple.ts";

const split = (path: string): readonly [folder: string, name: string] => {
  const slash = path.lastIndexOf("/");
  return [slash < 0 ? "" : path.slice(0, slash), path.slice(slash + 1)];
};

/** The directory at `path` below `root`; missing ones are made with permission bits `mode`. */
function folderAt(root: SimpleDir, path: string, mode: number): SimpleDir {
  let at = root;
  for (const name of path.split("/").filter((part) => part !== "")) {
    const child = at.get(name);
    at = child instanceof SimpleDir ? child : at.add(name, dir({}, { mode }));
  }
  return at;
}

/** Adds a node at `path`, in directories that are made with `mode`. Throws when the name is taken. */
export function addAt(root: SimpleDir, path: string, node: SimpleNode, mode: number): void {
  const [folder, name] = split(path);
  const parent = folderAt(root, folder, mode);
  if (parent.get(name) !== undefined) throw new Error(`${path} registered twice`);
  parent.add(name, node);
}

/** Takes the node at `path` away, with what is below it; nothing when there is none. */
export function removeAt(root: SimpleDir, path: string): void {
  const [folder, name] = split(path);
  let at: SimpleNode | undefined = root;
  for (const part of folder.split("/").filter((one) => one !== ""))
    at = at instanceof SimpleDir ? at.get(part) : undefined;
  if (at instanceof SimpleDir) at.remove(name);
}
