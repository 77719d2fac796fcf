/** The link step's command line: symbol list in, kallsyms table out. */
export {};
