import type { Reason } from '../../src/api/reasons.ts';
import {
  type Effect,
  type Event,
  type Exit,
  newTunnel,
  type Policy,
  step,
  type TimerName,
  type Tunnel,
} from '../../src/tunnel/machine.ts';

/** What one ssh does in its life. Times are ms; `after` counts from its start. */
export type Life = {
  /** It cannot be run at all. */
  readonly spawnError?: string;
  /** When it has logged in; null: never. */
  readonly connectsAfter: number | null;
  /** When and how it ends by itself; null: never. */
  readonly ends: { readonly after: number; readonly how: Omit<Exit, 'spawnError'> } | null;
  /** How long it takes to end on SIGTERM, and with which exit; null: it ignores SIGTERM (it is stopped, say). */
  readonly onTerm: { readonly takes: number; readonly how: Omit<Exit, 'spawnError'> } | null;
  /** How its beats come back, in turn, again from the start when they are used up; each within the edge's timeout. */
  readonly beats: readonly { readonly takes: number; readonly ok: boolean }[];
};

/** What somebody does to the tunnel from outside. */
export type Deed =
  | { readonly type: 'wake' | 'suspend' | 'resume' }
  | { readonly type: 'restart'; readonly why: 'signal' | 'monitorPort' | 'remoteForward' | 'changed' }
  | { readonly type: 'stop'; readonly signal: number };

export const REASON_OF_A_LOST_BEAT: Reason = 'HeartbeatLost';
/** The longest beat that the edge lets be (1.4g: 15 s). */
export const LONGEST_BEAT = 15_000;
/** How long a process takes to be gone after SIGKILL. */
export const DEATH = 20;

const TERMINATED: Omit<Exit, 'spawnError'> = { code: 0, signal: null, reason: 'Unknown', detail: '' };
/** An ssh as one wants it. */
export const GOOD_LIFE: Life = {
  connectsAfter: 100,
  ends: null,
  onTerm: { takes: 5, how: TERMINATED },
  beats: [{ takes: 7, ok: true }],
};

/** One event and what came of it. */
export type Entry = {
  readonly at: number;
  readonly event: Event;
  readonly before: Tunnel;
  readonly after: Tunnel;
  readonly effects: readonly Effect[];
};

type Ssh = { readonly pid: number; readonly life: Life; termAt: number | null; killAt: number | null; beats: number };
type Due = { readonly at: number; readonly ssh: Ssh; readonly event: Event };

/** The rules of the house were broken; the message says which. */
export class Broken extends Error {}

/**
 * A tunnel in virtual time: performs the machine's effects on a model of the world as src/supervisor/run-tunnel.ts does on the
 * real one, and checks after every event what must always hold. The lives are given to one ssh after another; when they are used
 * up, every further ssh is a good one.
 */
export class Simulation {
  readonly journal: Entry[] = [];
  readonly timers = new Map<TimerName, number>();
  tunnel: Tunnel;
  now = 0;
  exitCode: number | null = null;
  ssh: Ssh | null = null;
  readonly #policy: Policy;
  readonly #lives: Life[];
  #due: Due[] = [];
  #inbox: Event[] = [];
  #working = false;
  #pids = 1000;
  #beating = false;
  #random: number;

  constructor(policy: Policy, lives: readonly Life[], seed = 1) {
    this.#policy = policy;
    this.#lives = [...lives];
    this.#random = seed;
    this.tunnel = newTunnel(0);
  }

