import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { decodeProtobufBody, isProtobufBody, ProtobufError } from './index.ts';

/** Writes protobuf by hand: what a client would send. */
const varint = (value: number): number[] => (value < 128 ? [value] : [(value & 127) | 128, ...varint(value >>> 7)]);
const number = (field: number, value: number): number[] => [...varint(field << 3), ...varint(value)];
const bytes = (field: number, value: number[]): number[] => [
  ...varint((field << 3) | 2),
  ...varint(value.length),
  ...value,
];
const text = (field: number, value: string): number[] => bytes(field, [...new TextEncoder().encode(value)]);
const envelope = (apiVersion: string, kind: string, raw: number[]): Uint8Array =>
  new Uint8Array([0x6b, 0x38, 0x73, 0, ...bytes(1, [...text(1, apiVersion), ...text(2, kind)]), ...bytes(2, raw)]);

describe('protobuf bodies', () => {
  it('become what JSON would carry: embedded structs, maps, quantities, times, bytes', () => {
    const metadata = [
      ...text(1, 'web'),
      ...text(2, ''),
      ...bytes(8, []),
      ...bytes(11, [...text(1, 'app'), ...text(2, 'ü')]),
      ...bytes(9, number(1, 1_700_000_000)),
    ];
    const probe = [
      ...bytes(1, bytes(2, bytes(2, [...number(1, 1), ...text(3, 'http')]))),
      ...number(2, 5),
      ...number(3, 0),
    ];
    const resources = bytes(1, [...text(1, 'cpu'), ...bytes(2, text(1, '100m'))]);
    const container = [
      ...text(1, 'c'),
      ...text(2, 'image'),
      ...bytes(8, resources),
      ...bytes(10, probe),
      ...number(16, 0),
    ];
    const volume = [...text(1, 'v'), ...bytes(2, bytes(2, []))];
    const pod = decodeProtobufBody(
      envelope('v1', 'Pod', [
        ...bytes(1, metadata),
        ...bytes(2, [...bytes(1, volume), ...bytes(2, container), ...number(4, 30)]),
      ]),
    );
    assert.deepEqual(pod, {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'web', labels: { app: 'ü' }, deletionTimestamp: '2023-11-14T22:13:20Z' },
      spec: {
        volumes: [{ name: 'v', emptyDir: {} }],
        containers: [
          {
            name: 'c',
            image: 'image',
            resources: { limits: { cpu: '100m' } },
            livenessProbe: { httpGet: { port: 'http' }, initialDelaySeconds: 5 },
            stdin: false,
          },
        ],
        terminationGracePeriodSeconds: 30,
      },
    });
    const secret = decodeProtobufBody(envelope('v1', 'Secret', bytes(2, [...text(1, 'a'), ...bytes(2, [104, 105])])));
    assert.deepEqual(secret['data'], { a: 'aGk=' });
  });

  it('are refused when they are not what they say', () => {
    assert.equal(isProtobufBody(new TextEncoder().encode('{"kind":')), false);
    const refused = (body: Uint8Array) => assert.throws(() => decodeProtobufBody(body), ProtobufError);
    refused(new Uint8Array([1, 2, 3]));
    refused(envelope('v9', 'Pod', []));
    refused(envelope('v1', 'Pod', [0x0a, 0x7f]));
    refused(envelope('v1', 'Pod', [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]));
    refused(envelope('v1', 'Pod', number(1, 5)));
    // Any bytes at all: an answer or a ProtobufError, never another failure.
    let seed = 1;
    const random = () => (seed = (seed * 48271) % 2147483647) & 255;
    for (let i = 0; i < 500; i++) {
      try {
        decodeProtobufBody(envelope('apps/v1', 'Deployment', Array.from({ length: 40 }, random)));
      } catch (error) {
        assert.ok(error instanceof ProtobufError, String(error));
      }
    }
  });
});
