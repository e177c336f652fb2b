import type { IpFamily, ProxyMode, ProxyState, ServicePortStatus } from '../../proxy/index.ts';

/** Everything that `deckhand proxy status` shows. */
export interface ProxyStatus {
  origin: 'proxy' | 'api';
  mode: ProxyMode;
  nodeName: string;
  /** What the running proxy says of itself. */
  state?: ProxyState;
  families: FamilyStatus[];
  services: ServicePortStatus[];
}

/** One family as a whole. */
export interface FamilyStatus {
  family: IpFamily;
  kernel: 'yes' | 'no' | 'differs' | 'unread';
  /** Of what does not depend on Services. */
  differences: string[];
  /** What is in the kernel and belongs to no Service. */
  surplus: string[];
  /** Why the kernel was not read. */
  error?: string;
}
