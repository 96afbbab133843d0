const OCTET = '(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])';
const IPV4 = new RegExp(`^${OCTET}(\\.${OCTET}){3}$`);
const GROUP = /^[0-9A-Fa-f]{1,4}$/;

/**
 * Whether a text is an IP address to the CEL function isIP() of Kubernetes: no zone, no leading zeros, no IPv4 address in IPv6
 * clothes (::ffff:…), which the same host would have under two names.
 */
export const isIP = (value: string): boolean => IPV4.test(value) || isIPv6(value);

const isIPv6 = (value: string): boolean => {
  const halves = value.split('::');
  if (!value.includes(':') || halves.length > 2) return false;
  const [front = [], back = []] = halves.map((half) => (half === '' ? [] : half.split(':')));
  const last = (halves.length === 2 ? back : front).at(-1) ?? '';
  const dotted = last.includes('.');
  const words = [...front, ...back];
  if (dotted && (!IPV4.test(last) || words.indexOf(last) !== words.length - 1)) return false;
  if (!words.slice(0, dotted ? -1 : undefined).every((word) => GROUP.test(word))) return false;
  const count = words.length + (dotted ? 1 : 0);
  if (halves.length === 2 ? count > 7 : count !== 8) return false;
  return !isMapped(front, back, dotted, halves.length === 2);
};

/** ::ffff:0:0/96, however it is written. */
const isMapped = (front: string[], back: string[], dotted: boolean, elided: boolean): boolean => {
  const numbers = (words: string[]) =>
    words.flatMap((word) => (word.includes('.') ? [1, 1] : [Number.parseInt(word, 16)]));
  const [head, tail] = [numbers(front), numbers(back)];
  const groups = elided ? [...head, ...Array<number>(8 - head.length - tail.length).fill(0), ...tail] : head;
  return groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff && (dotted || groups.length === 8);
};
