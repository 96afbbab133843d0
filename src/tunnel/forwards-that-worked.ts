/**
 * Which remote forwards were refused in this run of ssh, and which had worked in an earlier one.
 *
 * Not every refusal has a port: ssh reads it from memory that it has freed when a forward is added over its control socket before the
 * server has answered for those of the command line (OpenSSH 9.2, ssh_confirm_remote_forward).
 */
export class ForwardsThatWorked {
  #stood = false;
  #now = new Set<number>();
  #isOneUnknown = false;
  /** Refused in every run so far that stood; null until there was one. */
  #never: Set<number> | null = null;

  /** This run has a connection, so that the server has answered for every forward. */
  stand(): void {
    this.#stood = true;
  }

  next(): void {
    // A run with a refusal that has no port says nothing of the other forwards either.
    if (this.#stood && !this.#isOneUnknown)
      this.#never = new Set([...this.#now].filter((port) => this.#never?.has(port) ?? true));
    this.#stood = false;
    this.#now = new Set();
    this.#isOneUnknown = false;
  }

  /** Notes a refusal; true when the forward had worked before, and where it has no port, when every one had. */
  refused(port: number): boolean {
    if (port < 0 || port > 65_535) {
      this.#isOneUnknown = true;
      return this.#never?.size === 0;
    }
    this.#now.add(port);
    return this.#never !== null && !this.#never.has(port);
  }

  anyWorked(): boolean {
    return this.#never !== null;
  }
}
