/** Conditions of an SshTunnel, as Kubernetes means the word: each True, False or Unknown, with a reason and an observedGeneration. */
export const CONDITIONS = {
  Accepted: 'The specification is valid and nothing else contradicts it.',
  Injected: 'Sidecar mode: every pod that asks for the tunnel has its sidecar.',
  Available: 'Gateway mode: the Deployment has the pods it should have.',
  Connected: 'Every sidecar or gateway pod has a tunnel through which bytes go round.',
  Ready: 'All of the above, in one word for kubectl wait.',
} as const;

export type ConditionType = keyof typeof CONDITIONS;
export const CONDITION_TYPES = Object.keys(CONDITIONS) as ConditionType[];

/** Reasons of conditions beside the reasons of a lost connection (reasons.ts), which Connected carries as they are. */
export const CONDITION_REASONS = {
  Valid: 'The specification was accepted.',
  Invalid: 'The specification was refused; the message says where and what was expected.',
  NotImplemented: 'The specification asks for something that this version cannot do yet.',
  Conflict: 'Another tunnel, or an object that is not ours, is in the way.',
  Forbidden: 'The operator lacks a permission; the message says which verb on which resource.',
  Suspended: 'spec.suspend is true: no connection is wanted.',
  NoPods: 'No pod asks for the tunnel: there is nothing to connect, and nothing is wrong.',
  AllConnected: 'Every pod is connected.',
  NotInjected: 'Some pods that ask for the tunnel run without its sidecar.',
  AllInjected: 'Every pod that asks for the tunnel has its sidecar.',
  StatusUnreachable: 'The pods could not be asked (NetworkPolicy, mesh): their state is not known.',
  InsecureHostKey: 'Host keys are not checked (insecureSkipVerify): the server can be anybody.',
} as const;

export type ConditionReason = keyof typeof CONDITION_REASONS;
