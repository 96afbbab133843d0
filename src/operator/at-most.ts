/** `work` on each item, in order and on at most so many at a time; the results in the order of the items. Rejects with the first error. */
export const atMost = async <T, R>(most: number, items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> => {
  const results: R[] = [];
  const todo = items.entries();
  const worker = async () => {
    for (const [index, item] of todo) results[index] = await work(item);
  };
  await Promise.all(Array.from({ length: Math.min(most, items.length) }, worker));
  return results;
};
