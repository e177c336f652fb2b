import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { pluginRegistration } from '../../api/plugins/index.ts';
import { pollUntil, systemClock } from '../../async/index.ts';
import { createLogger } from '../../log/index.ts';
import { type GrpcServer, grpcService, serveGrpc } from '../../wire/grpc/index.ts';
import type { RegisteredPlugin } from './plugin-handler.ts';
import { PluginWatcher } from './plugin-watcher.ts';

/** A plugin that remembers what it was told. */
class Plugin {
  readonly heard: { registered: boolean; error: string }[] = [];
  #server: GrpcServer | undefined;
  async serve(path: string, info: { type: string; name: string; endpoint?: string }): Promise<this> {
    this.#server = await serveGrpc(path, [
      grpcService(pluginRegistration.Registration, {
        getInfo: () => ({ ...info, supportedVersions: ['1.0.0'] }),
        notifyRegistrationStatus: ({ pluginRegistered, error }) => {
          this.heard.push({ registered: pluginRegistered, error });
          return {};
        },
      }),
    ]);
    return this;
  }
  async close(): Promise<void> {
    await this.#server?.close();
  }
}

describe('PluginWatcher', () => {
  let directory: string;
  let watcher: PluginWatcher;
  const plugins: Plugin[] = [];
  const calls: string[] = [];
  const lines: string[] = [];
  let refuse: string | undefined;

  const handler = {
    validate: ({ name }: RegisteredPlugin) => {
      calls.push(`validate ${name}`);
      if (refuse) throw new Error(refuse);
    },
    register: async ({ name, endpoint }: RegisteredPlugin) => {
      calls.push(`register ${name} ${endpoint.replace(directory, '')}`);
    },
    deregister: ({ name }: RegisteredPlugin) => {
      calls.push(`deregister ${name}`);
    },
  };
  const start = async (): Promise<void> => {
    const log = createLogger('test', (_, __, message, { error }) => lines.push(`${message}: ${error}`));
    watcher = new PluginWatcher({ directory, handlers: { CSIPlugin: handler }, clock: systemClock, log });
    await watcher.start();
  };
  const serve = async (name: string, info: { type: string; name: string; endpoint?: string }): Promise<Plugin> => {
    const plugin = await new Plugin().serve(join(directory, name), info);
    plugins.push(plugin);
    return plugin;
  };
  const until = (text: string) => pollUntil(text, () => calls.includes(text), { timeoutMs: 10_000, intervalMs: 5 });

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'dh-plugins-'));
    refuse = undefined;
    calls.length = 0;
    lines.length = 0;
    await start();
  });
  afterEach(async () => {
    await watcher.stop();
    for (const plugin of plugins.splice(0)) await plugin.close();
    await rm(directory, { recursive: true, force: true });
  });

  it('registers a plugin whose socket appears, tells it, and deregisters it when the socket goes', async () => {
    const plugin = await serve('a.sock', { type: 'CSIPlugin', name: 'a.example.test' });
    await until('register a.example.test /a.sock');
    await pollUntil('told', () => plugin.heard.length > 0, { timeoutMs: 10_000 });
    assert.deepEqual(plugin.heard, [{ registered: true, error: '' }]);
    await pollUntil('known', () => watcher.registered().length === 1, { timeoutMs: 10_000 });
    await chmod(join(directory, 'a.sock'), 0o700);
    await watcher.scan();
    await plugin.close();
    await until('deregister a.example.test');
    assert.deepEqual(watcher.registered(), []);
    assert.equal(calls.filter((call) => call.startsWith('register')).length, 1);
  });

  it('takes the endpoint that the plugin names, and sockets in directories below', async () => {
    await mkdir(join(directory, 'deep'));
    await serve('deep/b.sock', { type: 'CSIPlugin', name: 'b', endpoint: '/elsewhere/csi.sock' });
    await until('register b /elsewhere/csi.sock');
  });

  it('registers a plugin again when its socket is made anew', async () => {
    const first = await serve('c.sock', { type: 'CSIPlugin', name: 'c' });
    await until('register c /c.sock');
    await first.close();
    await serve('c.sock', { type: 'CSIPlugin', name: 'c2' });
    await until('register c2 /c.sock');
    assert.deepEqual(
      calls.filter((call) => !call.startsWith('validate')),
      ['register c /c.sock', 'deregister c', 'register c2 /c.sock'],
    );
  });

  it('refuses other types by name, and tells the plugin', async () => {
    const plugin = await serve('d.sock', { type: 'DRAPlugin', name: 'd' });
    await pollUntil('told', () => plugin.heard.length > 0, { timeoutMs: 10_000 });
    const error = 'no handler for plugins of type "DRAPlugin": this kubelet takes CSIPlugin';
    assert.deepEqual(plugin.heard[0], { registered: false, error });
  });

  it('tries again what was refused, and says each reason once', async () => {
    refuse = 'not now';
    const plugin = await serve('e.sock', { type: 'CSIPlugin', name: 'e' });
    await pollUntil('told', () => plugin.heard.length > 1, { timeoutMs: 10_000 });
    refuse = undefined;
    await until('register e /e.sock');
    assert.deepEqual(
      lines.filter((line) => line.includes('cannot')),
      ['cannot register a plugin: Error: not now'],
    );
  });

  it('passes over files, and names that begin with a dot', async () => {
    await writeFile(join(directory, 'file'), '');
    await serve('.f.sock', { type: 'CSIPlugin', name: 'hidden' });
    await serve('g.sock', { type: 'CSIPlugin', name: 'g' });
    await until('register g /g.sock');
    assert.ok(!calls.includes('validate hidden'));
  });

  it('registers once more what is there after a restart', async () => {
    await serve('h.sock', { type: 'CSIPlugin', name: 'h' });
    await until('register h /h.sock');
    await watcher.stop();
    calls.length = 0;
    await start();
    await until('register h /h.sock');
  });
});
