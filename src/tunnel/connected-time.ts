/**
 * Counts the seconds for which a tunnel is connected. To be told at each change and from time to time: `at` is in milliseconds of a
 * monotonic clock, so that it does not matter how late a look comes.
 */
export const connectedTime = (count: (seconds: number) => void): ((connected: boolean, at: number) => void) => {
  let since: number | null = null;
  return (connected, at) => {
    if (since !== null) count((at - since) / 1000);
    since = connected ? at : null;
  };
};
