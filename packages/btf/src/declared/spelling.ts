/**
 * Types by their C spelling: `parseSpelling("const char *")`; and the names that C and the kernel give to numbers.
 *
 * Spellings are those of declarations: words of a base type, `const` and `volatile`, stars. Names of integers are the compiler's
 * (`long unsigned int`), as in the kernel's own BTF.
 */

export type Qualifier = "const" | "volatile";

export type BaseType =
  | { readonly kind: "void" }
  | { readonly kind: "int"; readonly name: string }
  | { readonly kind: "struct" | "union" | "enum" | "typedef"; readonly name: string };

export interface Spelled {
  readonly base: BaseType;
  /** Of the base, and of each pointer to it, inner ones first. */
  readonly qualifiers: readonly (readonly Qualifier[])[];
}

/** Throws on what is no spelling of a type. */
export function parseSpelling(text: string): Spelled {
  const parts = text.split("*").map((part) => part.trim().split(/\s+/).filter(Boolean));
  const qualifiers = parts.map((words) => words.filter(isQualifier));
  const base = parts[0]!.filter((word) => !isQualifier(word));
  if (parts.slice(1).some((words, i) => words.length !== qualifiers[i + 1]!.length))
    throw new Error(`'${text}' is not the spelling of a type`);
  return { base: baseOf(base, text), qualifiers };
}

const isQualifier = (word: string): word is Qualifier => word === "const" || word === "volatile";

const TAGS = ["struct", "union", "enum"] as const;

function baseOf(words: readonly string[], text: string): BaseType {
  const [first = "", second] = words;
  const tag = TAGS.find((kind) => kind === first);
  if (tag !== undefined && second !== undefined) return { kind: tag, name: second };
  if (words.length === 1 && first === "void") return { kind: "void" };
  if (words.every((word) => INT_WORDS.includes(word))) return { kind: "int", name: intName(words) };
  if (words.length !== 1) throw new Error(`'${text}' is not the spelling of a type`);
  return { kind: "typedef", name: first };
}

const INT_WORDS: readonly string[] = ["signed", "unsigned", "char", "short", "int", "long", "_Bool"];

/** The compiler's name of an integer, from the words in any order: "unsigned long" is "long unsigned int". */
function intName(words: readonly string[]): string {
  const has = (word: string): boolean => words.includes(word);
  if (has("_Bool")) return "_Bool";
  if (has("char")) return has("unsigned") ? "unsigned char" : has("signed") ? "signed char" : "char";
  const size = has("short") ? ["short"] : words.filter((word) => word === "long");
  return [...size, ...(has("unsigned") ? ["unsigned"] : []), "int"].join(" ");
}

export interface IntFacts {
  readonly size: number;
  readonly isSigned: boolean;
}

/** The kernel is compiled with -funsigned-char. */
export const INTS: Readonly<Record<string, IntFacts>> = {
  _Bool: { size: 1, isSigned: false },
  char: { size: 1, isSigned: false },
  "signed char": { size: 1, isSigned: true },
  "unsigned char": { size: 1, isSigned: false },
  "short int": { size: 2, isSigned: true },
  "short unsigned int": { size: 2, isSigned: false },
  int: { size: 4, isSigned: true },
  "unsigned int": { size: 4, isSigned: false },
  "long int": { size: 8, isSigned: true },
  "long unsigned int": { size: 8, isSigned: false },
  "long long int": { size: 8, isSigned: true },
  "long long unsigned int": { size: 8, isSigned: false },
};

/** include/linux/types.h and include/uapi/asm-generic of a 64-bit kernel. */
export const TYPEDEFS: Readonly<Record<string, string>> = {
  __s8: "signed char",
  __u8: "unsigned char",
  __s16: "short int",
  __u16: "short unsigned int",
  __s32: "int",
  __u32: "unsigned int",
  __s64: "long long int",
  __u64: "long long unsigned int",
  s8: "__s8",
  u8: "__u8",
  s16: "__s16",
  u16: "__u16",
  s32: "__s32",
  u32: "__u32",
  s64: "__s64",
  u64: "__u64",
  __le16: "__u16",
  __be16: "__u16",
  __le32: "__u32",
  __be32: "__u32",
  __le64: "__u64",
  __be64: "__u64",
  __sum16: "__u16",
  __wsum: "__u32",
  bool: "_Bool",
  __kernel_long_t: "long int",
  __kernel_ulong_t: "long unsigned int",
  __kernel_pid_t: "int",
  __kernel_uid32_t: "unsigned int",
  __kernel_gid32_t: "unsigned int",
  __kernel_size_t: "__kernel_ulong_t",
  __kernel_ssize_t: "__kernel_long_t",
  __kernel_loff_t: "long long int",
  __kernel_dev_t: "u32",
  size_t: "__kernel_size_t",
  ssize_t: "__kernel_ssize_t",
  loff_t: "__kernel_loff_t",
  pid_t: "__kernel_pid_t",
  uid_t: "__kernel_uid32_t",
  gid_t: "__kernel_gid32_t",
  dev_t: "__kernel_dev_t",
  umode_t: "short unsigned int",
};
