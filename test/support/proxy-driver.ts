/**
 * A proxy without an API server: Services and slices come as lines of JSON on standard input. For tests and
 * measurements that need a proxy in a network namespace of their own.
 *
 * Usage: node proxy-driver.ts CONFIG-JSON; then lines such as {"service": …}, {"slice": …}, {"deleteService": "ns/name"},
 * {"reconfigure": {"mode": "iptables"}} (answered when it is in the kernel),
 * {"sync": 1} (answered by {"sync": 1, "ms": …} when everything before it is in the kernel), {"stop": true, "remove": true}.
 */
import { createInterface } from 'node:readline';
import { systemClock } from '../../src/async/index.ts';
import { createLogger, textSink } from '../../src/log/index.ts';
import { ManualSource, startProxy } from '../../src/proxy/index.ts';

const source = new ManualSource();
const log = createLogger(
  'proxy',
  textSink((line) => process.stderr.write(line), systemClock.now),
  'info',
);
const config = JSON.parse(process.argv[2] ?? '{}');
const say = (message: object) => process.stdout.write(`${JSON.stringify(message)}\n`);
/** A source that says one thing, once. */
const fixed = (what: any) => ({
  start: (tell: (what: any) => void) => tell(what),
  synced: Promise.resolve(),
  stop() {},
});
let proxy: ReturnType<typeof startProxy> | undefined;

for await (const line of createInterface({ input: process.stdin })) {
  const message = JSON.parse(line);
  if (message.service) source.setService(message.service);
  if (message.slice) source.setSlice(message.slice);
  if (message.deleteService) source.deleteService(message.deleteService);
  if (message.start) {
    const begin = systemClock.monotonic();
    const facts = config.facts
      ? { node: fixed(config.facts.node), serviceCidrs: fixed(config.facts.serviceCidrs) }
      : {};
    proxy = startProxy(
      { healthzBindAddress: '', metricsBindAddress: '', ...config, ...facts, source },
      { log, clock: systemClock },
    );
    await proxy.ready.then(
      () => say({ start: true, ms: systemClock.monotonic() - begin, rss: process.memoryUsage.rss() }),
      (error) => say({ error: String(error) }),
    );
  }
  if (message.reconfigure)
    await proxy?.reconfigure(message.reconfigure).then(
      () => say({ reconfigured: true }),
      (error) => say({ error: String(error) }),
    );
  if (message.sync !== undefined) {
    const begin = systemClock.monotonic();
    await proxy?.idle();
    say({ sync: message.sync, ms: systemClock.monotonic() - begin, rss: process.memoryUsage.rss() });
  }
  if (message.stop) {
    await proxy?.stop({ remove: message.remove });
    say({ stopped: true });
    process.exit(0);
  }
}
