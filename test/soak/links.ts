import type { LinkOptions } from '../support/link/link.ts';
import type { TunnelFigures } from './tunnel.ts';

const MEGABIT = 1_000_000;

/** The bad links of the soak. Delay and loss are for each way; every link is saturated both ways. */
export const LINKS: Readonly<Record<string, LinkOptions>> = {
  '5 % loss, 10 Mbit/s': { loss: 0.05, bitsPerSecond: 10 * MEGABIT, queuePackets: 100 },
  '200 ms delay, 10 Mbit/s': { delayMs: 200, bitsPerSecond: 10 * MEGABIT, queuePackets: 400 },
  '1 Mbit/s': { bitsPerSecond: MEGABIT, queuePackets: 50 },
  // The queue is netem's own default: 12 s of this rate.
  '5 % loss, 200 ms delay, 1 Mbit/s': { loss: 0.05, delayMs: 200, bitsPerSecond: MEGABIT, queuePackets: 1000 },
};

/** What is not as it should be, in sentences; empty when the one session lived through it all. */
export const tunnelFaults = ({ link, sshStarts, ended, beats, bytes }: TunnelFigures): string[] => [
  ...(sshStarts === 1 ? [] : [`${link}: expected 1 start of ssh; got ${sshStarts}: ${JSON.stringify(ended)}`]),
  ...(beats > 0 ? [] : [`${link}: expected a heartbeat; got none`]),
  ...(bytes.down > 0 && bytes.up > 0
    ? []
    : [`${link}: expected bulk both ways; got ${bytes.down} down, ${bytes.up} up`]),
];
