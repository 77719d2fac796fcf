/**
 * The same access in a type of the target: the members of the same names, however they moved.
 *
 * Authority: libbpf `bpf_core_spec_match`, `bpf_core_match_member`, `bpf_core_find_cands`.
 */
import type { Btf } from "../btf.ts";
import { CORE_RELO, essentialName, isEnumRelocation, isFieldRelocation, isFlexible } from "./access.ts";
import type { Access, Step } from "./access.ts";
import { areFieldsCompatible, areSameKind, areTypesCompatible, typesMatch } from "./compatible.ts";

const MAX_DEPTH = 32;

/** Types of the target that have the name of the program's type (flavours apart) and its kind. */
export function candidates(local: Btf, id: number, target: TargetNames): readonly number[] {
  const type = local.type(id)!;
  return target.named(essentialName(type.name)).filter((other) => areSameKind(type, target.btf.type(other)!));
}

/** Ids of a BTF by essential name. */
export class TargetNames {
  readonly btf: Btf;
  /** The few names that have a flavour, by essential name; made at the first use. */
  #flavours: Map<string, string[]> | undefined;

  constructor(btf: Btf) {
    this.btf = btf;
  }

  /** In the order of ids. */
  named(name: string): readonly number[] {
    const flavours = (this.#flavours ??= this.#findFlavours()).get(name);
    if (flavours === undefined) return this.btf.findAll(name);
    return [name, ...flavours].flatMap((each) => [...this.btf.findAll(each)]).toSorted((a, b) => a - b);
  }

  #findFlavours(): Map<string, string[]> {
    const found = new Map<string, string[]>();
    for (const name of this.btf.names()) {
      const plain = essentialName(name);
      if (plain !== name) found.set(plain, [...(found.get(plain) ?? []), name]);
    }
    return found;
  }
}

/** The access in type `id` of the target; undefined where that type has nothing of the kind. */
export function matchAccess(local: Access, target: Btf, id: number, kind: number): Access | undefined {
  if (isEnumRelocation(kind)) return matchEnumerator(local, target, id);
  if (isFieldRelocation(kind)) return matchField(local, target, id);
  const [mine, theirs] = [
    { btf: local.btf, id: local.root },
    { btf: target, id },
  ];
  const isMatch =
    kind === CORE_RELO.TYPE_MATCHES ? typesMatch(mine, theirs) : areTypesCompatible(mine, theirs);
  return isMatch ? { btf: target, root: id, steps: [], bitOffset: 0 } : undefined;
}

function matchEnumerator(local: Access, target: Btf, root: number): Access | undefined {
  const id = target.resolve(root);
  const type = target.type(id);
  if (type?.kind !== "enum" && type?.kind !== "enum64") return undefined;
  const wanted = essentialName(local.steps[0]?.name ?? "");
  const index = type.values.findIndex(({ name }) => essentialName(name) === wanted);
  const name = type.values[index]?.name;
  return name === undefined
    ? undefined
    : { btf: target, root, steps: [{ type: id, index, name }], bitOffset: 0 };
}

function matchField(local: Access, target: Btf, root: number): Access | undefined {
  let id = target.resolve(root);
  let bitOffset = 0;
  const steps: Step[] = [];
  for (const [at, step] of local.steps.entries()) {
    if (step.name !== undefined) {
      const found = findMember(local.btf, step, target, id, MAX_DEPTH);
      if (found === undefined) return undefined;
      steps.push(found.step);
      bitOffset += found.bitOffset;
      id = target.resolve(found.type);
      continue;
    }
    if (at > 0) {
      const array = target.type(id)!;
      if (array.kind !== "array") return undefined;
      if (step.index >= array.count && !isFlexible(target, steps.at(-1), array)) return undefined;
      id = target.resolve(array.element);
    }
    const size = target.sizeOf(id);
    if (size === undefined) return undefined;
    steps.push({ type: id, index: step.index, name: undefined });
    bitOffset += step.index * size * 8;
  }
  return { btf: target, root, steps, bitOffset };
}

interface FoundMember {
  readonly step: Step;
  /** From the start of the type that was searched. */
  readonly bitOffset: number;
  readonly type: number;
}

/** The member of that name, also inside anonymous structures and unions; undefined where its type is another kind of thing. */
function findMember(
  local: Btf,
  step: Step,
  target: Btf,
  root: number,
  depth: number,
): FoundMember | undefined {
  const id = target.resolve(root);
  const members = target.members(id);
  if (members === undefined || depth === 0) return undefined;
  const mine = local.members(step.type)![step.index]!;
  for (const [index, member] of members.entries()) {
    if (member.name === "") {
      const found = findMember(local, step, target, member.type, depth - 1);
      if (found !== undefined) return { ...found, bitOffset: found.bitOffset + member.bitOffset };
    } else if (member.name === step.name) {
      const isSame = areFieldsCompatible({ btf: local, id: mine.type }, { btf: target, id: member.type });
      if (!isSame) return undefined;
      return { step: { type: id, index, name: member.name }, bitOffset: member.bitOffset, type: member.type };
    }
  }
  return undefined;
}
