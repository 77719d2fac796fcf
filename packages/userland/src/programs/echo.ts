/** echo(1) and printf(1), which the shell also has built in. */
import { UsageError } from "../libc/errors.ts";
import { expandEscapes, formatOperands } from "../libc/printf.ts";
import { complain, tool } from "../libc/tool.ts";

export const echo = tool({
  name: "echo",
  usage: "echo [-neE] [STRING]...",
  options: "",
  raw: true,
  main: async (process, { words }) => {
    let escapes = false;
    let newline = true;
    let first = 0;
    for (; /^-[neE]+$/.test(words[first] ?? ""); first++) {
      for (const letter of words[first]!.slice(1)) {
        if (letter === "n") newline = false;
        else escapes = letter === "e";
      }
    }
    const text = words.slice(first).join(" ");
    const out = escapes ? expandEscapes(text) : { text, stopped: false };
    await process.stdout.write(out.text + (newline && !out.stopped ? "\n" : ""));
    return 0;
  },
});

export const printf = tool({
  name: "printf",
  usage: "printf FORMAT [ARGUMENT]...",
  options: "",
  raw: true,
  main: async (process, { words }) => {
    const [format, ...operands] = words[0] === "--" ? words.slice(1) : words;
    if (format === undefined) throw new UsageError("missing operand");
    const { text, complaints } = formatOperands(format, operands);
    await process.stdout.write(text);
    for (const complaint of complaints) await complain(process, "printf", complaint);
    return complaints.length > 0 ? 1 : 0;
  },
});
