import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DecodeTypeError, decodeStructure, findDuplicateFields, typeNameOf } from './index.ts';

describe('decoding by the schema', () => {
  const decode = (object: any, type = 'core.v1.Pod') => decodeStructure(object, type).unknown;
  const refuses = (object: any, message: RegExp, type?: string) =>
    assert.throws(
      () => decode(object, type),
      (error) => error instanceof DecodeTypeError && message.test(error.message),
    );

  it('names types by apiVersion and kind', () => {
    assert.equal(typeNameOf('apps/v1', 'Deployment'), 'apps.v1.Deployment');
    assert.equal(typeNameOf('v1', 'Nothing'), undefined);
  });
  it('drops unknown fields and nulls, and says which were unknown', () => {
    const pod: any = { spec: { containers: [{ name: 'a', foo: 1, image: null }], bar: {} }, metadata: { name: 'x' } };
    assert.deepEqual(decode(pod), ['spec.containers[0].foo', 'spec.bar']);
    assert.deepEqual(pod, { spec: { containers: [{ name: 'a' }] }, metadata: { name: 'x' } });
  });
  it('words wrong types as upstream does', () => {
    refuses(
      { spec: { containers: {} } },
      /cannot unmarshal object into Go struct field PodSpec\.spec\.containers of type \[\]v1\.Container/,
    );
    refuses(
      { spec: { containers: [{ image: 5 }] } },
      /number into Go struct field Container\.spec\.containers\.image of type string/,
    );
    refuses(
      { spec: { replicas: '3' } },
      /string into Go struct field DeploymentSpec\.spec\.replicas of type int32/,
      'apps.v1.Deployment',
    );
    refuses(
      { metadata: { labels: { a: 1 } } },
      /number into Go struct field ObjectMeta\.metadata\.labels of type string/,
    );
    refuses(
      { spec: { containers: [{ resources: { limits: { cpu: 'much' } } }] } },
      /quantities must match the regular expression/,
    );
    refuses({ spec: { replicas: 1.5 } }, /number 1\.5 into/, 'apps.v1.Deployment');
    refuses({ metadata: { creationTimestamp: 'yesterday' } }, /parsing time "yesterday"/);
    refuses({ data: { a: '%%%' } }, /illegal base64/, 'core.v1.Secret');
  });
  it('makes quantities text and lets ports be names', () => {
    const pod: any = {
      spec: { containers: [{ resources: { limits: { cpu: 1 } }, livenessProbe: { httpGet: { port: 'web' } } }] },
    };
    assert.deepEqual(decode(pod), []);
    assert.equal(pod.spec.containers[0].resources.limits.cpu, '1');
  });
  it('finds duplicate fields', () => {
    assert.deepEqual(findDuplicateFields('{"a":{"b":1,"c":[{"d":1,"d":2}],"b":"x\\"y"},"e":"}"}'), ['a.c[0].d', 'a.b']);
    assert.deepEqual(findDuplicateFields('{"a":[],"b":{},"c":[1,2],"d":""}'), []);
  });
});