  dispatch(event: Event): void {
    this.#inbox.push(event);
    if (this.#working) return;
    this.#working = true;
    for (let next = this.#inbox.shift(); next !== undefined; next = this.#inbox.shift()) this.#handle(next);
    this.#working = false;
    this.#checkRest();
  }

  /** Lets `ms` pass; what falls due meanwhile happens in its order. */
  pass(ms: number): void {
    const end = this.now + ms;
    for (let at = this.#nextAt(); at <= end; at = this.#nextAt()) {
      this.now = Math.max(this.now, at);
      this.#happen(at);
    }
    this.now = end;
  }

  /** Lets time pass until `reached`; false when that has not come within `ms`. */
  passUntil(reached: () => boolean, ms: number): boolean {
    const end = this.now + ms;
    while (!reached()) {
      const at = this.#nextAt();
      if (at > end) {
        this.now = end;
        return reached();
      }
      this.now = Math.max(this.now, at);
      this.#happen(at);
    }
    return true;
  }

  /** From now on every ssh is a good one, the running one too if it is not on its way out. */
  mend(): void {
    this.#lives.length = 0;
    const { ssh } = this;
    if (ssh === null || this.tunnel.state === 'Ending') return;
    this.#due = this.#due.filter(({ event }) => event.type !== 'exited');
    this.ssh = { ...ssh, life: GOOD_LIFE, beats: 0 };
    const events: Event[] = this.tunnel.state === 'Connecting' ? [{ type: 'connected' }] : [];
    if (this.#beating) events.push({ type: 'beatOk', rttMs: 7 });
    this.#due = events.map((event) => ({ at: this.now + 100, ssh: this.ssh ?? ssh, event }));
  }

  #nextAt(): number {
    return Math.min(...this.#due.map(({ at }) => at), ...this.timers.values(), Number.POSITIVE_INFINITY);
  }

  /** The one thing that is due first: of the world, then of the timers. */
  #happen(at: number): void {
    const index = this.#due.findIndex((due) => due.at === at);
    const [due] = index === -1 ? [] : this.#due.splice(index, 1);
    if (due === undefined) {
      const name = [...this.timers].find(([, when]) => when === at)?.[0];
      if (name === undefined) return;
      this.timers.delete(name);
      this.dispatch({ type: name });
      return;
    }
    if (due.ssh !== this.ssh) return;
    if (due.event.type === 'exited') {
      this.ssh = null;
      this.#due = [];
      this.#beating = false;
    }
    if (due.event.type === 'beatOk' || due.event.type === 'beatFailed') this.#beating = false;
    this.dispatch(due.event);
  }

  #handle(event: Event): void {
    const before = this.tunnel;
    const { tunnel: after, effects } = step(before, event, { at: this.now, random: this.#draw() }, this.#policy);
    this.tunnel = after;
    this.journal.push({ at: this.now, event, before, after, effects });
    if (before.state === 'Exited' && (after !== before || effects.length > 0))
      throw new Broken(`${event.type} moved a tunnel that has exited`);
    for (const effect of effects) this.#perform(effect);
  }

  #perform(effect: Effect): void {
    switch (effect.do) {
      case 'timer':
        if (!Number.isFinite(effect.at)) throw new Broken(`timer ${effect.name} set to ${effect.at}`);
        this.timers.set(effect.name, effect.at);
        break;
      case 'clear':
        this.timers.delete(effect.name);
        break;
      case 'spawn':
        this.#spawn();
        break;
      case 'kill':
        this.#kill(effect.signal);
        break;
      case 'beat':
        this.#beat();
        break;
      case 'exit':
        if (this.exitCode !== null) throw new Broken('exited twice');
        if (this.ssh !== null) throw new Broken('exited while ssh is alive');
        this.exitCode = effect.code;
        break;
    }
  }

  #spawn(): void {
    if (this.ssh !== null) throw new Broken('a second ssh was started while one is alive');
    if (this.tunnel.state !== 'Connecting') throw new Broken(`ssh was started in ${this.tunnel.state}`);
    const life = this.#lives.shift() ?? GOOD_LIFE;
    if (life.spawnError !== undefined) {
      const { spawnError } = life;
      this.#inbox.push({
        ...{ type: 'exited', code: null, signal: null, reason: 'BadConfiguration', detail: spawnError },
        spawnError,
      });
      return;
    }
    const ssh: Ssh = { pid: ++this.#pids, life, termAt: null, killAt: null, beats: 0 };
    this.ssh = ssh;
    this.#inbox.push({ type: 'spawned', pid: ssh.pid });
    if (life.connectsAfter !== null) this.#later(life.connectsAfter, ssh, { type: 'connected' });
    if (life.ends !== null) this.#later(life.ends.after, ssh, { type: 'exited', ...life.ends.how });
  }

