/** metav1.Condition. */
export type Condition = {
  readonly type: string;
  readonly status: 'True' | 'False' | 'Unknown';
  /** CamelCase, for programs. */
  readonly reason: string;
  /** For people. */
  readonly message: string;
  readonly lastTransitionTime: string;
  readonly observedGeneration?: number;
};

export type NewCondition = Omit<Condition, 'lastTransitionTime' | 'observedGeneration'> & {
  /** metadata.generation of the object that was judged: `kubectl wait` ignores a condition that is behind it. */
  readonly observedGeneration: number;
};

/**
 * The list with this condition in it. lastTransitionTime moves only when the status does (apimachinery meta.SetStatusCondition).
 * Returns the very same list when nothing changes, so that `!==` tells whether there is something to write.
 */
export const setCondition = (
  conditions: readonly Condition[],
  { type, status, reason, message, observedGeneration }: NewCondition,
  now: Date,
): readonly Condition[] => {
  const old = conditions.find((condition) => condition.type === type);
  const same =
    old?.status === status &&
    old.reason === reason &&
    old.message === message &&
    old.observedGeneration === observedGeneration;
  if (same) return conditions;
  const lastTransitionTime = old?.status === status ? old.lastTransitionTime : seconds(now);
  const condition = { type, status, reason, message, lastTransitionTime, observedGeneration };
  return old === undefined ? [...conditions, condition] : conditions.map((one) => (one === old ? condition : one));
};

/** The list without the condition of this type; the very same list when it has none. */
export const removeCondition = (conditions: readonly Condition[], type: string): readonly Condition[] =>
  conditions.some((condition) => condition.type === type)
    ? conditions.filter((condition) => condition.type !== type)
    : conditions;

/** True, and said of this generation: what was true of an older spec counts for nothing. */
export const isTrue = (conditions: readonly Condition[], type: string, generation: number): boolean =>
  conditions.some(
    (condition) =>
      condition.type === type && condition.status === 'True' && condition.observedGeneration === generation,
  );

/** metav1.Time has whole seconds; the API server would refuse nothing else, but a value read back would differ. */
const seconds = (date: Date): string => `${date.toISOString().slice(0, 19)}Z`;
