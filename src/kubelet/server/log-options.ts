/** Which lines of a container's log are wanted. */
export interface LogOptions {
  /** Go on until the container ends. */
  follow: boolean;
  /** Only the last lines; undefined: all. */
  tailLines?: number;
  /** Only lines written at or after this time, milliseconds since 1970. */
  sinceMs?: number;
  /** Stop after this many bytes. */
  limitBytes?: number;
  /** Put the time before each line. */
  timestamps: boolean;
  /** Only one of the streams. */
  stream?: 'stdout' | 'stderr';
}

/** How following learns that something has happened. */
export interface FollowHooks {
  /** Whether the container still runs. */
  isRunning: () => boolean;
  /** Calls back when the container changes state, until the signal aborts. */
  onChange: (callback: () => void, signal: AbortSignal) => void;
}
