/** Numbers of linux/netfilter/nf_tables.h and nfnetlink.h. */
const subsystem = 10 << 8;

/** Message types of nf_tables, with the subsystem. */
export const nftMessage = {
  batchBegin: 16,
  batchEnd: 17,
  newTable: subsystem | 0,
  getTable: subsystem | 1,
  delTable: subsystem | 2,
  newChain: subsystem | 3,
  getChain: subsystem | 4,
  delChain: subsystem | 5,
  newRule: subsystem | 6,
  getRule: subsystem | 7,
  delRule: subsystem | 8,
  newSet: subsystem | 9,
  getSet: subsystem | 10,
  delSet: subsystem | 11,
  newElement: subsystem | 12,
  getElement: subsystem | 13,
  delElement: subsystem | 14,
  newGeneration: subsystem | 15,
  getGeneration: subsystem | 16,
  trace: subsystem | 17,
  destroyElement: subsystem | 30,
} as const;

/** The multicast group that tells of every nf_tables change. */
export const nftablesGroup = 7;

/** Table families. */
export const nftFamily = { inet: 1, ip: 2, ip6: 10 } as const;

/** Netfilter hooks of the IP families. */
export const hookNumber = { prerouting: 0, input: 1, forward: 2, output: 3, postrouting: 4 } as const;

/** Verdicts of rules and verdict maps. */
export const verdictCode = { drop: 0, accept: 1, continue: -1, jump: -3, goto: -4, return: -5 } as const;

/** Flags of a set. */
export const setFlag = { interval: 0x4, map: 0x8, timeout: 0x10, eval: 0x20, concat: 0x80 } as const;

/** The data type number that means a verdict. */
export const verdictType = 0xffffff00;
