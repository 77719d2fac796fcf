/**
 * What types refer to: every reference ends, at a type that may stand there, and sizes fit. Answers to btf_check_all_types(),
 * btf_resolve() and the resolve operations of kernel/bpf/btf.c.
 *
 * Resolving goes along references with a stack of its own; what it finds is kept for each type: what it is in the end, and the
 * bytes of arrays.
 */
import { E2BIG, EEXIST, EINVAL } from "@alien-ts/abi";
import { BTF_KIND } from "../types.ts";
import type { Blob, RawType, Refusal } from "./blob.ts";
import { checkMember, isModifier, isRegularInt } from "./members.ts";
import { memberAt } from "./meta.ts";
import { isIdentifier } from "./names.ts";

const MOST_DEPTH = 32;
const POINTER_BYTES = 8;

const isKind =
  (...kinds: readonly number[]) =>
  ({ kind }: RawType): boolean =>
    kinds.includes(kind);
const isStruct = isKind(BTF_KIND.struct, BTF_KIND.union);
const isArray = isKind(BTF_KIND.array);
const isPointer = isKind(BTF_KIND.ptr);
const isPrototype = isKind(BTF_KIND.func_proto);
/** Types that others do not refer to. */
const isSourceOnly = isKind(BTF_KIND.var, BTF_KIND.decl_tag, BTF_KIND.datasec);
const hasNoSize = isKind(0, BTF_KIND.fwd, BTF_KIND.func, BTF_KIND.func_proto, BTF_KIND.decl_tag);
const hasOwnSize = isKind(
  BTF_KIND.int,
  BTF_KIND.struct,
  BTF_KIND.union,
  BTF_KIND.enum,
  BTF_KIND.enum64,
  BTF_KIND.datasec,
  BTF_KIND.float,
);
const isTagged = isKind(BTF_KIND.func, BTF_KIND.struct, BTF_KIND.union, BTF_KIND.var, BTF_KIND.typedef);
const isUnsizedAllowed = isKind(0, BTF_KIND.fwd, BTF_KIND.func_proto);
const needsResolve = (type: RawType): boolean =>
  isModifier(type) ||
  isPointer(type) ||
  isStruct(type) ||
  isArray(type) ||
  isSourceOnly(type) ||
  type.kind === BTF_KIND.func;

interface Visit {
  readonly type: RawType;
  readonly id: number;
  /** The member or variable to go on with. */
  next: number;
}

type Mode = "to be done" | "pointer" | "structure or array";
const RESOLVED = 2;

/** A step's answer: a refusal, or that another type comes first. */
type Step = Refusal | "pushed";

export class Resolver {
  readonly #blob: Blob;
  readonly #states: Uint8Array;
  readonly #ids: Uint32Array;
  readonly #sizes: Uint32Array;
  #stack: Visit[] = [];
  #mode: Mode = "to be done";

  constructor(blob: Blob) {
    this.#blob = blob;
    this.#states = new Uint8Array(blob.types.length);
    this.#ids = new Uint32Array(blob.types.length);
    this.#sizes = new Uint32Array(blob.types.length);
  }

  checkAll(): Refusal {
    const blob = this.#blob;
    blob.isDumping = false;
    for (let id = 1; id < blob.types.length; id++) {
      const type = blob.types[id]!;
      blob.current = id;
      const bad =
        (needsResolve(type) && !this.#isResolved(id) ? this.#resolve(type, id) : undefined) ??
        (isPrototype(type) ? this.#checkPrototype(type, id) : undefined);
      if (bad !== undefined) return bad;
    }
    return undefined;
  }

  readonly sizeOf = (id: number): { readonly id: number; readonly size: number } | undefined => {
    const blob = this.#blob;
    let found = id;
    let type = blob.type(found);
    if (type !== undefined && (isModifier(type) || type.kind === BTF_KIND.var)) {
      found = this.#ids[found]!;
      type = blob.type(found);
    }
    if (type === undefined || hasNoSize(type)) return undefined;
    if (hasOwnSize(type)) return { id: found, size: type.word };
    if (isArray(type)) return { id: found, size: this.#sizes[found]! };
    return isPointer(type) ? { id: found, size: POINTER_BYTES } : undefined;
  };

  #isResolved(id: number): boolean {
    return this.#states[id] === RESOLVED;
  }

  #resolve(type: RawType, id: number): Refusal {
    const blob = this.#blob;
    this.#mode = "to be done";
    this.#stack = [];
    let bad: Step = this.#push(type, id);
    for (let top = this.#stack.at(-1); top !== undefined; top = this.#stack.at(-1)) {
      if (bad !== undefined && bad !== "pushed") break;
      blob.current = top.id;
      bad = this.#step(top);
    }
    blob.current = id;
    if (bad === undefined || bad === "pushed") return undefined;
    if (bad === E2BIG) blob.logType(type, `Exceeded max resolving depth:${MOST_DEPTH}`);
    else if (bad === EEXIST) blob.logType(type, "Loop detected");
    return bad;
  }

  #push(type: RawType, id: number): Step {
    if (this.#stack.length === MOST_DEPTH) return E2BIG;
    if (this.#states[id] !== 0) return EEXIST;
    this.#states[id] = 1;
    this.#stack.push({ type, id, next: 0 });
    if (this.#mode === "to be done") {
      if (isPointer(type)) this.#mode = "pointer";
      else if (isStruct(type) || isArray(type)) this.#mode = "structure or array";
    }
    return "pushed";
  }

  #pop(id: number, size: number): undefined {
    const visit = this.#stack.pop()!;
    this.#ids[visit.id] = id;
    this.#sizes[visit.id] = size;
    this.#states[visit.id] = RESOLVED;
    return undefined;
  }

  /** Whether nothing has to be known of the type behind a reference. */
  #isSink(type: RawType): boolean {
    switch (this.#mode) {
      case "to be done":
        return !needsResolve(type);
      case "pointer":
        return !isModifier(type) && !isPointer(type);
      default:
        return !isModifier(type) && !isArray(type) && !isStruct(type);
    }
  }

