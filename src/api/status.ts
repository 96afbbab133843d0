import * as z from 'zod';
import { CONDITION_TYPES } from './conditions.ts';

const count = (what: string) => z.int().min(0).optional().describe(what);

const condition = z.strictObject({
  type: z
    .string()
    .min(1)
    .max(316)
    .describe(`One of ${CONDITION_TYPES.join(', ')}.`),
  status: z.enum(['True', 'False', 'Unknown']).describe('Whether it holds.'),
  observedGeneration: z.int().min(0).optional().describe('metadata.generation of the specification this is about.'),
  lastTransitionTime: z.string().meta({ format: 'date-time' }).describe('When status last changed.'),
  reason: z
    .string()
    .min(1)
    .max(1024)
    .regex(/^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$/)
    .describe('One word for programs.'),
  message: z.string().max(32768).describe('A sentence for people.'),
});

/** Status of an SshTunnel: conditions and counts, no phase. */
export const statusSchema = z
  .strictObject({
    observedGeneration: z.int().min(0).optional().describe('metadata.generation that the status is about.'),
    conditions: z
      .array(condition)
      .max(16)
      .optional()
      .meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['type'] })
      .describe(`Conditions: ${CONDITION_TYPES.join(', ')}.`),
    connected: z.string().max(32).optional().describe('Pods connected of pods that have the tunnel, as in 2/3.'),
    pods: z
      .strictObject({
        matched: count('Pods that ask for the tunnel.'),
        injected: count('Of these, pods that have its sidecar.'),
        connected: count('Pods whose tunnel is up.'),
        upToDate: count('Pods whose sidecar runs the newest settings.'),
        outdated: count('Pods whose sidecar is of another version of the operator.'),
      })
      .optional()
      .describe('Counts of pods.'),
  })
  .describe('What is, as the operator saw it last.');

export type SshTunnelStatus = z.output<typeof statusSchema>;
export type Condition = z.output<typeof condition>;
