export { joinStreams, type TunnelTarget, tunnelUpgrade } from './tunnel-upgrade.ts';
export { refuseUpgrade } from './upgrade-response.ts';
