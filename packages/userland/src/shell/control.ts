/** What leaves a command early: thrown by builtins, caught by loops, functions and the main loop. Not errors. */

export class LoopControl {
  readonly kind: "break" | "continue";
  /** Enclosing loops still to leave. */
  readonly levels: number;
  constructor(kind: "break" | "continue", levels: number) {
    this.kind = kind;
    this.levels = levels;
  }
}

export class ReturnControl {
  readonly status: number;
  constructor(status: number) {
    this.status = status;
  }
}

export class ExitControl {
  readonly status: number;
  constructor(status: number) {
    this.status = status;
  }
}

/** Ctrl-C in an interactive shell: back to the prompt. */
export class InterruptControl {
  readonly status = 130;
  /** Whether the line of `^C` is still to be ended: a job that SIGINT has killed ended it already. */
  readonly onNewLine: boolean;
  constructor(onNewLine = false) {
    this.onNewLine = onNewLine;
  }
}
