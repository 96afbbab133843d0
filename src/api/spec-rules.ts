import type { Rule } from './rule.ts';
import type { Forward } from './schema-forward.ts';

/** The parts of a specification that rules across fields look at. */
type Spec = {
  mode: 'Sidecar' | 'Gateway';
  forwards: Forward[];
  heartbeat: { forward?: string | undefined };
  sidecar?: unknown;
  gateway?: { replicas?: number | undefined } | undefined;
  workloads: unknown[];
};

/**
 * The listening side of a forward, in CEL and here. Two listeners meet when they have the same port and either the same host or one
 * that means many (none given, `*`, 0.0.0.0, ::) or the loopback by name.
 */
const MANY = ['*', '0.0.0.0', '::', 'localhost'];
export const meet = (a: Place, b: Place): boolean =>
  a.path !== undefined || b.path !== undefined
    ? a.path === b.path
    : a.port === b.port && (a.host === b.host || [a, b].some(({ host }) => host === undefined || MANY.includes(host)));
type Place = { host?: string | undefined; port?: number | undefined; path?: string | undefined };

const clash = (places: Place[]): boolean => places.some((a, i) => places.slice(i + 1).some((b) => meet(a, b)));

const CEL_MANY = `[${MANY.map((host) => `'${host}'`).join(', ')}]`;
/** No two listeners of one kind meet: each meets exactly one of the list, itself. */
const celApart = (kind: 'local' | 'remote' | 'dynamic', other: 'local' | 'remote' | 'dynamic') => {
  const [f, g] = [`f.${kind}.listen`, `g.${other}.listen`];
  const anyHost = (place: string) => `(!has(${place}.host) || ${place}.host in ${CEL_MANY})`;
  const meets =
    `has(${g}.port) && ${f}.port == ${g}.port && ` + `(${anyHost(f)} || ${anyHost(g)} || ${f}.host == ${g}.host)`;
  const rest =
    kind === other
      ? `self.forwards.filter(g, has(g.${other}) && ${meets}).size() == 1`
      : `!self.forwards.exists(g, has(g.${other}) && ${meets})`;
  return `self.forwards.all(f, !has(f.${kind}) || !has(${f}.port) || ${rest})`;
};

const listening =
  (...kinds: ('local' | 'remote' | 'dynamic')[]) =>
  ({ forwards }: Spec): Place[] =>
    forwards.flatMap((one) => kinds.flatMap((kind) => one[kind]?.listen ?? []));
const withPort = (places: Place[]) => places.filter(({ port }) => port !== undefined);
const withPath = (places: Place[]) => places.filter(({ path }) => path !== undefined);
const here = listening('local', 'dynamic');
const there = listening('remote');
const SAME_HERE = 'two forwards listen on the same address and port: give one another port, or each its own host';
const SAME_THERE =
  'two remote forwards listen on the same address and port of the server: give one another port, or each its own host';

const variables = ({ forwards }: Spec): string[] =>
  forwards.flatMap(({ env }) => [env?.hostVar, env?.portVar]).filter((name) => name !== undefined);

const celVariable = (name: string) =>
  `self.forwards.filter(g, has(g.env) && ((has(g.env.hostVar) && g.env.hostVar == ${name}) || (has(g.env.portVar) && g.env.portVar == ${name}))).size() == 1`;