  #isOpen(type: RawType, id: number): boolean {
    return !this.#isSink(type) && !this.#isResolved(id);
  }

  #fail({ type }: Visit, message: string): typeof EINVAL {
    this.#blob.logType(type, message);
    return EINVAL;
  }

  #step(visit: Visit): Step {
    switch (visit.type.kind) {
      case BTF_KIND.ptr:
      case BTF_KIND.var:
        return this.#stepReference(visit, true);
      case BTF_KIND.struct:
      case BTF_KIND.union:
        return this.#stepStruct(visit);
      case BTF_KIND.array:
        return this.#stepArray(visit);
      case BTF_KIND.datasec:
        return this.#stepSection(visit);
      case BTF_KIND.func:
        return this.#stepFunction(visit);
      case BTF_KIND.decl_tag:
        return this.#stepTag(visit);
      default:
        return this.#stepReference(visit, false);
    }
  }

  /** Modifiers, pointers, variables. */
  #stepReference(visit: Visit, goesOn: boolean): Step {
    const blob = this.#blob;
    const id = visit.type.word;
    const next = blob.type(id);
    if (next === undefined || isSourceOnly(next)) return this.#fail(visit, "Invalid type_id");
    if (this.#isOpen(next, id)) return this.#push(next, id);
    if (goesOn && isModifier(next)) {
      // It was resolved while structures were, up to a pointer: that may lead back here.
      const last = this.#ids[id]!;
      const type = blob.type(last);
      if (type !== undefined && isPointer(type) && this.#isOpen(type, last)) return this.#push(type, last);
    }
    const sized = this.sizeOf(id);
    if (visit.type.kind === BTF_KIND.var)
      return sized === undefined ? this.#fail(visit, "Invalid type_id") : this.#pop(sized.id, sized.size);
    if (sized !== undefined) return this.#pop(sized.id, 0);
    const end = this.#isResolved(id) ? this.#ids[id]! : id;
    const type = blob.type(end);
    if (type === undefined || !isUnsizedAllowed(type)) return this.#fail(visit, "Invalid type_id");
    return this.#pop(end, 0);
  }

  #stepStruct(visit: Visit): Step {
    const blob = this.#blob;
    const { type: struct } = visit;
    const check = { blob, struct, sizes: this.sizeOf };
    if (visit.next > 0) {
      const bad = checkMember(check, memberAt(blob, struct, visit.next - 1));
      if (bad !== undefined) return bad;
    }
    for (let i = visit.next; i < struct.vlen; i++) {
      const member = memberAt(blob, struct, i);
      const type = blob.type(member.type);
      if (type === undefined || isSourceOnly(type) || hasNoSize(type)) {
        blob.logMember(struct, member, "Invalid member");
        return EINVAL;
      }
      if (this.#isOpen(type, member.type)) {
        visit.next = i + 1;
        return this.#push(type, member.type);
      }
      const bad = checkMember(check, member);
      if (bad !== undefined) return bad;
    }
    return this.#pop(0, 0);
  }

  #stepArray(visit: Visit): Step {
    const blob = this.#blob;
    const { body } = visit.type;
    const index = blob.u32(body + 4);
    const indexType = blob.type(index);
    if (indexType === undefined || isSourceOnly(indexType) || hasNoSize(indexType))
      return this.#fail(visit, "Invalid index");
    if (this.#isOpen(indexType, index)) return this.#push(indexType, index);
    const number = blob.type(this.sizeOf(index)?.id ?? 0)!;
    if (number.kind !== BTF_KIND.int || !isRegularInt(blob, number))
      return this.#fail(visit, "Invalid index");
    const element = blob.u32(body);
    const elementType = blob.type(element);
    if (elementType === undefined || isSourceOnly(elementType) || hasNoSize(elementType))
      return this.#fail(visit, "Invalid elem");
    if (this.#isOpen(elementType, element)) return this.#push(elementType, element);
    const sized = this.sizeOf(element);
    if (sized === undefined) return this.#fail(visit, "Invalid elem");
    const type = blob.type(sized.id)!;
    if (type.kind === BTF_KIND.int && !isRegularInt(blob, type))
      return this.#fail(visit, "Invalid array of int");
    const count = blob.u32(body + 8);
    if (count !== 0 && sized.size > Math.floor(0xffff_ffff / count))
      return this.#fail(visit, "Array size overflows U32_MAX");
    return this.#pop(sized.id, sized.size * count);
  }

  #stepSection(visit: Visit): Step {
    const blob = this.#blob;
    const { type: section } = visit;
    this.#mode = "to be done";
    for (let i = visit.next; i < section.vlen; i++) {
      const at = section.body + 12 * i;
      const id = blob.u32(at);
      const type = blob.type(id);
      const fail = (message: string): typeof EINVAL => {
        blob.logVariable(section, at, message);
        return EINVAL;
      };
      if (type === undefined || type.kind !== BTF_KIND.var) return fail("Not a VAR kind member");
      if (this.#isOpen(type, id)) {
        visit.next = i + 1;
        return this.#push(type, id);
      }
      const sized = this.sizeOf(type.word);
      if (sized === undefined) return fail("Invalid type");
      if (blob.u32(at + 8) < sized.size) return fail("Invalid size");
    }
    return this.#pop(0, 0);
  }

  /** Every argument of a function has a name. */
  #stepFunction(visit: Visit): Step {
    const blob = this.#blob;
    const prototype = blob.type(visit.type.word);
    if (prototype === undefined || !isPrototype(prototype)) return this.#fail(visit, "Invalid type_id");
    for (let i = 0; i < prototype.vlen; i++) {
      const at = prototype.body + 8 * i;
      if (blob.u32(at) === 0 && blob.u32(at + 4) !== 0) return this.#fail(visit, `Invalid arg#${i + 1}`);
    }
    return this.#pop(visit.type.word, 0);
  }

  #stepTag(visit: Visit): Step {
    const blob = this.#blob;
    const id = visit.type.word;
    const type = blob.type(id);
    if (type === undefined || !isTagged(type)) return this.#fail(visit, "Invalid type_id");
    if (this.#isOpen(type, id)) return this.#push(type, id);
    const component = blob.u32(visit.type.body) | 0;
    if (component !== -1) {
      const isWhole = type.kind === BTF_KIND.var || type.kind === BTF_KIND.typedef;
      const parts = isStruct(type) ? type.vlen : (blob.type(type.word)?.vlen ?? 0);
      if (isWhole || component >= parts) return this.#fail(visit, "Invalid component_idx");
    }
    return this.#pop(id, 0);
  }

  /** Linux: btf_func_proto_check() */
  #checkPrototype(type: RawType, id: number): Refusal {
    const blob = this.#blob;
    const fail = (message: string): typeof EINVAL => {
      blob.current = id;
      blob.logType(type, message);
      return EINVAL;
    };
    if (type.word !== 0) {
      const bad = this.#checkOperand(type.word, () => fail("Invalid return type"));
      if (bad !== undefined) return bad;
    }
    const argument = (i: number): readonly [name: number, type: number] => [
      blob.u32(type.body + 8 * i),
      blob.u32(type.body + 8 * i + 4),
    ];
    let count = type.vlen;
    if (count > 0 && argument(count - 1)[1] === 0) {
      if (argument(count - 1)[0] !== 0) return fail(`Invalid arg#${count}`);
      count -= 1;
    }
    for (let i = 0; i < count; i++) {
      const [name, of] = argument(i);
      const isNamed = name === 0 || (blob.hasName(name) && isIdentifier(blob, name));
      const bad = this.#checkOperand(of, () => fail(`Invalid arg#${i + 1}`), isNamed);
      if (bad !== undefined) return bad;
    }
    return undefined;
  }

  #checkOperand(id: number, fail: () => typeof EINVAL, isNamed = true): Refusal {
    const type = this.#blob.type(id);
    if (type === undefined || isSourceOnly(type) || !isNamed) return fail();
    const bad = needsResolve(type) && !this.#isResolved(id) ? this.#resolve(type, id) : undefined;
    return bad ?? (this.sizeOf(id) === undefined ? fail() : undefined);
  }
}
