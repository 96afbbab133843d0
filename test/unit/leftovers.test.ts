import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { claim, removeLeftovers } from '../../src/supervisor/leftovers.ts';

const PREFIX = 'autossh-login-';
const TUNNEL = 'shop/orders-db';

const world = () => {
  const base = mkdtempSync(join(tmpdir(), 'left-'));
  onTestFinished(() => rmSync(base, { recursive: true, force: true }));
  const make = (name: string, owner?: object) => {
    const dir = join(base, name);
    mkdirSync(dir, { mode: 0o700 });
    writeFileSync(join(dir, 'target.key'), 'key');
    if (owner !== undefined) writeFileSync(join(dir, 'owner'), JSON.stringify(owner));
    return dir;
  };
  return { base, make };
};
/** A process that has ended. */
const dead = async (): Promise<number> => {
  const child = spawn('true');
  await once(child, 'exit');
  return child.pid ?? 0;
};

it('removes what a dead supervisor of the tunnel left, also where another process has its number', async () => {
  const { base, make } = world();
  const pid = await dead();
  const left = [
    make(`${PREFIX}aaaaaa`, { tunnel: TUNNEL, pid, started: '1' }),
    make(`${PREFIX}bbbbbb`, { tunnel: TUNNEL, pid: process.pid, started: '1' }),
    // Where the system does not tell when a process was started.
    make(`${PREFIX}cccccc`, { tunnel: TUNNEL, pid, started: null }),
  ];
  expect(removeLeftovers(base, PREFIX, TUNNEL)).toBe(3);
  expect(left.filter(existsSync)).toEqual([]);
});

it('leaves everything else alone', async () => {
  const { base, make } = world();
  const gone = { tunnel: TUNNEL, pid: await dead(), started: '1' };
  const mine = make(`${PREFIX}living`);
  claim(mine, TUNNEL);
  expect(JSON.parse(readFileSync(join(mine, 'owner'), 'utf8'))).toMatchObject({ tunnel: TUNNEL, pid: process.pid });
  const stay = [
    mine,
    make(`${PREFIX}living2`, gone),
    make(`${PREFIX}nobody`),
    make(`${PREFIX}others`, { ...gone, tunnel: 'shop/other' }),
    make(`${PREFIX}unread`, { tunnel: TUNNEL, pid: 'x' }),
    make(`${PREFIX}nostrt`, { tunnel: TUNNEL, pid: process.pid, started: null }),
    make('something-aaaaaa', gone),
  ];
  const elsewhere = join(make('elsewhere', gone), 'target.key');
  symlinkSync(join(base, 'elsewhere'), join(base, `${PREFIX}linked`));
  expect(removeLeftovers(base, PREFIX, TUNNEL)).toBe(0);
  expect([...stay, elsewhere].filter((path) => !existsSync(path))).toEqual([]);
  expect(removeLeftovers(join(base, 'not-there'), PREFIX, TUNNEL)).toBe(0);
});

it('where containers share a directory, leaves alone what is of another one, whose processes have no number here', async () => {
  const { base, make } = world();
  const elsewhere = { tunnel: TUNNEL, pid: await dead(), started: '1', pidNamespace: 'pid:[1]' };
  const dir = make(`${PREFIX}aaaaaa`, elsewhere);
  expect(removeLeftovers(base, PREFIX, TUNNEL)).toBe(0);
  expect(existsSync(dir)).toBe(true);
  // The volume of one container: it counts anew after each restart.
  expect(removeLeftovers(base, PREFIX, TUNNEL, false)).toBe(1);
  const mine = make(`${PREFIX}bbbbbb`);
  claim(mine, TUNNEL);
  const owner = JSON.parse(readFileSync(join(mine, 'owner'), 'utf8'));
  writeFileSync(join(mine, 'owner'), JSON.stringify({ ...owner, started: '1' }));
  expect(removeLeftovers(base, PREFIX, TUNNEL)).toBe(1);
});
