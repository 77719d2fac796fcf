/**
 * The order in which C wants types: `definitionOrder(btf)`. A type that is part of another comes before it; one that is only pointed
 * to may come later, since C can declare it ahead.
 */
import type { Btf } from "./btf.ts";

export interface DefinitionOrder {
  /** Ids of the types that get a definition, in order. */
  readonly queue: readonly number[];
}

export function definitionOrder(btf: Btf): DefinitionOrder {
  const orderer = new Orderer(btf);
  for (let id = 1; id < btf.typeCount; id++) orderer.visit(id, false);
  return { queue: orderer.queue };
}

/** More than the kernel's own types need, and less than the host's stack has room for. */
const MAX_DEPTH = 1000;

class Orderer {
  readonly queue: number[] = [];
  readonly #btf: Btf;
  readonly #done = new Set<number>();
  readonly #visiting = new Set<number>();
  #depth = 0;
  /** Types that another one names: an anonymous enumeration among them is written where it is used. */
  readonly #referenced: ReadonlySet<number>;

  constructor(btf: Btf) {
    this.#btf = btf;
    this.#referenced = referencedTypes(btf);
  }

  /** Puts a type behind those that it needs; how deep they may be in each other is bounded. */
  visit(id: number, isThroughPointer: boolean): boolean {
    if (this.#depth > MAX_DEPTH) return false;
    this.#depth += 1;
    const isNeeded = this.#visit(id, isThroughPointer);
    this.#depth -= 1;
    return isNeeded;
  }

  /** Whether what names it needs it too, rather than its name alone. */
  #visit(id: number, isThroughPointer: boolean): boolean {
    const type = this.#btf.type(id);
    if (type === undefined || this.#done.has(id)) return type !== undefined && id !== 0;
    // A cycle of parts is no C; pointers break all others.
    if (this.#visiting.has(id)) return false;
    switch (type.kind) {
      case "ptr": {
        const isNeeded = this.visit(type.type, true);
        this.#done.add(id);
        return isNeeded;
      }
      case "array":
        return this.visit(type.element, false);
      case "const":
      case "volatile":
      case "restrict":
      case "type_tag":
        return this.visit(type.type, isThroughPointer);
      case "struct":
      case "union":
        if (isThroughPointer && type.name !== "") return false;
        this.#visiting.add(id);
        for (const member of type.members) this.visit(member.type, false);
        this.#visiting.delete(id);
        return this.#add(id, type.name !== "");
      case "enum":
      case "enum64":
      case "fwd":
        return this.#add(id, type.name !== "" || !this.#referenced.has(id));
      case "typedef":
        if (!this.visit(type.type, isThroughPointer) && isThroughPointer) return false;
        return this.#add(id, true);
      case "func_proto": {
        let isNeeded = this.visit(type.type, isThroughPointer);
        for (const param of type.params) isNeeded = this.visit(param.type, isThroughPointer) || isNeeded;
        return isNeeded;
      }
      default:
        this.#done.add(id);
        return false;
    }
  }

  #add(id: number, isDefined: boolean): true {
    if (isDefined) this.queue.push(id);
    this.#done.add(id);
    return true;
  }
}

function referencedTypes(btf: Btf): ReadonlySet<number> {
  const found = new Set<number>();
  for (const [, type] of btf.types()) {
    switch (type.kind) {
      case "struct":
      case "union":
        for (const member of type.members) found.add(member.type);
        break;
      case "func_proto":
        found.add(type.type);
        for (const param of type.params) found.add(param.type);
        break;
      case "array":
        found.add(type.element).add(type.index);
        break;
      case "datasec":
        for (const entry of type.vars) found.add(entry.type);
        break;
      default:
        if ("type" in type) found.add(type.type);
    }
  }
  return found;
}
