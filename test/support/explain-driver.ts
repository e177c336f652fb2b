/**
 * Explains many packets in one process, as `deckhand proxy explain` does each in its own. Questions are lines of JSON:
 * {"id": 1, "packets": [{"from": "10.244.0.10", "to": "10.96.0.1:80/TCP"}]}; the answer has an explanation for each.
 */
import { createInterface } from 'node:readline';
import { systemClock } from '../../src/async/index.ts';
import { createLogger, textSink } from '../../src/log/index.ts';
import { explainAll, NodeReader } from '../../src/node/proxy-verbs/explain.ts';
import { openSources } from '../../src/node/proxy-verbs/open-sources.ts';

const log = createLogger(
  'explain',
  textSink((line) => process.stderr.write(line), systemClock.now),
  'info',
);
const context = { log, clock: systemClock };

for await (const line of createInterface({ input: process.stdin })) {
  const { id, packets } = JSON.parse(line);
  const sources = await openSources({ 'data-dir': '/nonexistent' }, context);
  try {
    using reader = new NodeReader();
    const explanations = [];
    for (const { from, to } of packets) {
      const [one] = await explainAll({ from, to, namespace: 'default' }, { sources, reader }, context);
      explanations.push(one);
    }
    process.stdout.write(`${JSON.stringify({ id, explanations })}\n`);
  } catch (error) {
    process.stdout.write(`${JSON.stringify({ id, error: (error as Error).stack })}\n`);
  } finally {
    sources.close();
  }
}
