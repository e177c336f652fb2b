import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = join(import.meta.dirname, '../..');

/** Where a name is used, as the type checker sees it: asks TypeScript's language server. */
export class References implements Disposable {
  readonly #server: ChildProcess;
  readonly #waiting = new Map<number, (message: { result?: unknown; error?: { message: string } }) => void>();
  #buffer = Buffer.alloc(0);
  #count = 0;

  private constructor(server: ChildProcess) {
    this.#server = server;
    server.stdout!.on('data', (chunk: Buffer) => this.#receive(chunk));
  }

  /** Starts the server for this project; `files` are those from which it finds the others. */
  static async start(files: readonly string[]): Promise<References> {
    const argv = [join(root, 'node_modules/typescript/lib/tsc.js'), '--lsp', '--stdio'];
    const server = spawn(process.execPath, argv, { cwd: root, stdio: ['pipe', 'pipe', 'inherit'] });
    const references = new References(server);
    const rootUri = pathToFileURL(root).href;
    await references.#ask('initialize', { processId: process.pid, rootUri, capabilities: {} });
    references.#send({ method: 'initialized', params: {} });
    for (const file of files) {
      const textDocument = { uri: pathToFileURL(join(root, file)).href, languageId: 'typescript', version: 1 };
      const text = readFileSync(join(root, file), 'utf8');
      references.#send({ method: 'textDocument/didOpen', params: { textDocument: { ...textDocument, text } } });
    }
    return references;
  }

  /** The files, from the root of the project, that use what is declared at a place. Lines and columns count from 0. */
  async of(file: string, line: number, character: number): Promise<string[]> {
    const found = (await this.#ask('textDocument/references', {
      textDocument: { uri: pathToFileURL(join(root, file)).href },
      position: { line, character },
      context: { includeDeclaration: false },
    })) as { uri: string }[] | null;
    return (found ?? []).map(({ uri }) => relative(root, fileURLToPath(uri)));
  }

  [Symbol.dispose](): void {
    this.#server.kill('SIGKILL');
  }

  #ask(method: string, params: object): Promise<unknown> {
    const id = ++this.#count;
    this.#send({ id, method, params });
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, ({ result, error }) => (error ? reject(new Error(error.message)) : resolve(result)));
      this.#server.once('exit', () => reject(new Error('the language server ended')));
    });
  }

  #send(message: object): void {
    const text = JSON.stringify({ jsonrpc: '2.0', ...message });
    this.#server.stdin!.write(`Content-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`);
  }

  #receive(chunk: Buffer): void {
    this.#buffer = Buffer.concat([this.#buffer, chunk]);
    for (;;) {
      const end = this.#buffer.indexOf('\r\n\r\n');
      const length = Number(/Content-Length: (\d+)/i.exec(this.#buffer.subarray(0, Math.max(0, end)).toString())?.[1]);
      if (end < 0 || this.#buffer.length < end + 4 + length) return;
      const message = JSON.parse(this.#buffer.subarray(end + 4, end + 4 + length).toString());
      this.#buffer = this.#buffer.subarray(end + 4 + length);
      // The server's own questions (its configuration, progress) have no answer of ours.
      if (message.method && message.id !== undefined) this.#send({ id: message.id, result: null });
      else this.#waiting.get(message.id)?.(message);
    }
  }
}
