import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { releaseProgramPages, unchangedFilePages } from './program-pages.ts';

const smaps = `00400000-00600000 r-xp 00001000 fe:00 1234                       /usr/bin/program
Rss:                1024 kB
Anonymous:             0 kB
00600000-00700000 r--p 00201000 fe:00 1234                       /usr/bin/program
Rss:                1024 kB
Anonymous:           512 kB
00700000-00800000 rw-p 00301000 fe:00 1234                       /usr/bin/program
Rss:                1024 kB
Anonymous:             0 kB
00900000-00a00000 r--s 00000000 fe:00 1235                       /usr/share/shared
Rss:                1024 kB
Anonymous:             0 kB
7f0000000000-7f0000100000 r--p 00000000 00:00 0 
Rss:                   0 kB
Anonymous:             0 kB
7ffd00000000-7ffd00002000 r-xp 00000000 00:00 0                  [vdso]
Rss:                   8 kB
Anonymous:             0 kB
`;

test('only private, unwritable and unchanged pages of files are let go', () => {
  assert.deepEqual(unchangedFilePages(smaps), [{ start: 0x400000n, length: 0x200000n }]);
});

test('a program goes on after its pages are let go, and has fewer', () => {
  const filePages = () => Number(/^RssFile:\s+(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))![1]);
  const before = filePages();
  releaseProgramPages();
  const after = filePages();
  assert.ok(after < before, `${before} kB before, ${after} kB after`);
  assert.equal(JSON.parse('{"still":"there"}').still, 'there');
});
