/** How soon an edit is seen. Reading some small files costs less than a watch which the rename of an editor can lose. */
const EVERY_MS = 500;

/**
 * Calls `onChange` when `read` gives another text than `first`, or than the last time, and gives it twice in a row: an editor that
 * empties a file before it writes it anew is not caught in the middle. `first` was read before what was read is put to use: an edit
 * meanwhile is one.
 */
export const watchSources = (
  first: string,
  read: () => string,
  onChange: () => void,
): { readonly stop: () => void } => {
  let settled = first;
  let last = first;
  const timer = setInterval(() => {
    const now = read();
    const isStable = now === last;
    last = now;
    if (!isStable || now === settled) return;
    settled = now;
    onChange();
  }, EVERY_MS);
  return { stop: () => clearInterval(timer) };
};
