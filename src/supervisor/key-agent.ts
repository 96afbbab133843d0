import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Failure } from '../tunnel/machine.ts';
import { askTool } from './ask-tool.ts';
import { withPassphrase } from './askpass.ts';
import type { Env } from './child-env.ts';
import { type RunningAgent, spawnAgent } from './ssh-agent.ts';

/** A key that only opens with a passphrase: its file, and what it looks like in the agent's list. */
export type AgentKey = { readonly file: string; readonly publicKey: string; readonly passphrase: string };

/** The agent of one supervisor: it holds the opened keys of its tunnel, and nobody else's. */
export type KeyAgent = {
  readonly socket: string;
  /** Makes the agent hold exactly these keys; without any there is no agent. Why it could not, or null. */
  readonly hold: (keys: readonly AgentKey[]) => Promise<Failure | null>;
  readonly stop: () => void;
};

/** An agent answers within a millisecond; one that is stopped never does. */
const LIST_MS = 3_000;

/** An agent that is started when it is first needed, in a private directory. */
export const createKeyAgent = (dir: string, env: Env): KeyAgent => {
  const socket = join(dir, 'agent');
  const asking = { ...env, SSH_AUTH_SOCK: socket };
  let agent: RunningAgent | null = null;

  const stop = () => {
    agent?.kill();
    agent = null;
    rmSync(socket, { force: true });
  };
  /** Its public keys; null: it is not there, or does not answer. */
  const list = async (): Promise<string[] | null> => {
    if (agent === null) return null;
    const said = await askTool('ssh-add', ['-L'], asking, LIST_MS);
    if (!said.ran || said.code > 1) return null;
    return said.code === 1 ? [] : said.output.split('\n').map((line) => line.split(' ').slice(0, 2).join(' '));
  };
  const start = async (): Promise<Failure | null> => {
    stop();
    const started = spawnAgent(socket, env);
    if (started === null) return unable('expected ssh-agent in PATH for a key with a passphrase; got none');
    agent = started;
    return (await started.ready) ? null : unable(`ssh-agent could not listen at ${socket}`);
  };

  const hold = async (keys: readonly AgentKey[]): Promise<Failure | null> => {
    if (keys.length === 0) {
      stop();
      return null;
    }
    let held = await list();
    if (held === null) {
      const problem = await start();
      if (problem !== null) return problem;
      held = [];
    }
    const wanted = new Set(keys.map(({ publicKey }) => publicKey));
    for (const old of held.filter((one) => !wanted.has(one))) await forget(old);
    for (const { file, publicKey, passphrase } of keys) {
      if (held.includes(publicKey)) continue;
      // -k: the key alone, not the certificate that lies beside it.
      const added = await withPassphrase(dir, passphrase, asking, (asking) =>
        askTool('ssh-add', ['-q', '-k', file], asking),
      );
      if (!added.ran || added.code !== 0) return unable(`ssh-add: ${added.problem}`);
      held.push(publicKey);
    }
    return null;
  };
  const forget = async (publicKey: string): Promise<void> => {
    const file = join(dir, 'old.pub');
    writeFileSync(file, `${publicKey}\n`, { mode: 0o600 });
    await askTool('ssh-add', ['-q', '-k', '-d', file], asking);
    rmSync(file, { force: true });
  };
  return { socket, hold, stop };
};

const unable = (detail: string): Failure => ({ reason: 'BadConfiguration', detail });
