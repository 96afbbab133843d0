import * as z from 'zod';
import { IP_CEL, isIP } from './ip.ts';
import { type Rule, ruled } from './rule.ts';

/**
 * The texts that may reach ssh or Kubernetes, each bounded and each with a closed alphabet (design: safety of ssh). None of them can
 * start with a dash or hold a control character, a quote, a blank or a percent sign; so none can become an option, a second line or a
 * token of ssh_config.
 */
const text = (max: number, pattern: string, expected: string) => {
  const compiled = new RegExp(pattern);
  return ruled(z.string().min(1).max(max), [
    { cel: `self.matches(r'${pattern}')`, message: `expected ${expected}`, holds: (value) => compiled.test(value) },
  ]);
};

const LABEL = '[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?';
const DNS_NAME = `^(${LABEL}\\.)*${LABEL}$`;
/** The resolver takes a name that ends in a number for an address: 127.1 and 0x7f000001 are both 127.0.0.1. */
const ENDS_IN_NUMBER = '(^|\\.)([0-9]+|0[xX][0-9A-Fa-f]*)$';
const isDnsName = (value: string) => new RegExp(DNS_NAME).test(value) && !new RegExp(ENDS_IN_NUMBER).test(value);
const HOST_CEL = `${IP_CEL} || (self.matches(r'${DNS_NAME}') && !self.matches(r'${ENDS_IN_NUMBER}'))`;

const HOST: Rule<string> = {
  cel: HOST_CEL,
  message: 'expected a DNS name (RFC 1123) or an IP address, without port, user or zone',
  holds: (value) => isIP(value) || isDnsName(value),
};
/** A DNS name or an IP address. */
export const host = () => ruled(z.string().min(1).max(253), [HOST]);

/** Where a forward listens: `*` is ssh's own word for all addresses. */
export const listenHost = () =>
  ruled(z.string().min(1).max(253), [
    {
      cel: `self == '*' || ${HOST_CEL}`,
      message: 'expected an IP address, a DNS name, or "*" for all addresses',
      holds: (value) => value === '*' || HOST.holds(value),
    },
  ]);

export const user = () =>
  text(
    32,
    '^[a-z_][a-z0-9_.-]{0,31}$',
    'a user name: a lower-case letter or _, then letters, digits, ".", "_", "-"; at most 32',
  );

export const port = () => z.int().min(1).max(65535);

/** Absolute, and without anything that separates in ssh's forward specifications. 100 bytes leave room for what ssh adds. */
export const socketPath = () =>
  text(
    100,
    '^(/[A-Za-z0-9_@+=-][A-Za-z0-9_.@+=-]*)+$',
    'an absolute path of a unix socket: letters, digits, "_.@+=-" and "/", no part that starts with "."',
  );

/** A list of algorithms as ssh_config has it: names with commas; +, - and ^ in front change the default list; * and ? match. */
export const algorithms = () =>
  text(
    512,
    '^[+^-]?[A-Za-z0-9*?][A-Za-z0-9@.*?-]*(,[A-Za-z0-9*?][A-Za-z0-9@.*?-]*)*$',
    'algorithm names with commas between and without blanks, or such a list after "+", "-" or "^"',
  );

/** Name of a forward: also a metric's label and, in a gateway, the name of the Service's port. */
export const forwardName = () =>
  text(40, '^[a-z]([-a-z0-9]*[a-z0-9])?$', 'lower-case letters, digits and "-", a letter first, at most 40');

export const objectName = () =>
  text(
    253,
    '^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$',
    'the name of an object of this namespace: lower-case letters, digits, "-" and "."',
  );

/** A key of a ConfigMap or Secret. */
export const dataKey = () =>
  text(
    253,
    '^([-_A-Za-z0-9][-._A-Za-z0-9]*|\\.[-_A-Za-z0-9][-._A-Za-z0-9]*)$',
    'a key of a ConfigMap or Secret: letters, digits, "-", "_", "." and not ".."',
  );

export const envName = () =>
  text(63, '^[A-Za-z_][A-Za-z0-9_]*$', 'the name of an environment variable: letters, digits and "_", no digit first');

/** Lines of known_hosts: printable ASCII, tabs and line ends. */
export const knownHostsText = () =>
  text(4096, '^[\\t\\n\\r -~]+$', 'lines of known_hosts: printable ASCII characters, tabs and line ends only');

/** Path (and query) of an HTTP request. */
export const httpPath = () =>
  text(256, '^/[!-~]*$', 'a path that starts with "/", without blanks or control characters');
