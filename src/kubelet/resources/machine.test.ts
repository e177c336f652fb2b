import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { checkMemoryFacts, hugepageSizes, readMachineCapacity, readMemoryFacts } from './machine.ts';

const none = { memorySwap: { swapBehavior: '' } };

describe('the memory of the machine', () => {
  it('is read, and so is what can be limited of it', () => {
    const facts = readMemoryFacts(none);
    assert.ok(facts.memoryCapacity > 2 ** 20);
    assert.equal(facts.limitedSwap, false);
    assert.equal(facts.killTogether, facts.unified);
    assert.equal(readMemoryFacts({ ...none, singleProcessOOMKill: true }).killTogether, false);
    const capacity = readMachineCapacity('/');
    assert.deepEqual(
      Object.keys(capacity.hugepages).sort(),
      hugepageSizes()
        .map(({ size }) => size)
        .sort(),
    );
  });

  it('what this kernel cannot do is refused by the name of its field', () => {
    const v1 = { ...readMemoryFacts(none), unified: false, swapControl: true };
    const v2 = { ...v1, unified: true };
    assert.throws(
      () => checkMemoryFacts({}, { ...v1, limitedSwap: true }),
      /^ConfigurationError|swapBehavior: LimitedSwap needs cgroup v2/,
    );
    assert.throws(
      () => checkMemoryFacts({}, { ...v2, limitedSwap: true, swapControl: false }),
      /a kernel that limits swap/,
    );
    assert.throws(
      () => checkMemoryFacts({ singleProcessOOMKill: false }, v1),
      /singleProcessOOMKill: false needs cgroup v2/,
    );
    assert.doesNotThrow(() => checkMemoryFacts({ singleProcessOOMKill: false }, { ...v2, limitedSwap: true }));
  });
});
