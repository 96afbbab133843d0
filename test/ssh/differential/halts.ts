/** For how long this process did not get its turn: on a machine that stands still, or has too much to do, nobody does. */
export type Halts = { readonly ms: () => number; readonly stop: () => void };

const EVERY_MS = 50;
/** So late is nobody's fault. */
const USUAL_MS = 100;

/** Adds up the halts from now on. */
export const watchHalts = (): Halts => {
  let last = performance.now();
  let sum = 0;
  const look = () => {
    const now = performance.now();
    sum += Math.max(0, now - last - EVERY_MS - USUAL_MS);
    last = now;
  };
  const timer = setInterval(look, EVERY_MS);
  return {
    ms: () => {
      look();
      return sum;
    },
    stop: () => clearInterval(timer),
  };
};
