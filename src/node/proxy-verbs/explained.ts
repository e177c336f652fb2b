import type { Explanation } from '../../proxy/index.ts';
import type { ResolvedDestination, ResolvedSource } from './resolve.ts';

/** An explanation, with what only the API server and the command line know. */
export interface Explained extends Explanation {
  from: ResolvedSource;
  to: ResolvedDestination;
  /** Who said what should be there. */
  origin: 'proxy' | 'api' | 'kernel';
  /** Pods by the addresses of candidates. */
  pods: Record<string, string>;
  notes: string[];
}
