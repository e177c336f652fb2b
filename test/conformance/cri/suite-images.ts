import { onBusybox } from '../../support/cri-images.ts';
import { makeLayer, type TestImage, type TestLayer } from '../../support/images.ts';

/** Images that only this suite asks for, by repository and tag below a registry's name. */
export function suiteImages(base: TestLayer): { name: string; image: TestImage }[] {
  const layers = [
    makeLayer([
      { path: 'dir/' },
      { path: 'dir/old', content: 'x' },
      { path: 'gone', content: 'x' },
      { path: 'linked', content: 'content' },
      { path: 'other', type: 'hardlink', linkPath: 'linked', mode: 0o644 },
      { path: 'link', linkPath: '/linked' },
      { path: 'owned', content: 'x', mode: 0o4755, uid: 1000, gid: 2000 },
    ]),
    makeLayer([
      { path: '.wh.gone' },
      { path: 'dir/' },
      { path: 'dir/.wh..wh..opq' },
      { path: 'dir/new', content: 'x' },
    ]),
  ];
  return [
    { name: 'suite/no-command:1', image: onBusybox(base, {}) },
    { name: 'suite/stop-signal:1', image: onBusybox(base, { Cmd: ['sh'], StopSignal: 'SIGUSR1' }) },
    { name: 'suite/digest:1', image: onBusybox(base, { Cmd: ['sh'], Labels: { suite: 'digest' } }) },
    { name: 'suite/layers:1', image: onBusybox(base, { Cmd: ['sh'] }, layers) },
    {
      name: 'suite/data:1',
      image: onBusybox(base, { Cmd: ['sh'], Labels: { suite: 'data' } }, [
        makeLayer([
          { path: 'data/' },
          { path: 'data/file', content: 'from the image\n' },
          { path: 'data/deep/' },
          { path: 'data/deep/er', content: 'deeper\n' },
          { path: 'data/run', content: '#!/bin/sh\necho it runs\n', mode: 0o755 },
        ]),
      ]),
    },
    {
      name: 'suite/volumes:1',
      image: onBusybox(base, { Cmd: ['sh'], Volumes: { '/declared': {} } }, [
        makeLayer([{ path: 'declared/' }, { path: 'declared/seed', content: 'seed\n' }]),
      ]),
    },
  ];
}
