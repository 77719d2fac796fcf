/** wc(1). */
import { closeInput, fstat, isRegular, openInput } from "../libc/files.ts";
import type { Stream } from "../libc/stdio.ts";
import { widthOf } from "../libc/text.ts";
import { forEachOperand, tool } from "../libc/tool.ts";

interface Counts {
  l: number;
  w: number;
  m: number;
  c: number;
  L: number;
}

const ORDER = ["l", "w", "m", "c", "L"] as const;

export const wc = tool({
  name: "wc",
  usage: "wc [-clLmw] [FILE]...",
  options: "clLmw",
  long: { bytes: "c", chars: "m", lines: "l", words: "w", "max-line-length": "L" },
  main: async (process, { options, operands }) => {
    const given = ORDER.filter((letter) => options.has(letter));
    const shown = given.length > 0 ? given : (["l", "w", "c"] as const);
    const rows: { readonly counts: Counts; readonly name: string }[] = [];
    const total: Counts = { l: 0, w: 0, m: 0, c: 0, L: 0 };
    const status = await forEachOperand(
      process,
      "wc",
      operands.length > 0 ? operands : ["-"],
      async (path) => {
        const input = await openInput(process, path);
        const counts = await count(input);
        await closeInput(process, input);
        for (const key of ["l", "w", "m", "c"] as const) total[key] += counts[key];
        total.L = Math.max(total.L, counts.L);
        rows.push({ counts, name: operands.length > 0 ? ` ${path}` : "" });
      },
    );
    if (operands.length > 1) rows.push({ counts: total, name: " total" });
    // GNU's columns: one number alone is not padded; others are as wide as the total of bytes, seven where that is not known.
    const isSingle = rows.length === 1 && shown.length === 1;
    const hasInput = operands.length === 0 || operands.includes("-");
    const isKnown = !hasInput || isRegular(await fstat(process, 0));
    const width = isSingle ? 1 : isKnown ? String(total.c).length : 7;
    for (const { counts, name } of rows) {
      await process.stdout.write(
        `${shown.map((key) => String(counts[key]).padStart(width)).join(" ")}${name}\n`,
      );
    }
    return status;
  },
});

async function count(input: Stream): Promise<Counts> {
  const counts: Counts = { l: 0, w: 0, m: 0, c: 0, L: 0 };
  for (let line = await input.readLine(); line !== undefined; line = await input.readLine()) {
    const hasNewline = line.endsWith("\n");
    counts.c += line.length;
    counts.m += widthOf(line);
    if (hasNewline) counts.l += 1;
    counts.w += line.match(/[^\s]+/g)?.length ?? 0;
    counts.L = Math.max(counts.L, widthOf(line) - Number(hasNewline));
  }
  return counts;
}
