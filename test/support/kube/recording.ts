import type { Log } from '../../../src/kube/log.ts';
import { type Labels, METRICS, type Meter, type MetricName } from '../../../src/kube/meter.ts';

/** A meter that can be read, and that insists on the labels each metric is defined with. */
export const createRecordingMeter = () => {
  const values = new Map<string, number>();
  const key = (metric: MetricName, labels: Labels) => {
    const expected = [...METRICS[metric].labels].sort().join();
    const got = Object.keys(labels).sort().join();
    if (expected !== got) throw new Error(`${metric}: expected labels ${expected}; got ${got}`);
    return `${metric}{${Object.entries(labels)
      .sort(([a], [b]) => a.localeCompare(b))
      .map(([name, value]) => `${name}=${value}`)
      .join()}}`;
  };
  const meter: Meter = {
    count: (metric, labels, by = 1) => {
      const name = key(metric, labels);
      values.set(name, (values.get(name) ?? 0) + by);
    },
    set: (metric, labels, value) => values.set(key(metric, labels), value),
    observe: (metric, labels) => {
      const name = key(metric, labels);
      values.set(name, (values.get(name) ?? 0) + 1);
    },
  };
  return { meter, value: (name: string) => values.get(name), names: () => [...values.keys()] };
};

/** A log that can be read. */
export const createRecordingLog = () => {
  const lines: { level: string; message: string; fields: Readonly<Record<string, unknown>> }[] = [];
  const log: Log = (level, message, fields = {}) => lines.push({ level, message, fields });
  return { log, lines, text: () => lines.map((line) => JSON.stringify(line)).join('\n') };
};
