/** Note sections and segments: read and written. gABI: name and descriptor are padded to 4 bytes (8 where align is 8). */
import { utf8Decode, utf8Encode } from "@alien-ts/abi";
import { ElfError } from "./error.ts";
import type { ElfNote } from "./image.ts";

export interface NoteFormat {
  readonly littleEndian: boolean;
  /** Where the notes lie in the file, for error messages. */
  readonly fileOffset: number;
  /** Alignment of the section or segment; 8 pads to 8 bytes, everything else to 4. */
  readonly align: number;
}

const NOTE_HEADER = 12;

export function parseNotes(bytes: Uint8Array, format: NoteFormat): ElfNote[] | ElfError {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const unit = format.align === 8 ? 8 : 4;
  const notes: ElfNote[] = [];
  let at = 0;
  while (at < bytes.length) {
    const where = format.fileOffset + at;
    if (at + NOTE_HEADER > bytes.length)
      return new ElfError(where, `a note header of ${NOTE_HEADER} bytes`, `${bytes.length - at} bytes`);
    const nameSize = view.getUint32(at, format.littleEndian);
    const descSize = view.getUint32(at + 4, format.littleEndian);
    const descAt = roundUp(at + NOTE_HEADER + nameSize, unit);
    if (descAt + descSize > bytes.length)
      return new ElfError(where, "a note inside its section", `one that ends at ${descAt + descSize}`);
    const name = bytes.subarray(at + NOTE_HEADER, at + NOTE_HEADER + nameSize);
    const end = name.indexOf(0);
    notes.push({
      name: utf8Decode(end < 0 ? name : name.subarray(0, end)),
      type: view.getUint32(at + 8, format.littleEndian),
      desc: bytes.subarray(descAt, descAt + descSize),
    });
    at = roundUp(descAt + descSize, unit);
  }
  return notes;
}

/** The bytes of a note section with 4-byte padding. */
export function writeNotes(notes: readonly ElfNote[], littleEndian: boolean): Uint8Array {
  const parts = notes.map((note) => ({ name: utf8Encode(`${note.name}\0`), note }));
  const size = parts.reduce(
    (sum, { name, note }) => sum + NOTE_HEADER + roundUp(name.length, 4) + roundUp(note.desc.length, 4),
    0,
  );
  const out = new Uint8Array(size);
  const view = new DataView(out.buffer);
  let at = 0;
  for (const { name, note } of parts) {
    view.setUint32(at, name.length, littleEndian);
    view.setUint32(at + 4, note.desc.length, littleEndian);
    view.setUint32(at + 8, note.type, littleEndian);
    out.set(name, at + NOTE_HEADER);
    at += NOTE_HEADER + roundUp(name.length, 4);
    out.set(note.desc, at);
    at += roundUp(note.desc.length, 4);
  }
  return out;
}

const roundUp = (value: number, unit: number): number => Math.ceil(value / unit) * unit;
