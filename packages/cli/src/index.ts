/** The alien command. */
export {};
