import { parseArgs } from 'node:util';
import { LINKS, tunnelFaults } from './links.ts';
import { soakTunnel } from './tunnel.ts';

// npm run soak:tunnel -- --seconds=1800
const { values } = parseArgs({ options: { seconds: { type: 'string', default: '1800' } } });
const seconds = Number(values.seconds);
if (!(seconds > 0 && Number.isFinite(seconds))) {
  console.error(`soak: expected a number above 0 for --seconds; got ${JSON.stringify(values.seconds)}`);
  process.exit(2);
}
console.error(`${Object.keys(LINKS).length} tunnels, saturated both ways for ${seconds} s …`);
const figures = await Promise.all(Object.entries(LINKS).map(([name, link]) => soakTunnel({ name, link, seconds })));
const faults = figures.flatMap(tunnelFaults);
console.log(JSON.stringify(figures, null, 2));
for (const fault of faults) console.error(`soak: ${fault}`);
console.log(faults.length === 0 ? 'soak: no healthy session was ended' : `soak: ${faults.length} faults`);
process.exit(faults.length === 0 ? 0 : 1);
