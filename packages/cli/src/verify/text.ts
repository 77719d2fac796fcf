/** Verdicts as people read them, and as JSON. Pure: text in, text out. */
import type { Link, Report, SourceSpan } from "@alien-ts/bpf-verifier";
import type { ProgramVerdict } from "./object.ts";

export function verdictJson({ report, log, isAccepted, ...rest }: ProgramVerdict): string {
  return JSON.stringify({
    ...rest,
    verdict: isAccepted ? "ACCEPT" : "REJECT",
    ...(report === undefined ? {} : { report }),
    ...(log === "" ? {} : { log }),
  });
}

const plural = (count: number, word: string): string => `${count} ${word}${count === 1 ? "" : "s"}`;

/** A verdict, and for a refusal its report; ends with a line feed. */
export function verdictText(verdict: ProgramVerdict): string {
  const { program, section, report, log } = verdict;
  const size = `${plural(verdict.insns, "instruction")}, ${verdict.processed} walked`;
  const head =
    report === undefined
      ? `${program} (${section}): accepted; ${size}\n`
      : `${program} (${section}): refused, ${report.errno}; ${size}\n${reportText(report)}`;
  return log === "" ? head : `${head}\n${log}`;
}

function reportText(report: Report): string {
  const lines: string[] = ["", ...report.message.trimEnd().split("\n"), ""];
  lines.push(...wrap(`what must hold  ${report.statement}`, INDENT));
  if (report.insn !== undefined) {
    lines.push(`where           ${placeText(report.source)}`);
    lines.push(`                ${report.insn}: ${report.instruction}`);
  }
  report.registers.forEach(({ name, state }, i) => {
    lines.push(`${i === 0 ? "what is known  " : "               "} ${name} = ${state}`);
  });
  if (report.chain.length > 0) lines.push("", "how it came to this", ...chainLines(report.chain));
  lines.push("", ...wrap(`what to do      ${report.advice}`, INDENT));
  return `${lines.map((line) => (line === "" ? "" : `  ${line}`)).join("\n")}\n`;
}

const placeText = (source: SourceSpan | undefined): string =>
  source === undefined
    ? "(no line information: compile with -g)"
    : `${source.file}:${source.line}  ${source.text}`;

/** A source line is named once for the instructions that follow each other in it. */
function chainLines(chain: readonly Link[]): string[] {
  return chain.flatMap(({ insn, instruction, source, effect }, i) => {
    const before = chain[i - 1]?.source;
    const isSame = before?.line === source?.line && before?.file === source?.file;
    const place = source === undefined || isSame ? [] : [`  ${placeText(source)}`];
    return [...place, `    ${insn}: ${instruction}`, `        ${effect}`];
  });
}

const WIDTH = 100;
const INDENT = 16;

/** Lines of at most `WIDTH` characters; those after the first are indented. */
function wrap(text: string, indent: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(/(?<= )/)) {
    if ((line + word).trimEnd().length > WIDTH) {
      lines.push(line.trimEnd());
      line = " ".repeat(indent);
    }
    line += word;
  }
  return [...lines, line.trimEnd()];
}
