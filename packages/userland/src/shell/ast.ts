/** What the shell's parser makes: commands and words, XCU 2.10. Immutable, so functions and subshells share them. */

/** Operators of `${name…}`. */
export type ParameterOperator = "-" | ":-" | "=" | ":=" | "?" | ":?" | "+" | ":+" | "%" | "%%" | "#" | "##";

export type WordPart =
  | { readonly kind: "literal"; readonly text: string; readonly quoted: boolean }
  | {
      readonly kind: "parameter";
      readonly name: string;
      readonly quoted: boolean;
      /** `${#name}` */
      readonly length: boolean;
      readonly operator?: ParameterOperator;
      readonly word?: Word;
    }
  | { readonly kind: "command"; readonly body: ListNode; readonly quoted: boolean }
  | { readonly kind: "arithmetic"; readonly expression: Word; readonly quoted: boolean };

export type Word = readonly WordPart[];

export interface Redirect {
  readonly fd: number;
  readonly operator: "<" | ">" | ">>" | ">|" | "<>" | "<&" | ">&" | "<<";
  /** The path, the descriptor, or the text of a here-document. */
  readonly target: Word;
}

export interface Assignment {
  readonly name: string;
  readonly value: Word;
}

export interface SimpleNode {
  readonly kind: "simple";
  readonly assignments: readonly Assignment[];
  readonly words: readonly Word[];
  readonly redirects: readonly Redirect[];
  readonly line: number;
}

export interface PipelineNode {
  readonly kind: "pipeline";
  readonly commands: readonly CommandNode[];
  readonly negated: boolean;
  /** As it was written, for the list of jobs. */
  readonly source: string;
}

export interface AndOrNode {
  readonly kind: "and-or";
  readonly first: PipelineNode;
  readonly rest: readonly { readonly operator: "&&" | "||"; readonly pipeline: PipelineNode }[];
  readonly source: string;
}

export interface ListNode {
  readonly kind: "list";
  readonly items: readonly { readonly command: AndOrNode; readonly background: boolean }[];
}

export type CompoundNode =
  | { readonly kind: "group"; readonly body: ListNode; readonly redirects: readonly Redirect[] }
  | { readonly kind: "subshell"; readonly body: ListNode; readonly redirects: readonly Redirect[] }
  | {
      readonly kind: "if";
      readonly branches: readonly { readonly condition: ListNode; readonly body: ListNode }[];
      readonly otherwise?: ListNode;
      readonly redirects: readonly Redirect[];
    }
  | {
      readonly kind: "while";
      readonly until: boolean;
      readonly condition: ListNode;
      readonly body: ListNode;
      readonly redirects: readonly Redirect[];
    }
  | {
      readonly kind: "for";
      readonly name: string;
      /** Absent: the positional parameters. */
      readonly words?: readonly Word[];
      readonly body: ListNode;
      readonly redirects: readonly Redirect[];
    }
  | {
      readonly kind: "case";
      readonly word: Word;
      readonly items: readonly { readonly patterns: readonly Word[]; readonly body: ListNode }[];
      readonly redirects: readonly Redirect[];
    };

export interface FunctionNode {
  readonly kind: "function";
  readonly name: string;
  readonly body: CompoundNode;
}

export type CommandNode = SimpleNode | CompoundNode | FunctionNode;

/** The text of a word that is one unquoted literal; keywords and function names are such words. */
export function literalText(word: Word): string | undefined {
  const [part] = word;
  return word.length === 1 && part?.kind === "literal" && !part.quoted ? part.text : undefined;
}
