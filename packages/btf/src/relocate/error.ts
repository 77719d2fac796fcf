/** Why a CO-RE relocation cannot be applied. A value; never thrown here. */
export class CoreError extends Error {
  /** The type of the program's BTF that the relocation is about; 0 where the fault is the instruction's. */
  readonly typeId: number;

  constructor(reason: string, typeId = 0) {
    super(typeId === 0 ? `CO-RE: ${reason}` : `CO-RE: [${typeId}] ${reason}`);
    this.name = "CoreError";
    this.typeId = typeId;
  }
}

export const isCoreError = (value: unknown): value is CoreError => value instanceof CoreError;
