/** What is not UTF-8 becomes U+FFFD. */
const UTF_8 = new TextDecoder('utf-8', { ignoreBOM: true });

/** A line longer than this many bytes is cut: the server's banner comes this way, and a server is not to be trusted with our memory. */
const LONGEST_LINE = 4_096;

/** Cuts a stream of bytes into lines, whatever the pieces in which it comes. ssh ends lines with CR LF or LF. */
export class LineSplitter {
  readonly #onLine: (line: string) => void;
  #rest = '';
  #cut = false;

  constructor(onLine: (line: string) => void) {
    this.#onLine = onLine;
  }

  push(chunk: Uint8Array): void {
    // One byte, one character, until the line is whole: a character of UTF-8 that two pieces share must not be broken.
    let text = '';
    for (const byte of chunk) text += String.fromCharCode(byte);
    const pieces = text.split('\n');
    pieces.forEach((piece, index) => {
      this.#append(piece);
      if (index < pieces.length - 1) this.#emit();
    });
  }

  /** What came after the last end of line is a line too. */
  end(): void {
    if (this.#rest !== '') this.#emit();
  }

  #append(piece: string): void {
    if (this.#cut) return;
    this.#rest += piece;
    if (this.#rest.length <= LONGEST_LINE) return;
    this.#rest = this.#rest.slice(0, LONGEST_LINE);
    this.#cut = true;
  }

  #emit(): void {
    const line = this.#rest.replace(/\r$/, '');
    this.#rest = '';
    this.#cut = false;
    this.#onLine(UTF_8.decode(Uint8Array.from(line, (byte) => byte.charCodeAt(0))));
  }
}