  #kill(signal: 'SIGTERM' | 'SIGKILL'): void {
    const { ssh } = this;
    if (ssh === null) throw new Broken(`${signal} to no ssh`);
    // The edge takes no news of a connection that is being ended.
    this.#beating = false;
    this.#due = this.#due.filter(({ event }) => event.type === 'exited');
    if (signal === 'SIGTERM') {
      if (ssh.termAt !== null) throw new Broken('SIGTERM twice');
      ssh.termAt = this.now;
      const { onTerm } = ssh.life;
      if (onTerm !== null) this.#later(onTerm.takes, ssh, { type: 'exited', ...onTerm.how });
      return;
    }
    if (ssh.termAt === null) throw new Broken('SIGKILL without SIGTERM');
    if (this.now !== ssh.termAt + this.#policy.killGraceMs)
      throw new Broken(`SIGKILL ${this.now - ssh.termAt} ms after SIGTERM, not ${this.#policy.killGraceMs}`);
    ssh.killAt = this.now;
    this.#later(DEATH, ssh, { type: 'exited', code: null, signal: 9, reason: 'Killed', detail: '' });
  }

  #beat(): void {
    const { ssh } = this;
    if (ssh === null) throw new Broken('a beat without an ssh');
    if (this.#beating) throw new Broken('a second beat while one is under way');
    this.#beating = true;
    const { takes, ok } = ssh.life.beats[ssh.beats++ % ssh.life.beats.length] ?? { takes: 1, ok: true };
    this.#later(
      takes,
      ssh,
      ok
        ? { type: 'beatOk', rttMs: takes }
        : { type: 'beatFailed', reason: REASON_OF_A_LOST_BEAT, detail: 'no answer in time' },
    );
  }

  #later(ms: number, ssh: Ssh, event: Event): void {
    this.#due.push({ at: this.now + ms, ssh, event });
  }

  #draw(): number {
    this.#random = (Math.imul(this.#random, 1_664_525) + 1_013_904_223) >>> 0;
    return this.#random / 2 ** 32;
  }

  /** What must hold whenever the tunnel is at rest. */
  #checkRest(): void {
    const { tunnel, ssh, timers } = this;
    const { state } = tunnel;
    const broken = (what: string) => {
      throw new Broken(`${state}: ${what}; timers ${JSON.stringify([...timers])}`);
    };
    const runs = state === 'Connecting' || state === 'Connected' || state === 'Ending';
    if (runs !== (ssh !== null)) broken(ssh === null ? 'no ssh' : 'an ssh is alive');
    if (runs && tunnel.pid !== ssh?.pid) broken(`pid ${tunnel.pid} is not ssh's`);
    const only = (...names: TimerName[]) => {
      const wrong = [...timers.keys()].filter((name) => !names.includes(name));
      if (wrong.length > 0) broken(`leaked timer ${wrong}`);
    };
    const endless = this.#policy.lifetimeEndsAt === null;
    if (!endless && ['Waiting', 'Connecting', 'Connected', 'Suspended'].includes(state) && !timers.has('lifetime'))
      broken('nothing ends its lifetime');
    switch (state) {
      case 'Idle':
      case 'Exited':
        only();
        if ((state === 'Exited') !== (this.exitCode !== null)) broken(`exit code ${this.exitCode}`);
        break;
      case 'Suspended':
        only('lifetime');
        break;
      case 'Waiting':
        only('lifetime', 'wait');
        if (!timers.has('wait')) broken('waits for nothing');
        break;
      case 'Ending':
        only('lifetime', 'kill');
        if (ssh !== null && ssh.termAt === null) broken('ssh was not asked to end');
        if (ssh !== null && ssh.killAt === null && timers.get('kill') !== (ssh.termAt ?? 0) + this.#policy.killGraceMs)
          broken('no SIGKILL will follow');
        break;
      case 'Connecting':
        only('lifetime', 'alarm', 'connect');
        if (this.#policy.connectDeadlineMs !== null && !timers.has('connect')) broken('no deadline');
        break;
      case 'Connected':
        only('lifetime', 'alarm');
    }
    if (state === 'Connecting' || state === 'Connected') {
      if ((timers.get('alarm') ?? null) !== tunnel.alarmAt) broken(`alarm is not at ${tunnel.alarmAt}`);
      if (this.#beating !== tunnel.beating) broken(`beating is ${tunnel.beating}`);
      if (tunnel.failedBeats >= this.#policy.failureThreshold) broken(`lives with ${tunnel.failedBeats} failed beats`);
    }
  }
}
