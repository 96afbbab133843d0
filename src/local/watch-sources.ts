/** How soon an edit is seen. Reading some small files costs less than a watch which the rename of an editor can lose. */
const EVERY_MS = 500;

/**
 * Calls `onChange` when `read` gives another text than before, and gives it twice in a row: an editor that empties a file before it
 * writes it anew is not caught in the middle.
 */
export const watchSources = (read: () => string, onChange: () => void): { readonly stop: () => void } => {
  let settled = read();
  let last = settled;
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
