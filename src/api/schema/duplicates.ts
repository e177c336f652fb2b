/**
 * Paths of the fields that occur twice in one object of a JSON text, as strict field validation reports them
 * (`spec.containers[0].name`). The text must be valid JSON.
 */
export function findDuplicateFields(text: string): string[] {
  const found: string[] = [];
  const scanner = new Scanner(text, found);
  scanner.value('');
  return found;
}

/** Walks JSON once, looking only at keys. */
class Scanner {
  readonly #text: string;
  readonly #found: string[];
  #at = 0;

  constructor(text: string, found: string[]) {
    this.#text = text;
    this.#found = found;
  }

  value(path: string): void {
    this.#space();
    const code = this.#text.charCodeAt(this.#at);
    if (code === 0x7b) this.#object(path);
    else if (code === 0x5b) this.#array(path);
    else if (code === 0x22) this.#string();
    else while (this.#at < this.#text.length && !isEnd(this.#text.charCodeAt(this.#at))) this.#at++;
  }

  #object(path: string): void {
    const keys = new Set<string>();
    this.#at++;
    for (;;) {
      this.#space();
      const code = this.#text.charCodeAt(this.#at);
      if (code === 0x2c) {
        this.#at++;
        continue;
      }
      if (code !== 0x22) {
        this.#at++;
        return;
      }
      const key = this.#string();
      const inner = path === '' ? key : `${path}.${key}`;
      if (keys.has(key)) this.#found.push(inner);
      keys.add(key);
      this.#space();
      this.#at++;
      this.value(inner);
    }
  }

  #array(path: string): void {
    this.#at++;
    for (let index = 0; ; index++) {
      this.#space();
      if (this.#text.charCodeAt(this.#at) === 0x2c) {
        this.#at++;
        this.#space();
      }
      if (this.#at >= this.#text.length) return;
      if (this.#text.charCodeAt(this.#at) === 0x5d) {
        this.#at++;
        return;
      }
      this.value(`${path}[${index}]`);
    }
  }

  #string(): string {
    const start = ++this.#at;
    for (;;) {
      const end = this.#text.indexOf('"', this.#at);
      if (end < 0) {
        this.#at = this.#text.length;
        return '';
      }
      let slashes = 0;
      while (this.#text.charCodeAt(end - 1 - slashes) === 0x5c) slashes++;
      this.#at = end + 1;
      if (slashes % 2 === 0) return this.#text.slice(start, end);
    }
  }

  #space(): void {
    while (this.#text.charCodeAt(this.#at) <= 0x20) this.#at++;
  }
}

function isEnd(code: number): boolean {
  return code === 0x2c || code === 0x7d || code === 0x5d || code <= 0x20;
}
