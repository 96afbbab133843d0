/** Those that mean something to autossh; SIGUSR1 is taken sooner still (sigusr1.ts). */
const NAMES = ['SIGTERM', 'SIGINT', 'SIGQUIT', 'SIGHUP', 'SIGUSR2'] as const;

export type QueuedSignal = (typeof NAMES)[number];

/** Calls back for every signal, those included that came before anybody asked. */
export type QueuedSignals = { readonly follow: (listener: (name: QueuedSignal) => void) => void };

/**
 * Takes the signals from now on, so that none of them kills us any more by its default action: who reads our pid file may send one at
 * once, when there is something to tidy up already and no tunnel yet to be told.
 */
export const queueSignals = (): QueuedSignals => {
  const early: QueuedSignal[] = [];
  let received = (name: QueuedSignal): void => void early.push(name);
  for (const name of NAMES) process.on(name, () => received(name));
  return {
    follow: (listener) => {
      received = listener;
      for (const name of early.splice(0)) listener(name);
    },
  };
};
