import { parseArgs } from 'node:util';
import { faultsIn } from './limits.ts';
import { soak } from './soak.ts';

// npm run soak -- --seconds=600 --every-ms=100 --restart-seconds=30
const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '600' },
    'every-ms': { type: 'string', default: '100' },
    'restart-seconds': { type: 'string', default: '30' },
  },
});
const positive = (name: keyof typeof values): number => {
  const number = Number(values[name]);
  if (number > 0 && Number.isFinite(number)) return number;
  console.error(`soak: expected a number above 0 for --${name}; got ${JSON.stringify(values[name])}`);
  process.exit(2);
};
const options = {
  seconds: positive('seconds'),
  everyMs: positive('every-ms'),
  restartSeconds: positive('restart-seconds'),
};
const figures = await soak(options, console.error);
const faults = faultsIn(figures, options);
console.log(JSON.stringify(figures, null, 2));
for (const fault of faults) console.error(`soak: ${fault}`);
console.log(faults.length === 0 ? 'soak: all is well' : `soak: ${faults.length} faults`);
process.exitCode = faults.length === 0 ? 0 : 1;
