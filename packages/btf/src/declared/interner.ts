/**
 * Types that are added once: equal ones share an id, as after the deduplication of a kernel's BTF.
 *
 * Interface: `TypeInterner`. Structures, unions and enumerations with names are equal by name, all else by what they are;
 * anonymous structures are each their own, so that the number of types does not depend on where their members lie.
 */
import type { BtfType } from "../types.ts";
import { BtfBuilder } from "../write.ts";

export class TypeInterner {
  readonly #builder = new BtfBuilder();
  readonly #ids = new Map<string, number>();

  /** Id of a type, which is new where no equal one was added. Not for structures and unions. */
  add(type: BtfType): number {
    const key = keyOf(type);
    const known = this.#ids.get(key);
    if (known !== undefined) return known;
    const id = this.#builder.add(type);
    this.#ids.set(key, id);
    return id;
  }

  /** An id of its own, for a type that is yet to be told: types may name each other in circles. */
  reserve(): number {
    return this.#builder.add({ kind: "void", name: "" });
  }

  set(id: number, type: BtfType): void {
    this.#builder.set(id, type);
  }

  build(): Uint8Array {
    return this.#builder.build();
  }
}

function keyOf(type: BtfType): string {
  if (type.kind !== "enum" && type.kind !== "enum64") return JSON.stringify(type);
  const values = type.name === "" ? type.values.map(({ name, value }) => `${name}=${value}`) : [];
  return `enum ${type.name} ${values.join()}`;
}
