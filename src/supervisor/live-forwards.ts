import type { DocumentForward } from '../api/document.ts';
import type { JsonLog } from '../telemetry/json-log.ts';
import { pauseMs, type RetryLimits } from '../tunnel/backoff.ts';
import type { Verdict } from '../tunnel/failure.ts';
import { type ForwardKey, type ForwardStep, forwardKey } from '../tunnel/forward-plan.ts';
import * as places from '../tunnel/forwards-in-place.ts';
import { refusedForwards } from '../tunnel/refused-forwards.ts';
import { forwardArgs } from '../tunnel/ssh-args.ts';
import type { ControlAnswer, ControlSocket } from './control-socket.ts';
import { LONGEST_BEAT_MS, type PatientOptions, patiently } from './heartbeat-patient.ts';
import { listensOn } from './listeners.ts';

/** An ssh whose forwards are to follow the configuration. */
export type LiveConnection = { readonly control: ControlSocket; readonly pid: number };

/** One of them, for as long as it lives. */
type Living = LiveConnection & { readonly end: AbortController };

export type LiveForwardsOptions = {
  /** Asked for at each decision: what is in force now. */
  readonly wanted: () => readonly DocumentForward[];
  /**
   * How long an answer is waited for. ssh alone answers for what is local; the server's answer comes behind the bulk of the connection,
   * and is waited for as a beat is.
   */
  readonly patience: Pick<PatientOptions, 'timeoutMs' | 'glance'>;
  readonly retry: () => RetryLimits;
  readonly log: JsonLog;
  /** Something that inPlace() tells has changed. */
  readonly onChange: () => void;
};

export type LiveForwards = {
  /** For the command line of the next ssh. */
  readonly starting: () => readonly DocumentForward[];
  /** ssh is up: from now on its forwards follow what is wanted. */
  readonly connected: (connection: LiveConnection) => void;
  /** Bytes went round. */
  readonly proven: () => void;
  readonly ended: () => void;
  /** What is wanted has changed; `now`: what was refused is tried at once. */
  readonly follow: (options?: { now?: boolean }) => void;
  /** Whether an ssh ended for forwards of its command line only, which the next one leaves to us. */
  readonly judge: (verdict: Verdict, lines: readonly string[]) => Verdict & { amended: boolean };
  readonly inPlace: (forward: DocumentForward) => places.InPlace;
};

/**
 * Puts the wanted forwards in place, on whichever connection lives, one at a time over its control socket. After each step the next is
 * planned anew: a change that comes in between is never lost, and a hundred of them lead to the last. One forward that is refused is
 * asked for again every retry.remotePortBusySeconds, and the others do not suffer for it.
 */
