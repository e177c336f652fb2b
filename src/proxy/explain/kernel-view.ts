import type { BackendOptions, ProxyMode } from '../backends/backend.ts';
import type { ServicePortPlan } from '../plan/types.ts';
import type { TraceableRules } from '../tracer/packet.ts';

/** What the kernel holds of one mode and family, to be compared with what should be there. */
export interface KernelView {
  readonly mode: ProxyMode;
  /** The rules as the kernel has them. */
  readonly rules: TraceableRules;
  /** What of this plan is missing or otherwise in the kernel. `options`: of the proxy that should have written it. */
  compare(plan: ServicePortPlan, options: BackendOptions): Comparison;
  /** The same for what does not depend on Services. */
  compareBase(options: BackendOptions): Comparison;
  /** What is there and belongs to none of the plans, which must be all; after {@link preload}. */
  surplus(plans: readonly ServicePortPlan[], options: BackendOptions): string[];
  /** Reads everything at once, for when many plans are to be compared. */
  preload(): void;
  close(): void;
}

/** What a comparison with the kernel found. */
export interface Comparison {
  /** How many elements, rules or chains there should be. */
  parts: number;
  /** How many of them are not there at all. */
  missing: number;
  /** What is missing or otherwise, one sentence each. */
  differences: string[];
}
