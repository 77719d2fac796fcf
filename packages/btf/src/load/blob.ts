/**
 * A blob as BTF_LOAD looks at it: raw types by id, strings, and the log that is written on the way. Answers to struct
 * btf_verifier_env in kernel/bpf/btf.c. Nothing is decoded: what is malformed must be printed as it stands.
 */
import type { Errno } from "@alien-ts/abi";
import { BTF_KIND, BTF_KIND_NAMES } from "../types.ts";

/** A check gives an errno or nothing. */
export type Refusal = Errno | undefined;

export const MAX_TYPE = 0xf_ffff;
export const isIdValid = (id: number): boolean => id <= MAX_TYPE;

/** A type in the type section: its three words, and where what follows them begins. */
export interface RawType {
  readonly nameOffset: number;
  readonly info: number;
  readonly kind: number;
  readonly vlen: number;
  readonly flag: boolean;
  /** `size` or `type`. */
  readonly word: number;
  readonly body: number;
}

export const VOID: RawType = { nameOffset: 0, info: 0, kind: 0, vlen: 0, flag: false, word: 0, body: 0 };

export interface RawMember {
  readonly nameOffset: number;
  readonly type: number;
  readonly offset: number;
}

export class Blob {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** Lines that would be in the log; undefined where nobody wants it. */
  readonly #lines: string[] | undefined;
  strings: Uint8Array = new Uint8Array(0);
  readonly types: RawType[] = [VOID];
  /** The type that messages are about. */
  current = 0;
  /** Members that are printed for an error name their structure, but where they are printed anyway. */
  isDumping = true;

  constructor(bytes: Uint8Array, hasLog: boolean) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#lines = hasLog ? [] : undefined;
  }

  get text(): string {
    return this.#lines?.join("") ?? "";
  }

  u32(at: number): number {
    return this.view.getUint32(at, true);
  }

  /** Undefined for an id that no type has. */
  type(id: number): RawType | undefined {
    return this.types[id];
  }

  hasName(offset: number): boolean {
    return offset <= 0xff_ffff && offset < this.strings.length;
  }

  /** Bytes of a string, up to its end. */
  nameBytes(offset: number): Uint8Array {
    const end = this.strings.indexOf(0, offset);
    return this.strings.subarray(offset, end < 0 ? this.strings.length : end);
  }

  name(offset: number): string {
    if (offset === 0) return "(anon)";
    if (!this.hasName(offset)) return "(invalid-name-offset)";
    return String.fromCharCode(...this.nameBytes(offset));
  }

  log(text: string): void {
    this.#lines?.push(text);
  }

  /** "[3] INT int size=4 … message" */
  logType(type: RawType, message = ""): void {
    this.#logType(type, ` ${this.#details(type)}`, message);
  }

  /** Without the details, which may not be there. */
  logBasic(type: RawType, message: string): void {
    this.#logType(type, "", message);
  }

  #logType(type: RawType, details: string, message: string): void {
    if (this.#lines === undefined) return;
    const kind = BTF_KIND_NAMES[type.kind] ?? "UNKNOWN";
    const end = message === "" ? "" : ` ${message}`;
    this.log(`[${this.current}] ${kind} ${this.name(type.nameOffset)}${details}${end}\n`);
  }

  logMember(struct: RawType, member: RawMember, message = ""): void {
    if (this.#lines === undefined) return;
    if (!this.isDumping) this.logType(struct);
    const place = struct.flag
      ? `bitfield_size=${member.offset >>> 24} bits_offset=${member.offset & 0xff_ffff}`
      : `bits_offset=${member.offset}`;
    const end = message === "" ? "" : ` ${message}`;
    this.log(`\t${this.name(member.nameOffset)} type_id=${member.type} ${place}${end}\n`);
  }

  logVariable(section: RawType, at: number, message = ""): void {
    if (this.#lines === undefined) return;
    if (!this.isDumping) this.logType(section);
    const end = message === "" ? "" : ` ${message}`;
    this.log(`\t type_id=${this.u32(at)} offset=${this.u32(at + 4)} size=${this.u32(at + 8)}${end}\n`);
  }

  #details(type: RawType): string {
    const { kind, word, vlen, body } = type;
    switch (kind) {
      case BTF_KIND.int: {
        const data = this.u32(body);
        const encoding = ENCODINGS[(data >>> 24) & 15] ?? "UNKN";
        return `size=${word} bits_offset=${(data >>> 16) & 0xff} nr_bits=${data & 0xff} encoding=${encoding}`;
      }
      case BTF_KIND.array:
        return `type_id=${this.u32(body)} index_type_id=${this.u32(body + 4)} nr_elems=${this.u32(body + 8)}`;
      case BTF_KIND.struct:
      case BTF_KIND.union:
      case BTF_KIND.enum:
      case BTF_KIND.enum64:
      case BTF_KIND.datasec:
        return `size=${word} vlen=${vlen}`;
      case BTF_KIND.fwd:
        return type.flag ? "union" : "struct";
      case BTF_KIND.func_proto:
        return this.#prototype(type);
      case BTF_KIND.var:
        return `type_id=${word} linkage=${this.u32(body)}`;
      case BTF_KIND.float:
        return `size=${word}`;
      case BTF_KIND.decl_tag:
        return `type=${word} component_idx=${this.u32(body) | 0}`;
      default:
        return `type_id=${word}`;
    }
  }

  #prototype({ word, vlen, body }: RawType): string {
    const argument = (i: number): string => {
      const type = this.u32(body + 8 * i + 4);
      if (i === vlen - 1 && type === 0) return "vararg";
      return `${type} ${this.name(this.u32(body + 8 * i))}`;
    };
    const names = Array.from({ length: vlen }, (_, i) => argument(i)).join(", ");
    return `return=${word} args=(${vlen === 0 ? "void" : names})`;
  }
}

const ENCODINGS: Readonly<Record<number, string>> = { 0: "(none)", 1: "SIGNED", 2: "CHAR", 4: "BOOL" };