export const followForwards = (options: LiveForwardsOptions): LiveForwards => {
  const { wanted, log } = options;
  let state = places.noForwards;
  let connection: Living | null = null;
  let working = false;
  /** Forwards that ended an ssh since bytes went round last: each is good for one start without a pause, not for a storm of them. */
  const blamed = new Set<ForwardKey>();
  let timer: NodeJS.Timeout | undefined;

  const change = (next: places.ForwardPlaces): void => {
    state = places.follow(next, wanted());
    options.onChange();
  };
  const retryAt = (): number => performance.now() + pauseMs('port', 1, options.retry(), Math.random());

  const work = async (): Promise<void> => {
    clearTimeout(timer);
    if (working) return;
    working = true;
    for (let mine = connection; mine !== null; mine = connection) {
      const step = places.nextStep(state, wanted(), performance.now());
      if (step === null) break;
      const problem = await perform(mine, step, {
        ...{ timeoutMs: options.patience.timeoutMs, glance: options.patience.glance },
        onSlow: (waitedMs) => tellSlow(step, waitedMs),
      });
      // Whatever came of it went with its connection.
      if (connection === mine) note(step, problem);
    }
    working = false;
    const due = connection === null ? null : places.nextRetryAt(state);
    if (due !== null) timer = setTimeout(work, Math.max(SHORTEST_MS, due - performance.now()));
  };

  const tellSlow = ({ forward }: ForwardStep, waitedMs: number): void =>
    log.line(6, 'forward slow: bytes flow, the answer of the server is waited for', {
      ...{ forward: forward.name, spec: forwardKey(forward), waitedMs: Math.round(waitedMs) },
    });

  const note = (step: ForwardStep, problem: Problem | null): void => {
    const { forward } = step;
    const fields = { forward: forward.name, spec: forwardKey(forward) };
    if (problem === null) {
      log.line(6, step.do === 'add' ? 'forward added' : 'forward cancelled', fields);
      change(places.done(state, step));
      return;
    }
    const reason = reasonOf(forward, problem);
    const again = state.refused.get(forwardKey(forward))?.detail === problem.text;
    log.line(again ? 7 : 4, step.do === 'add' ? 'forward is not in place' : 'forward could not be cancelled', {
      ...fields,
      ...{ reason, detail: problem.text },
    });
    const why = { reason, detail: problem.text, retryAt: retryAt() } as const;
    change(places.failed(state, step, why, problem.refused));
  };

  const reasonOf = (forward: DocumentForward, problem: Problem) => {
    if (!problem.refused) return 'Unknown';
    return forward.kind === 'remote' ? remoteReason(forward) : 'LocalPortBusy';
  };
  /** ssh's words for a busy port and a forbidden one are the same; a forward that worked before was not forbidden. */
  const remoteReason = (forward: DocumentForward) =>
    state.worked.has(forwardKey(forward)) ? 'RemotePortBusy' : 'RemoteForwardFailed';

  return {
    starting: () => {
      const present = places.onCommandLine(state, wanted());
      change(places.startedWith(state, present));
      return present;
    },
    connected: (to) => {
      connection = { ...to, end: new AbortController() };
      void work();
    },
    proven: () => {
      blamed.clear();
      change(places.proven(state));
    },
    ended: () => {
      connection?.end.abort(new Error('ssh has ended'));
      connection = null;
      clearTimeout(timer);
    },
    follow: (how = {}) => {
      state = places.follow(state, wanted(), how);
      options.onChange();
      void work();
    },
    judge: (verdict, lines) => {
      const refused = refusedForwards(verdict.reason, lines, state.present);
      state = places.startedWith(state, []);
      for (const { forward, detail } of refused) {
        const reason = forward.kind === 'remote' ? remoteReason(forward) : 'LocalPortBusy';
        log.line(4, 'forward is not in place', { forward: forward.name, spec: forwardKey(forward), reason, detail });
        change(places.refuse(state, forward, { reason, detail, retryAt: retryAt(), unsure: false }));
      }
      const first = refused[0]?.forward;
      const reason = first?.kind === 'remote' ? remoteReason(first) : verdict.reason;
      const amended = refused.some(({ forward }) => !blamed.has(forwardKey(forward)));
      for (const { forward } of refused) blamed.add(forwardKey(forward));
      return { ...verdict, reason, amended };
    },
    inPlace: (forward) => places.inPlace(state, forward),
  };
};

/** Between two looks at what is due, however soon that is. */
const SHORTEST_MS = 100;

type Problem = { readonly text: string; readonly refused: boolean };

const perform = async (
  { control, pid, end }: Living,
  { do: verb, forward }: ForwardStep,
  patience: PatientOptions,
): Promise<Problem | null> => {
  const spec = forwardArgs(forward);
  // ssh asks the server to listen, and only tells it to end that.
  if (verb === 'add' && forward.kind === 'remote') {
    const answer = await patiently((enough) => control.forward(spec, LONGEST_BEAT_MS, enough), end.signal, patience);
    return answer === null
      ? { text: `the server did not answer within ${patience.timeoutMs} ms`, refused: false }
      : problemOf(verb, answer);
  }
  const answer = await control[verb === 'add' ? 'forward' : 'cancel'](spec, patience.timeoutMs, end.signal);
  const problem = problemOf(verb, answer);
  if (problem !== null || forward.kind === 'remote') return problem;
  // ssh's word is not taken for it where the kernel can be asked.
  const listens = listensOn(pid, forward.listen);
  if (verb === 'add') return listens === false ? { text: 'ssh added it but does not listen', refused: true } : null;
  return listens === true ? { text: 'ssh cancelled it but still listens', refused: false } : null;
};

/** What was not there to be cancelled is as good as cancelled. */
const problemOf = (verb: ForwardStep['do'], answer: ControlAnswer): Problem | null => {
  if (answer.ok || (verb === 'cancel' && answer.refused)) return null;
  return { text: answer.problem.replace(/^.*: forwarding request failed: /, ''), refused: answer.refused };
};