/** What no single field can say. Everything is judged, also in parts that the mode does not use. */
export const SPEC_RULES: readonly Rule<Spec>[] = [
  {
    cel: "(self.mode == 'Gateway') == has(self.gateway)",
    message: 'gateway is required when mode is Gateway, and allowed only then',
    holds: ({ mode, gateway }) => (mode === 'Gateway') === (gateway !== undefined),
    member: 'gateway',
  },
  {
    cel: "self.mode == 'Sidecar' || !has(self.sidecar)",
    message: 'sidecar may be set only when mode is Sidecar',
    holds: ({ mode, sidecar }) => mode === 'Sidecar' || sidecar === undefined,
    reason: 'FieldValueForbidden',
    member: 'sidecar',
  },
  {
    cel: "self.mode == 'Sidecar' || !has(self.workloads) || self.workloads.size() == 0",
    message: 'workloads may be set only when mode is Sidecar',
    holds: ({ mode, workloads }) => mode === 'Sidecar' || workloads.length === 0,
    reason: 'FieldValueForbidden',
    member: 'workloads',
  },
  {
    cel: "self.mode == 'Sidecar' || self.forwards.all(f, !has(f.env))",
    message: 'env of a forward may be set only when mode is Sidecar: a gateway has no app beside it',
    holds: ({ mode, forwards }) => mode === 'Sidecar' || forwards.every(({ env }) => env === undefined),
    reason: 'FieldValueForbidden',
    member: 'forwards',
  },
  {
    cel: "self.mode == 'Sidecar' || self.forwards.all(f, size(f.name) <= 15)",
    message: 'in a gateway, names of forwards have at most 15 characters: they name the ports of the Service',
    holds: ({ mode, forwards }) => mode === 'Sidecar' || forwards.every(({ name }) => name.length <= 15),
    member: 'forwards',
  },
  {
    cel: "self.mode == 'Sidecar' || self.forwards.all(f, (!has(f.local) || has(f.local.listen.port)) && (!has(f.dynamic) || has(f.dynamic.listen.port)))",
    message: 'in a gateway, local and dynamic forwards listen on a port: nobody else reaches a unix socket of its pods',
    holds: ({ mode, forwards }) =>
      mode === 'Sidecar' ||
      forwards.every(({ local, dynamic }) => local?.listen.path === undefined && dynamic?.listen.path === undefined),
    member: 'forwards',
  },
  {
    cel: '!has(self.gateway) || !has(self.gateway.replicas) || self.gateway.replicas == 1 || !self.forwards.exists(f, has(f.remote))',
    message: 'replicas must be 1 with a remote forward: its port at the server can be held only once',
    holds: ({ gateway, forwards }) =>
      (gateway?.replicas ?? 1) === 1 || forwards.every(({ remote }) => remote === undefined),
    member: 'gateway',
  },
  {
    cel: '!has(self.heartbeat.forward) || self.forwards.exists(f, f.name == self.heartbeat.forward && has(f.local))',
    message: 'heartbeat.forward must be the name of a local forward',
    holds: ({ heartbeat, forwards }) =>
      heartbeat.forward === undefined ||
      forwards.some(({ name, local }) => name === heartbeat.forward && local !== undefined),
    member: 'heartbeat',
  },
  ...(
    [
      ['local', 'local'],
      ['dynamic', 'dynamic'],
      ['local', 'dynamic'],
    ] as const
  ).map(
    ([kind, other]): Rule<Spec> => ({
      cel: celApart(kind, other),
      message: SAME_HERE,
      // The first of the three rules speaks for all of them here.
      holds: (spec) => kind !== other || kind === 'dynamic' || !clash(withPort(here(spec))),
      member: 'forwards',
    }),
  ),
  {
    cel: celApart('remote', 'remote'),
    message: SAME_THERE,
    holds: (spec) => !clash(withPort(there(spec))),
    member: 'forwards',
  },
  {
    cel: 'self.forwards.all(f, !has(f.local) || !has(f.local.listen.path) || self.forwards.filter(g, has(g.local) && has(g.local.listen.path) && g.local.listen.path == f.local.listen.path).size() == 1)',
    message: 'two local forwards listen on the same unix socket',
    holds: (spec) => !clash(withPath(here(spec))),
    member: 'forwards',
  },
  {
    cel: 'self.forwards.all(f, !has(f.remote) || !has(f.remote.listen.path) || self.forwards.filter(g, has(g.remote) && has(g.remote.listen.path) && g.remote.listen.path == f.remote.listen.path).size() == 1)',
    message: 'two remote forwards listen on the same unix socket of the server',
    holds: (spec) => !clash(withPath(there(spec))),
    member: 'forwards',
  },
  {
    cel: `self.forwards.all(f, !has(f.env) || ((!has(f.env.hostVar) || ${celVariable('f.env.hostVar')}) && (!has(f.env.portVar) || ${celVariable('f.env.portVar')})))`,
    message: 'two forwards set the same environment variable',
    holds: (spec) => new Set(variables(spec)).size === variables(spec).length,
    member: 'forwards',
  },
];
