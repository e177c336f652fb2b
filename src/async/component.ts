/** A running part of the system (a runtime, a kubelet, an API server): what `start` functions return. */
export interface Component {
  /** Resolves when it serves; rejects when it cannot. */
  readonly ready: Promise<void>;
  /** Ends it; idempotent. Containers, rules and data stay unless `remove` asks for them to go. */
  stop(options?: StopOptions): Promise<void>;
}

/** How a component should end. */
export interface StopOptions {
  /** Also take away what it made on the host: containers, sandboxes, rules, mounts. */
  remove?: boolean;
}
