import type { Pod } from '../../api/index.ts';
import type { Clock } from '../../async/index.ts';
import type { Logger } from '../../log/index.ts';
import { HttpClient } from '../../wire/http/index.ts';
import { parseStaticPods } from './static-pod.ts';

/** What the URL source is given. */
export interface UrlSourceOptions {
  /** `http://…` or `https://…`: a manifest with a Pod or a PodList. */
  url: string;
  headers: Readonly<Record<string, string[]>>;
  nodeName: string;
  /** Milliseconds between requests. */
  intervalMs: number;
  clock: Clock;
  log: Logger;
  /** Gets all pods after each answer that differs from the one before. */
  onPods(pods: Pod[]): void;
}

/** Longest wait for an answer, milliseconds. */
const timeoutMs = 10_000;

/**
 * Asks a URL for static pods again and again. An answer that is none (an error, nothing, what cannot be read as pods) is
 * told once and changes nothing: the pods of the last good one stay.
 */
export class UrlSource {
  readonly #options: UrlSourceOptions;
  readonly #client: HttpClient;
  readonly #stop = new AbortController();
  #text: string | undefined;
  #problem = '';

  constructor(options: UrlSourceOptions) {
    this.#options = options;
    this.#client = new HttpClient({ baseUrl: options.url, keepAlive: false, trustSystem: true, clock: options.clock });
  }

  /** Asks for the first time, and goes on in the background. Resolves after the first answer, whatever it is. */
  async start(): Promise<void> {
    await this.#ask();
    void this.#goOn();
  }

  stop(): void {
    this.#stop.abort(new Error('URL source stopped'));
    this.#client.close();
  }

  async #goOn(): Promise<void> {
    const { clock, intervalMs } = this.#options;
    while (!this.#stop.signal.aborted) {
      await clock.sleep(intervalMs, this.#stop.signal).catch(() => {});
      if (!this.#stop.signal.aborted) await this.#ask();
    }
  }

  async #ask(): Promise<void> {
    const { url, headers, nodeName, onPods, log } = this.#options;
    try {
      const { status, body } = await this.#client.request({
        path: url,
        headers: { ...headers },
        timeoutMs,
        signal: this.#stop.signal,
      });
      if (status !== 200) throw new Error(`it answers with status ${status}`);
      if (body.length === 0) throw new Error('it answers with nothing');
      const text = body.toString('utf8');
      if (text !== this.#text) {
        const pods = parseStaticPods(text, { nodeName, file: url, source: 'http' });
        this.#text = text;
        onPods(pods);
      }
      if (this.#problem) log.info('the URL of static pods can be used again', { url });
      this.#problem = '';
    } catch (error) {
      const problem = (error as Error).message;
      if (this.#stop.signal.aborted || problem === this.#problem) return;
      this.#problem = problem;
      log.error('the URL of static pods cannot be used', { url, problem });
    }
  }
}
