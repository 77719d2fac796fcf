/**
 * The host's next macrotask, by a message to oneself: all promises that are ready run before it, it is not clamped to
 * milliseconds as timers are, and no fake timer replaces it. Node and browsers have it.
 */
export class Macrotasks {
  #channel: InstanceType<typeof MessageChannel> | undefined;
  #resolve: (() => void) | undefined;

  next(): Promise<void> {
    const channel = (this.#channel ??= this.#open());
    return new Promise((resolve) => {
      this.#resolve = resolve;
      channel.port2.postMessage(undefined);
    });
  }

  /** Lets the process end: an open channel keeps it alive. */
  close(): void {
    this.#channel?.port1.close();
    this.#channel?.port2.close();
    this.#channel = undefined;
  }

  #open(): InstanceType<typeof MessageChannel> {
    const channel = new MessageChannel();
    channel.port1.addEventListener("message", () => {
      const resolve = this.#resolve;
      this.#resolve = undefined;
      resolve?.();
    });
    channel.port1.start();
    return channel;
  }
}
