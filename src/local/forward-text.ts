import type { DocumentForward, Endpoint } from '../api/document.ts';

const shown = (place: Endpoint): string =>
  'path' in place ? place.path : `${place.host.includes(':') ? `[${place.host}]` : place.host}:${place.port}`;

/** A forward in one phrase: `postgres: 127.0.0.1:5432 here -> db.internal:5432 there`. */
export const forwardText = (forward: DocumentForward): string => {
  const { name, kind, listen } = forward;
  if (kind === 'dynamic') return `${name}: SOCKS proxy on ${shown(listen)} here -> anything, from there`;
  const [from, to] = kind === 'local' ? ['here', 'there'] : ['there', 'here'];
  return `${name}: ${shown(listen)} ${from} -> ${shown(forward.target)} ${to}`;
};
